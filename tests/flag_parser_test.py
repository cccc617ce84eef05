"""Exit codes, and flags that stand in for a config."""

import errno
import os
import signal
import subprocess
import sys

import pytest
import tiny_dataset
from absl import flags
from absl.testing import flagsaver

from fal_jax import flag_parser
from fal_jax.errors import Diverged, InputError, Interrupted


@pytest.mark.parametrize(
  ("error", "code"),
  [(InputError("fix it"), 2), (Diverged("loss is NaN"), 3), (Interrupted("stopped"), 75)],
)
def test_an_expected_end_is_its_sentence_on_stderr_and_its_exit_code(capsys, error, code):
  def fail():
    raise error

  assert flag_parser.exit_code(fail) == code
  printed = capsys.readouterr()
  assert (printed.out, printed.err) == ("", f"{error}\n")


def test_a_run_that_finishes_exits_with_0(capsys):
  assert flag_parser.exit_code(lambda: None) == 0
  assert capsys.readouterr().err == ""


def test_a_defect_of_ours_keeps_its_traceback():
  with pytest.raises(ZeroDivisionError):
    flag_parser.exit_code(lambda: 1 / 0)


@pytest.mark.parametrize(
  ("error", "named"),
  [
    (OSError(errno.EROFS, os.strerror(errno.EROFS), "/run/eval"), "Read-only file system"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
    (ValueError(f"UNKNOWN: {os.strerror(errno.EMFILE)}\nand more"), "Too many open files"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."), "Out of memory"),
    (MemoryError(), "no memory is left"),
  ],
)
def test_what_the_machine_lacks_is_a_sentence_and_debug_shows_where(capsys, error, named):
  def fail():
    raise error

  assert flag_parser.exit_code(fail) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert named in line and "--debug" in line

  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])
  with flagsaver.flagsaver(debug=True):
    assert flag_parser.exit_code(fail) == 2
  shown = capsys.readouterr().err
  assert "Traceback" in shown and "in fail" in shown and shown.endswith(f"{line}\n")


def test_sigterm_before_a_mode_is_ready_is_a_sentence(capsys):
  def terminated():
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()

  before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
  try:
    assert flag_parser.exit_code(terminated) == 75
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  finally:
    signal.signal(signal.SIGTERM, before)
  assert capsys.readouterr().err == "Interrupted while starting; nothing is lost.\n"


def assert_it_ends_quietly(folder, *arguments):
  """Runs Python, with the modules of a folder before others; what it printed to stdout."""
  done = subprocess.run(
    [sys.executable, *arguments],
    env={**os.environ, "PYTHONPATH": f"{folder}:{tiny_dataset.ROOT}"},
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stderr) == (75, "Interrupted while starting; nothing is lost.\n")
  return done.stdout


def test_ctrl_c_while_the_program_is_imported_is_a_line(tmp_path):
  """A library that takes long to import stands in for all of them, on a machine under load."""
  (tmp_path / "absl.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
  assert_it_ends_quietly(tmp_path, "-m", "fal_jax.main", "--mode=eval")


@pytest.mark.parametrize(
  "program", ["fal_jax.ablation", "fal_jax.demo", "fal_jax.weights", "tfds_builders.prepare"]
)
def test_every_program_ends_quietly_from_its_first_line(tmp_path, program):
  """The first import that is not Python's own comes after `end_quietly`."""
  (tmp_path / "absl.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
  (tmp_path / "tensorflow_datasets.py").write_text("import absl")
  assert_it_ends_quietly(tmp_path, "-m", program)


# What JAX does at every collection of garbage, and others in destructors and weak references.
IN_A_CALLBACK = """
import gc, signal, sys, time
from absl import app
from fal_jax import flag_parser
from fal_jax.errors import end_quietly

number, sigint = signal.Signals(int(sys.argv[1])), getattr(signal, sys.argv[2])
left = 3  # however often it hits a callback

def callback(phase, info):
  global left
  if left and phase == "start":
    left -= 1
    signal.raise_signal(number)
    time.sleep(0.1)

def run():
  gc.callbacks.append(callback)
  try:
    for _ in range(50):
      gc.collect()
      time.sleep(0.1)
  finally:
    gc.callbacks.remove(callback)

end_quietly()
signal.signal(signal.SIGINT, sigint)
code = flag_parser.exit_code(run)
print(left)
sys.exit(code)
"""


@pytest.mark.parametrize(
  ("number", "sigint"),
  [
    (signal.SIGTERM, "default_int_handler"),
    (signal.SIGTERM, "SIG_IGN"),  # as a shell's "&" has it
    (signal.SIGINT, "default_int_handler"),
  ],
)
def test_a_signal_that_comes_in_a_callback_is_not_lost(tmp_path, number, sigint):
  printed = assert_it_ends_quietly(tmp_path, "-c", IN_A_CALLBACK, str(int(number)), sigint)
  assert int(printed) < 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_an_import_raises_nothing_there(tmp_path, number):
  """Modules of C++, of which a Python one stands in here, may not survive an exception."""
  (tmp_path / "fragile.py").write_text(f"""
import os, signal
try:
  signal.raise_signal({int(number)})
except BaseException:
  os.abort()
""")
  program = """
import importlib
from fal_jax import flag_parser
flag_parser.exit_code(lambda: importlib.import_module("fragile"))
"""
  assert_it_ends_quietly(tmp_path, "-c", program)


@pytest.mark.parametrize(
  ("argv", "parsed", "overrides"),
  [
    (["main", "--mode=eval"], ["main", "--mode=eval"], []),
    (
      ["main", "--config.seed=1", "--mode=eval", "--config.crop.face=50"],
      ["main", "--mode=eval"],
      ["--config.seed=1", "--config.crop.face=50"],
    ),
    (
      ["main", "--config=c.py", "--config.seed=1"],
      ["main", "--config=c.py", "--config.seed=1"],
      [],
    ),
    (["main", "-config", "c.py", "--config.seed=1"], None, []),
  ],
)
def test_keys_are_kept_for_the_saved_config_where_no_config_is_given(
  monkeypatch, argv, parsed, overrides
):
  calls = []
  monkeypatch.setattr(flag_parser, "parse", lambda argv: calls.append(argv) or argv[:1])

  assert flag_parser.parse_with_overrides(argv) == ["main", *overrides]
  assert calls == [argv if parsed is None else parsed]
