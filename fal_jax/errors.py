"""The one exception that means "the user can fix this", and how its message lists names."""

from collections.abc import Sequence


class InputError(ValueError):
  """Bad input from outside: a file, a flag, a config key, an array at the public edge.

  The message is one sentence a person can act on: what is wrong, where, what was got and expected,
  what to do. The command line prints it alone and exits with 2; every other exception is a defect
  of ours and keeps its traceback.
  """


def join_names(names: Sequence[str], *, limit: int = 10) -> str:
  """Names for a message: at most `limit` of them, and how many more there are."""
  more = f" and {len(names) - limit} more" if len(names) > limit else ""
  return ", ".join(names[:limit]) + more
