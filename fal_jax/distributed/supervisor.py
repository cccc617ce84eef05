"""Each process of a group has a small parent, which outlives whatever happens to it.

When one process of a group dies, JAX's runtime aborts the others in C++, with a page of its own
notes and a stack. The parent, which loads no JAX, turns that into a sentence and an exit code. It
also forwards signals, and takes the process with it when it is killed itself.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from fal_jax.distributed.group import Group
from fal_jax.errors import InputError, Interrupted
from fal_jax.output.stopping import ECHO

SUPERVISED = "FAL_JAX_SUPERVISED"  # the descriptor by which the child says that all are there

# Notes of JAX's runtime about an end that we put into a sentence ourselves: one line, or a page.
_NOISE = r".*(coordination_service|preemption|distributed_runtime|client\.h:)"
_LINE = re.compile(rf"[IW]\d{{4}} {_NOISE}|\[Gloo\] Rank ")
_PAGE = re.compile(rf"[EF]\d{{4}} {_NOISE}|terminate called|\*\*\* Check failure")
_SPEECH = re.compile(r"process \d+: |Traceback |[IWEF]\d{4} ")
CAUSES = (
  "see that every one was started with this command, that process 0's machine and port can be "
  "reached (firewall, proxy variables), and that all run the same versions of fal_jax and JAX"
)
_TORN = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL, signal.SIGTERM}


def run(
  group: Group,
  argv: Sequence[str],
  *,
  environ: Mapping[str, str],
  echo: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> int:
  """Runs a command as one process of a group and waits for it.

  Args:
    group: the processes.
    argv: the command.
    environ: its environment variables.
    echo: called with each line about it.

  Returns:
    Its exit code; 75, interrupted, where it was torn down.
  """
  name = "this process" if group.index is None else f"process {group.index}"
  received: list[float] = []  # when, s
  joined, say_joined = os.pipe()
  # Its standard input ends when this process does, however that ends.
  with subprocess.Popen(
    argv,
    stdin=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**environ, SUPERVISED: str(say_joined)},
    pass_fds=(say_joined,),
    start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone
    text=True,
    errors="replace",
  ) as child:

    def forward(number: int, _: Any) -> None:
      # What the launcher sends to this process, it may also send to srun, which passes it on.
      if received and time.monotonic() - received[0] < ECHO:
        return
      received.append(time.monotonic())
      if len(received) > 1:
        child.kill()
        return
      sent = signal.Signals(number).name
      echo(f"{name}: {sent}: all processes save after a common step; again: stop")
      child.send_signal(signal.SIGTERM)

    handled = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, forward) for number in handled}
    try:
      assert child.stderr is not None
      _relay(child.stderr, echo)
      code = child.wait()
    finally:
      for number, handler in previous.items():
        signal.signal(number, handler)
      child.kill()
      os.close(say_joined)
  with open(joined, "rb") as said:
    has_joined = bool(said.read(1))

  if code >= 0:
    return code
  if -code not in _TORN:
    echo(f"{name}: ended by {signal.Signals(-code).name}.")
    return 128 - code
  if code == -signal.SIGABRT and not has_joined:
    echo(f"{name}: the processes started by {group.launcher} did not come together: {CAUSES}.")
    return InputError.exit_code
  reason = "was stopped at once" if len(received) > 1 else "ended, or lost the others,"
  echo(f"{name}: {reason} without saving; the same command resumes from the last checkpoint.")
  return Interrupted.exit_code


def end_with_parent() -> None:
  """Ends this process when its parent has gone, from a thread; for the child alone."""

  def wait() -> None:
    while os.read(0, 1):
      pass
    os._exit(Interrupted.exit_code)

  threading.Thread(target=wait, daemon=True, name="end_with_parent").start()


def announce(environ: Mapping[str, str]) -> None:
  """Tells the parent that all processes have come together."""
  if SUPERVISED in environ:
    os.write(int(environ[SUPERVISED]), b".")


def is_child(environ: Mapping[str, str]) -> bool:
  """Whether this process is a supervised one."""
  return SUPERVISED in environ


def command(arguments: Sequence[str]) -> list[str]:
  """This program again, for the child; unbuffered, so that nothing is lost when it is torn down."""
  return [sys.executable, "-u", "-m", "fal_jax.main", *arguments]


def _relay(stream: IO[str], echo: Callable[[str], None]) -> None:
  """Passes lines on, without JAX's notes about the end of other processes."""
  quiet = False
  for line in stream:
    if _PAGE.match(line):
      quiet = True
    elif _SPEECH.match(line):
      quiet = False
    if not (quiet or _LINE.match(line)):
      echo(line.rstrip("\n"))
