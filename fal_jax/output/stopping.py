"""Ctrl-C and SIGTERM as a wish that a loop fulfils at its next good moment."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fal_jax.errors import Interrupted, interrupt

# Launchers signal a process and its parent, which passes the signal on: what comes within this of
# the first is the same signal, not a second one.
ECHO = 1.0  # s


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
    # Ignored by the system and waited out here: a handler that looks at the time would only run,
    # and be late, when what is being compiled or saved is done.
    for each in handlers:
      signal.signal(each, signal.SIG_IGN)
    requested.set()
    name = signal.Signals(number).name
    print(
      f"\nReceived {name}: saving after this {after}; send it again to stop immediately.",
      flush=True,
    )
    time.sleep(ECHO)
    restore_handlers()
    # For the same reason the second is not left to the command line's handler.
    if handlers[signal.SIGTERM] is interrupt:
      signal.signal(signal.SIGTERM, signal.SIG_DFL)

  for number in handlers:
    signal.signal(number, request_stop)
  try:
    yield requested
  finally:
    restore_handlers()


def unless_requested(requested: threading.Event, function: Callable) -> Callable:
  """A function that raises Interrupted in place of its next call once a stop is requested.

  Args:
    requested: the flag; of several processes none has it set, they stop after a common step.
    function: called often enough, such as for each batch of an evaluation.

  Returns:
    It.
  """

  def call(*args: Any, **options: Any) -> Any:
    if requested.is_set():
      raise Interrupted("Stopped.")
    return function(*args, **options)

  return call
