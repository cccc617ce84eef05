"""The exceptions that the command line reports in a sentence, each with its exit code."""

from collections.abc import Sequence
from typing import ClassVar


class InputError(ValueError):
  """Bad input from outside: a file, a flag, a config key, an array at the public edge.

  The message is one sentence a person can act on: what is wrong, where, what was got and expected,
  what to do. The command line prints it alone; every exception that is not in this file is a defect
  of ours and keeps its traceback.
  """

  exit_code: ClassVar[int] = 2


class Diverged(RuntimeError):
  """The loss or the weights are no longer finite; the checkpoints are from before that."""

  exit_code: ClassVar[int] = 3


class Interrupted(RuntimeError):
  """A signal stopped the run; it has saved its state, and the same command resumes from there."""

  exit_code: ClassVar[int] = 75


def join_names(names: Sequence[str], *, limit: int = 10) -> str:
  """Names for a message: at most `limit` of them, each cut, and how many more there are."""
  more = f" and {len(names) - limit} more" if len(names) > limit else ""
  return ", ".join(map(cut, names[:limit])) + more


def counted(number: int, thing: str) -> str:
  """A number of things for a message: "1 image", "2 images"."""
  return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def cut(text: str, *, length: int = 60) -> str:
  """What stands in a file, for a message: on one line, and not longer than a line can be."""
  line = text if text.isprintable() else " ".join(text.split())
  return line if len(line) <= length else f"{line[: length - 3]}..."
