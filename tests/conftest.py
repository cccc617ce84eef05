"""Eight fake CPU devices and a strict JAX for every test."""

import os
import shutil
import signal

import pytest
from absl import flags, logging
from absl.testing import flagsaver

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Arrays of different ranks are never combined by accident, nor in the processes that tests start.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"

# A shell that starts a job in the background lets it ignore Ctrl-C; the tests of signals need
# Python's own handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


VERBOSITY = logging.get_verbosity()


def pytest_itemcollected(item):
  """Keeps heavy tests out of the quick lane, `-m "not slow"`."""
  if item.get_closest_marker("heavy"):
    item.add_marker("slow")


@pytest.fixture(autouse=True)
def verbosity():
  """Restores the verbosity of the log.

  Command lines that a test or a fixture runs in this process silence it, and later tests read it.
  """
  logging.set_verbosity(VERBOSITY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Where the tiny dataset is prepared."""
  import tiny_dataset  # JAX must not start before the devices are faked

  return tiny_dataset.folder(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A copy of a run trained on it, for one file of tests."""
  import tiny_dataset

  copy = tmp_path_factory.mktemp("trained") / "run"
  shutil.copytree(tiny_dataset.trained(tmp_path_factory.getbasetemp()), copy)
  return copy


@pytest.fixture
def run_main(capsys, monkeypatch):
  """Runs `main` with given flags in this process, where JAX is warm.

  Returns its exit code, and what it prints to stdout and stderr. `overrides` are flags such as
  --config.seed=3 without a --config.
  """
  import tiny_dataset

  from fal_jax import main as command_line
  from fal_jax import parallel

  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])

  def run(*overrides, **values):
    with flagsaver.flagsaver(**values):
      code = command_line.main(["main", *overrides])
    printed = capsys.readouterr()
    return code, printed.out, printed.err

  return run
