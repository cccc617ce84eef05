"""Flags, with one sentence instead of a traceback for what absl and ml_collections raise."""

import sys
from collections.abc import Sequence

from absl import flags

from fal_jax.errors import InputError

WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder that everything is written to: checkpoints, logs, results."
)


def read(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
  """Parses a command line.

  Args:
    values: the flags; they keep what is read.
    argv: name of the program, then flags and nothing else.

  Returns:
    The name of the program.

  Raises:
    InputError: a flag, its value or the config that it names is wrong.
  """
  try:
    parsed = values(list(argv))
    if len(parsed) == 1:
      return parsed
    text = f"Unexpected {' '.join(parsed[1:])!r}: flags are written --name=value, without spaces"
  except (AttributeError, KeyError) as error:
    reason: object = error
    while isinstance(reason, Exception):  # ml_collections wraps the one into the other
      reason = reason.args[0]
    text = f"No such key in the config: {reason}"
  except ModuleNotFoundError as error:
    text = f"The config needs another file ({error}): start from the repository's folder"
  except (flags.Error, TypeError, ValueError, OSError, SyntaxError) as error:
    text = str(_cause(error))
  raise InputError(
    f"{' '.join(text.split()).rstrip(' .?')}. See configs/default.py for all keys and --help for all flags."
  )


def parse(argv: Sequence[str]) -> list[str]:
  """`read` for `absl.app.run`: prints what is wrong and exits with 2."""
  try:
    return read(flags.FLAGS, argv)
  except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)


def _cause(error: BaseException) -> BaseException:
  """What a config file itself objected to; ml_collections puts a traceback around it, and absl
  another sentence.
  """
  causes = [error]
  while causes[-1].__context__ is not None:
    causes.append(causes[-1].__context__)
  return next((cause for cause in reversed(causes) if isinstance(cause, InputError)), error)
