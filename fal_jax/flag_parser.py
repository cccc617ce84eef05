"""Flags, with one sentence instead of a traceback for what absl and ml_collections raise."""

import contextlib
import copy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from fal_jax.errors import (
  WHILE_STARTING,
  Diverged,
  InputError,
  Interrupted,
  interrupt,
  lacking,
)

WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Folder that everything is written to: checkpoints, logs, results; by default, where a --config "
  "or --table is trained or measured, runs/ and the name of its file.",
)
_DEBUG = flags.DEFINE_bool(
  "debug", False, "Prints the traceback, too, where the program ends with a sentence."
)


def default_workdir(config_file: str) -> str:
  """Where a config or a table runs without a --workdir, announced in one line.

  Args:
    config_file: its path, and what may follow a colon: "configs/wflw.py".

  Returns:
    "runs/wflw".
  """
  workdir = f"runs/{Path(config_file.partition(':')[0]).stem}"
  print(f"No --workdir given: everything is written to {workdir}", flush=True)
  return workdir


def exit_code(run: Callable[[], None]) -> int:
  """Calls `run`, and turns an expected end into a line on stderr and its exit code."""
  try:
    with _interruptible():
      run()
  except (InputError, Diverged, Interrupted) as error:
    _explain(error)
    return error.exit_code
  except KeyboardInterrupt:  # before the mode was ready to end in its own way
    print(WHILE_STARTING, file=sys.stderr)
    return Interrupted.exit_code
  except Exception as error:
    reason = lacking(error)
    if reason is None:
      raise
    said = " ".join(str(error).split())[:200]
    _explain(InputError(f"The machine does not allow it ({reason}): {said} (--debug: where)."))
    return InputError.exit_code
  return 0


def _explain(error: Exception) -> None:
  """Prints the sentence of an error, and with --debug what led to it."""
  if flags.FLAGS.is_parsed() and _DEBUG.value:
    traceback.print_exc()
  print(error, file=sys.stderr)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
  """Lets SIGTERM and Ctrl-C raise KeyboardInterrupt until a mode catches both in its own way."""
  usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
  is_main = threading.current_thread() is threading.main_thread()
  changed = {
    number: handler
    for number, handler in usual.items()
    if is_main and signal.getsignal(number) == handler
  }
  for number in changed:
    signal.signal(number, interrupt)
  try:
    yield
  finally:
    for number, handler in changed.items():
      signal.signal(number, handler)


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
  with _one_sentence():
    parsed = values(list(argv))
  if len(parsed) > 1:
    extra = " ".join(parsed[1:])
    raise _error(f"Unexpected {extra!r}, which belongs to no flag: write --name=value")
  return parsed


def parse(argv: Sequence[str]) -> list[str]:
  """`read` for `absl.app.run`: prints what is wrong and exits with 2."""
  try:
    return read(flags.FLAGS, argv)
  except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)


def parse_with_overrides(argv: Sequence[str]) -> list[str]:
  """`parse` where --config may be left out.

  Returns:
    The name of the program, and what is to be changed in the config that stands in for --config:
    flags of the form --config.x.y=z, none if --config was given.
  """
  if any(argument.split("=")[0] in ("--config", "-config") for argument in argv):
    return parse(argv)
  overrides = [argument for argument in argv if argument.startswith("--config.")]
  return [*parse([argument for argument in argv if argument not in overrides]), *overrides]


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
  """A config with flags of the form --config.x.y=z applied.

  Raises:
    InputError: there is no such key, or it cannot have this value.
  """
  argv = ["fal_jax", *overrides]
  values = flags.FlagValues()
  config = copy.deepcopy(config)  # the plain copy of ConfigDict forgets the types of empty fields
  with _one_sentence():
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
  read(values, argv)
  return values.config


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
  """Turns what absl and ml_collections raise into an InputError."""
  try:
    yield
  except (AttributeError, KeyError) as error:
    reason: object = error
    while isinstance(reason, Exception):  # ml_collections wraps one into the other
      reason = reason.args[0]
    raise _error(f"No such key in the config: {reason}") from error
  except ModuleNotFoundError as error:
    raise _error(
      f"The config needs another file ({error}): start from the repository's folder"
    ) from error
  except (flags.Error, TypeError, ValueError, OSError, SyntaxError) as error:
    raise _error(str(_cause(error))) from error


def _error(text: str) -> InputError:
  sentence = " ".join(text.split()).rstrip(" .?")
  return InputError(f"{sentence}. See configs/default.py for all keys and --help for all flags.")


def _cause(error: BaseException) -> BaseException:
  """What a config file itself objected to.

  ml_collections puts a traceback around it, and absl another sentence.
  """
  causes = [error]
  while causes[-1].__context__ is not None:
    causes.append(causes[-1].__context__)
  return next((cause for cause in reversed(causes) if isinstance(cause, InputError)), error)
