"""The command line in this process."""

import pytest
from absl import flags
from absl.testing import flagsaver

from fal_jax import main


def run_main(capsys: pytest.CaptureFixture[str], **values: object) -> tuple[int, str, str]:
  """Exit code, stdout and stderr of `fal_jax.main` with these flags."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])
  with flagsaver.flagsaver(**values):
    code = main.main([])
  printed = capsys.readouterr()
  return code, printed.out, printed.err
