"""The exceptions that the command line reports in a sentence, each with its exit code."""

import _thread
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import ClassVar

# What a machine may lack for a moment, or not allow.
_LACKING = (
  *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EROFS),
  *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
)
_MARKS = (*map(os.strerror, _LACKING), "RESOURCE_EXHAUSTED: Out of memory", "std::bad_alloc")


class InputError(ValueError):
  """Bad input from outside: a file, a flag, a config key, an array at the public edge.

  The message is one sentence a person can act on: what is wrong, where, what was got and expected,
  what to do. The command line prints it alone; every exception that is not in this file is a defect
  of ours and keeps its traceback.
  """

  exit_code: ClassVar[int] = 2


class Unreachable(InputError):
  """A bucket, or the network before it, failed in mid-run; nothing is wrong, and a resume helps."""

  exit_code: ClassVar[int] = 75


class Diverged(RuntimeError):
  """The loss or the weights are no longer finite; the checkpoints are from before that."""

  exit_code: ClassVar[int] = 3


class Interrupted(RuntimeError):
  """A signal stopped the run; it has saved its state, and the same command resumes from there."""

  exit_code: ClassVar[int] = 75


WHILE_STARTING = "Interrupted while starting; nothing is lost."


def lacking(error: BaseException | None) -> str | None:
  """What the machine lacked, or did not allow, where something failed: no defect, and no damage.

  Libraries pass the system's words on in errors of their own, with and without its number.

  Args:
    error: what was raised; its causes are looked at too.

  Returns:
    "Too many open files" or the like; None if the error is another.
  """
  for each in with_causes(error):
    if isinstance(each, MemoryError):
      return "no memory is left"
    for mark in _MARKS:
      if mark in str(each):
        return mark
  return None


def with_causes(error: BaseException | None) -> Iterator[BaseException]:
  """An error and what led to it, the outermost first; nothing of None."""
  while error is not None:
    yield error
    error = error.__cause__ or error.__context__


def interrupt(number: int, frame: FrameType | None) -> None:
  """Python's own handler of Ctrl-C, `signal.default_int_handler`, that lets imports be.

  Where a module of C++ is being imported, KeyboardInterrupt may end the program with a page on a
  fatal error. Then nothing has begun either, and the program ends here.
  """
  while frame is not None:
    if frame.f_code.co_filename.startswith("<frozen importlib"):
      _end()
    frame = frame.f_back
  raise KeyboardInterrupt


def _end() -> None:
  print(WHILE_STARTING, file=sys.stderr, flush=True)
  os._exit(Interrupted.exit_code)


def end_quietly() -> None:
  """Lets Ctrl-C end the program in a line, not a traceback, before it is ready to do better.

  Nor is a signal lost that comes while Python runs a callback, such as JAX's of the garbage
  collector: KeyboardInterrupt gets no further from there, so it is raised anew.
  """
  default, default_unraisable = sys.excepthook, sys.unraisablehook

  def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
      default(kind, error, trace)
      return
    _end()

  pending = threading.Event()

  def interrupt_again() -> None:
    handled = signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.SIG_DFL)
    pending.clear()
    _thread.interrupt_main(signal.SIGINT if handled else signal.SIGTERM)

  def unraisable_hook(unraisable: "sys.UnraisableHookArgs") -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
      default_unraisable(unraisable)
    elif not pending.is_set():
      pending.set()
      # From a thread and later: here, it would be raised within this hook, also a callback.
      again = threading.Timer(0.01, interrupt_again)
      again.daemon = True
      again.start()

  sys.excepthook = hook
  sys.unraisablehook = unraisable_hook


def join_names(names: Sequence[str], *, limit: int = 10) -> str:
  """Names for a message: at most `limit` of them, each cut, and how many more there are."""
  more = f" and {len(names) - limit} more" if len(names) > limit else ""
  return ", ".join(map(cut, names[:limit])) + more


def join_findings(findings: Sequence[str], *, limit: int = 5) -> str:
  """What a message says, which may hold commas: at most `limit`, and how many more there are."""
  more = [f"and {len(findings) - limit} more"] if len(findings) > limit else []
  return "; ".join([*findings[:limit], *more])


def counted(number: int, thing: str) -> str:
  """A number of things for a message: "1 image", "2 images"."""
  return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def cut(text: str, *, length: int = 60) -> str:
  """What stands in a file, for a message: on one line, and not longer than a line can be."""
  line = text if text.isprintable() else " ".join(text.split())
  return line if len(line) <= length else f"{line[: length - 3]}..."
