"""Eight fake CPU devices and a strict JAX for every test."""

import gc
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
import quick_xla
from absl import flags, logging
from absl.testing import flagsaver

# To have programs compiled as users do: XLA_FLAGS=--xla_backend_optimization_level=3.
os.environ["XLA_FLAGS"] = (
  f"{quick_xla.given} --xla_force_host_platform_device_count=8 {quick_xla.FLAGS}"
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


def seconds_of(item):
  """What a test may take, by its marks, and by whether it needs the tiny dataset or a run on it."""
  marks = {mark.name for mark in item.iter_markers()}
  if "heavy" in marks:
    return 30
  if "slow" in marks:
    return 5
  return 0.5 if {"folder", "workdir"} & set(item.fixturenames) else 0.05


@pytest.hookimpl(trylast=True)  # of what -m and -k have left
def pytest_collection_modifyitems(items):
  """Puts the longest files first.

  Files are handed to processes in this order: with a long one at the end the others would wait.
  """
  seconds = Counter()
  for item in items:
    seconds[item.path] += seconds_of(item)
  items.sort(key=lambda item: -seconds[item.path])


# What one process was seen to take, over all tests; the quick lane takes half of it.
MAX_MEMORY = 4 << 30


def pytest_xdist_auto_num_workers(config):
  """How many processes share the tests.

  As many as there are cores, and one more where tests wait for processes of their own; fewer where
  memory is short.
  """
  cores = len(os.sched_getaffinity(0))
  wanted = cores if "not slow" in config.option.markexpr else cores + 1
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  return max(1, min(wanted, memory // MAX_MEMORY))


def pytest_collection_finish():
  """Python's collector of garbage need not look at what is imported time and again."""
  gc.collect()
  gc.freeze()


# Linux maps at most 65,530 regions of memory into a process. Each compiled program takes several,
# and XLA crashes where there is none left.
MAX_REGIONS = 30_000


@pytest.fixture(autouse=True, scope="module")
def few_programs():
  """Forgets what is compiled before there is too much of it; JAX's cache on disk has it."""
  yield
  regions = Path("/proc/self/maps")
  if regions.exists() and len(regions.read_bytes().splitlines()) > MAX_REGIONS:
    import jax

    jax.clear_caches()
    gc.collect()


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
  --config.seed=3 without a --config. Evaluations draw no figures.
  """
  import tiny_dataset

  from fal_jax import main as command_line
  from fal_jax import parallel

  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])

  def run(*overrides, **values):
    with flagsaver.flagsaver(**values), tiny_dataset.without_figures():
      code = command_line.main(["main", *overrides])
    printed = capsys.readouterr()
    return code, printed.out, printed.err

  return run


@pytest.fixture(scope="session")
def chromium():
  """The address of a headless Chromium, one for all tests."""
  import browser  # playwright may be missing

  with browser.chromium() as address:
    yield address


@pytest.fixture(scope="module")
def connected_browser(chromium):
  """Playwright's browser in it, for one file of tests."""
  import browser

  with browser.connected(chromium) as connection:
    yield connection


@pytest.fixture(scope="module")
def visitors(connected_browser):
  """Opens addresses, with options of Playwright's context; its pages stay open for one file."""
  import browser

  opened = browser.Visitors(connected_browser)
  yield opened
  opened.close()


@pytest.fixture
def visit(visitors):
  """Opens addresses for one test.

  At its end no page, those of the file included, may have logged an error or asked another host.
  """
  before = len(visitors.contexts)
  yield visitors
  visitors.close(before)
  visitors.check()
