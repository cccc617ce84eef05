"""Ctrl-C and SIGTERM as a wish that a loop fulfils at its next good moment."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_on_signal(*, after: str = "step") -> Iterator[threading.Event]:
  """Turns the first SIGTERM or Ctrl-C into a flag that the loop looks at; the second acts as usual.

  Args:
    after: what is still finished, for the message.

  Yields:
    The flag. Outside the main thread (a notebook's kernel may run us elsewhere) signals cannot be
    caught and it stays unset.
  """
  requested = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield requested
    return

  handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

  def restore_handlers() -> None:
    for number, handler in handlers.items():
      signal.signal(number, handler)

  def request_stop(number: int, _: Any) -> None:
    requested.set()
    restore_handlers()
    name = signal.Signals(number).name
    print(
      f"\nReceived {name}: saving after this {after}; send it again to stop immediately.",
      flush=True,
    )

  for number in handlers:
    signal.signal(number, request_stop)
  try:
    yield requested
  finally:
    restore_handlers()
