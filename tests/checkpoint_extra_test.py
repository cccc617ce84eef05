"""What is saved beside the arrays, errors that are no damage, and saves that found no room."""

import contextlib
import errno
import json
import os
import random
import resource
import shutil

import numpy as np
import pytest
import tiny_dataset

from fal_jax import build, restore
from fal_jax.checkpoint import Checkpoints
from fal_jax.errors import InputError
from fal_jax.predict import FaceAligner

# What orbax leaves behind in its event loop when it meets a damaged file.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STATE = {"a": np.zeros(9)}
EXTRA = {"config": {"crop": {"face": 55.0}}, "origin": {"git_commit": "a1"}, "log": '{"step": 1}\n'}


@pytest.fixture
def one_step(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, STATE, EXTRA)
  return tmp_path


def extra_of(workdir):
  return workdir / "checkpoints" / "1" / "extra" / "metadata"


def test_no_flipped_bit_beside_the_arrays_is_taken_for_what_was_saved(one_step):
  path = extra_of(one_step)
  content = path.read_bytes()
  chance = random.Random(0)

  with Checkpoints(one_step, create=False) as checkpoints:
    assert checkpoints.read_config() == EXTRA["config"]
    for _ in range(60):
      flipped = bytearray(content)
      flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
      path.write_bytes(flipped)
      # A bit that JSON does not mean anything by, of a space say, changes nothing.
      assert checkpoints.read_config() in (None, EXTRA["config"])


def test_an_edited_config_is_neither_restored_nor_read(one_step, caplog):
  path = extra_of(one_step)
  path.write_text(path.read_text().replace("55.0", "57.0"))

  with Checkpoints(one_step) as checkpoints:
    assert checkpoints.read_config() is None
    with pytest.raises(InputError, match=r"are damaged \(\[1\]\)"):
      checkpoints.restore_latest(STATE)
  assert "its config, origin or log is not what was saved" in caplog.text


def test_a_checkpoint_without_a_seal_is_of_an_earlier_release_only_if_it_has_what_those_had(
  one_step, capsys
):
  path = extra_of(one_step)
  extra = json.loads(path.read_text())
  del extra["seal"]
  path.write_text(json.dumps(extra))
  with Checkpoints(one_step) as checkpoints:
    assert checkpoints.read_config() is None

  path.write_text(json.dumps({"config": extra["config"], "digest": extra["digest"]}))
  with Checkpoints(one_step) as checkpoints:
    assert checkpoints.restore_latest(STATE)[2] == 1
  assert "Note: " in capsys.readouterr().out


def test_prediction_does_not_use_a_config_that_was_changed(workdir, tmp_path):
  run = shutil.copytree(workdir, tmp_path / "run")
  newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
  metadata = newest / "extra" / "metadata"
  text = metadata.read_text()
  assert '"face": 55.0' in text
  metadata.write_text(text.replace('"face": 55.0', '"face": 57.0'))

  aligner = FaceAligner.from_checkpoint(run)
  assert aligner.setup.crop.face == 55.0
  assert aligner.origin["step"] < int(newest.name)


# ---- What is no damage


@pytest.mark.parametrize(
  "error",
  [
    OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    ValueError(f"UNKNOWN: opening a file: {os.strerror(errno.EMFILE)}"),
    MemoryError(),
    PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
  ],
)
def test_a_machine_that_lacks_something_has_not_damaged_a_checkpoint(one_step, error):
  def fail(*_, **__):
    raise error

  with Checkpoints(one_step) as checkpoints:
    intact, checkpoints._manager.restore = checkpoints._manager.restore, fail
    for read in (lambda: checkpoints.restore_latest(STATE), checkpoints.read_config):
      with pytest.raises(InputError, match=r"cannot be read now .* may be intact"):
        read()
    checkpoints._manager.restore = intact
    checkpoints.save(1, {"a": np.ones(9)}, EXTRA)  # nor does it replace it
    state, _, _ = checkpoints.restore_latest(STATE)
  np.testing.assert_array_equal(state["a"], STATE["a"])


# ---- A full disk


@contextlib.contextmanager
def room(size):
  """No file of this process can grow beyond this many bytes, as if a quota were used up."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


LARGE = {"a": np.random.default_rng(0).normal(size=4000)}


@pytest.mark.parametrize("again", [2, 3], ids=["the same step", "the next"])
def test_a_save_that_finds_no_room_is_announced_and_the_next_one_tries_again(
  tmp_path, capsys, again
):
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    checkpoints.save(1, LARGE, EXTRA)
    checkpoints.newest()  # waits
    with room(5000):
      checkpoints.save(2, LARGE, EXTRA)
      assert checkpoints.newest() == 1
    checkpoints.save(again, LARGE, EXTRA)

  out = capsys.readouterr().out
  assert out.count("could not be saved") == 1 and "(File too large)" in out
  with Checkpoints(tmp_path, create=False) as checkpoints:
    assert checkpoints.restore_latest(LARGE)[2] == again


# ---- A read-only run


def test_a_reader_leaves_what_another_process_is_writing_alone(one_step):
  unfinished = one_step / "checkpoints" / "2.orbax-checkpoint-tmp"
  unfinished.mkdir()

  with Checkpoints(one_step, create=False) as checkpoints:
    assert checkpoints.restore_latest(STATE)[2] == 1
  assert unfinished.is_dir()


def test_a_run_of_an_earlier_release_resumes_and_predicts(workdir, tmp_path, folder, capsys):
  """Such a run knows nothing of its faces but their number, and has its log in a file alone."""
  run = shutil.copytree(workdir, tmp_path / "run")
  for metadata in (run / "checkpoints").glob("*/extra/metadata"):
    extra = json.loads(metadata.read_text())
    old = {name: extra[name] for name in ("config", "train_images", "digest")}
    metadata.write_text(json.dumps(old))

  setup = build.setup(restore.saved_config(run))
  assert restore.restore_variables(setup, run)[1] == 12
  assert "is of an earlier release" in capsys.readouterr().out

  tiny_dataset.run_without_figures(tiny_dataset.config(folder), run)
  lines = (run / "metrics.jsonl").read_text().splitlines()
  assert len(lines) == len(set(lines)) == len((workdir / "metrics.jsonl").read_text().splitlines())
