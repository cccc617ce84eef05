"""The command line in this process."""

from typing import Any

import pytest
from absl import flags
from absl.testing import flagsaver

from fal_jax import main


def run_main(
  capsys: pytest.CaptureFixture[str], *, program: Any = main, **values: object
) -> tuple[int, str, str]:
  """Exit code, stdout and stderr of `fal_jax.main`, or another program, with these flags."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])
  with flagsaver.flagsaver(**values):
    code = program.main([])
  printed = capsys.readouterr()
  return code, printed.out, printed.err
