"""Checkpoints: what was saved comes back bit for bit, and what is damaged never does."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fal_jax import checkpoint, parallel
from fal_jax.checkpoint import Checkpoints, digest
from fal_jax.errors import InputError
from fal_jax.steps import TrainState

# What orbax leaves behind in its event loop when it meets a damaged file.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def make_state(step: int, *, landmarks: int = 29) -> TrainState:
  """A small state of the kind that training saves, different for each step."""
  rng = np.random.default_rng(step)
  kernel = jnp.asarray(rng.normal(size=(200, landmarks)), jnp.float32)
  params = {"conv": {"kernel": kernel, "bias": jnp.zeros(landmarks)}}
  stats = {"bn": {"mean": jnp.asarray(rng.normal(size=8), jnp.float32)}}
  moments = jax.tree.map(lambda leaf: leaf + 1, optax.adam(1e-3).init(params))
  return parallel.replicate(TrainState(jnp.int32(step), params, stats, moments))


def save(workdir, *steps, keep=None):
  checkpoints = Checkpoints(workdir, keep=keep)
  for step in steps:
    checkpoints.save(step, make_state(step), {"config": {"seed": step}})
  checkpoints.close()


def restore(workdir, abstract=None):
  checkpoints = Checkpoints(workdir)
  try:
    return checkpoints.restore_latest(make_state(0) if abstract is None else abstract)
  finally:
    checkpoints.close()


def steps_on_disk(workdir):
  return sorted(path.name for path in (workdir / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("two_steps")
  save(workdir, 2, 4)
  return workdir


@pytest.fixture
def workdir(two_steps, tmp_path):
  """A run of its own with steps 2 and 4, to be damaged."""
  shutil.copytree(two_steps, tmp_path / "run")
  return tmp_path / "run"


def test_the_newest_state_comes_back_bit_for_bit_on_all_devices(two_steps):
  state, extra, step = restore(two_steps)

  expected = make_state(4)
  assert step == 4 and extra["config"] == {"seed": 4} and isinstance(state, TrainState)
  assert jax.tree.structure(state) == jax.tree.structure(expected)
  for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
    assert leaf.dtype == wanted.dtype and leaf.sharding.is_fully_replicated
    assert len(leaf.sharding.device_set) == jax.device_count()
    np.testing.assert_array_equal(leaf, wanted)
  assert digest(state) == digest(expected) == extra["digest"]


def test_a_state_can_be_restored_onto_one_device(two_steps):
  device = jax.sharding.SingleDeviceSharding(jax.devices()[3])
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), make_state(0)
  )

  state, _, _ = restore(two_steps, abstract)
  assert digest(state) == digest(make_state(4)) and state.step.devices() == {jax.devices()[3]}


def test_an_empty_run_restores_nothing(tmp_path):
  assert restore(tmp_path) is None

  checkpoints = Checkpoints(tmp_path)
  assert checkpoints.read_config() is None
  checkpoints.close()


def test_the_config_can_be_read_without_the_arrays(two_steps):
  checkpoints = Checkpoints(two_steps, create=False)
  assert checkpoints.read_config() == {"seed": 4}
  checkpoints.close()


def test_only_the_newest_are_kept(tmp_path):
  save(tmp_path, 1, 2, 3, 4, keep=2)
  assert steps_on_disk(tmp_path) == ["3", "4"]


def test_close_waits_for_what_is_being_written(tmp_path):
  large = parallel.replicate({"a": jnp.ones((2000, 2000))})
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, large, {})
  checkpoints.close()

  assert steps_on_disk(tmp_path) == ["1"]
  assert restore(tmp_path, large)[2] == 1


def test_saving_a_step_that_is_there_leaves_it_alone(workdir):
  def modified():
    files = (workdir / "checkpoints" / "4").rglob("*")
    return {path: path.stat().st_mtime_ns for path in files}

  before = modified()
  checkpoints = Checkpoints(workdir)
  checkpoints.save(4, make_state(5), {"config": {}})
  checkpoints.close()

  assert modified() == before


def test_an_unfinished_checkpoint_is_removed(workdir):
  (workdir / "checkpoints" / "4").rename(workdir / "checkpoints" / "4.orbax-checkpoint-tmp")
  with Checkpoints(workdir) as checkpoints:
    assert steps_on_disk(workdir) == ["2"]  # by then: whether there is room is looked at next
    assert checkpoints.restore_latest(make_state(0))[2] == 2


def flip_a_bit(file):
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)


def cut_in_half(file):
  content = file.read_bytes()
  file.write_bytes(content[: len(content) // 2])


def files_of(step_folder):
  return sorted(path.relative_to(step_folder) for path in step_folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
  "damage", [flip_a_bit, cut_in_half, lambda file: file.unlink()], ids=["flipped", "cut", "deleted"]
)
def test_whatever_file_is_damaged_only_a_saved_state_comes_back(
  two_steps, tmp_path, caplog, damage
):
  intact = {step: digest(make_state(step)) for step in (2, 4)}

  skipped = 0
  for number, file in enumerate(files_of(two_steps / "checkpoints" / "4")):
    run = tmp_path / str(number)
    shutil.copytree(two_steps, run)
    damage(run / "checkpoints" / "4" / file)
    caplog.clear()

    state, extra, step = restore(run)

    assert digest(state) == intact[step] == extra["digest"], file
    if step == 2:
      skipped += 1
      assert (run / "checkpoints" / "4").is_dir(), "damaged checkpoints stay where they are"
      if "commit_success" not in str(file):  # without its mark a checkpoint was never finished
        assert f"{run / 'checkpoints' / '4'} is damaged and was skipped" in caplog.text, file

  assert skipped >= 3


def test_a_flipped_bit_that_orbax_restores_is_found_by_the_digest(workdir, caplog):
  files = (workdir / "checkpoints/4/state").rglob("d/*")
  flip_a_bit(max(files, key=lambda file: file.stat().st_size))

  state, _, step = restore(workdir)
  assert step == 2 and digest(state) == digest(make_state(2))
  assert "do not have the digest that was saved with them" in caplog.text


def test_a_run_that_comes_to_a_damaged_step_again_replaces_it(workdir):
  (workdir / "checkpoints/4/state/manifest.ocdbt").unlink()

  checkpoints = Checkpoints(workdir)
  assert checkpoints.restore_latest(make_state(0))[2] == 2
  for step in (3, 4):
    checkpoints.save(step, make_state(step), {"config": {}})
  checkpoints.close()

  state, _, step = restore(workdir)
  assert step == 4 and digest(state) == digest(make_state(4))
  assert steps_on_disk(workdir) == ["2", "3", "4"]


def test_a_run_whose_checkpoints_are_all_damaged_is_refused(workdir):
  for step in ("2", "4"):
    (workdir / "checkpoints" / step / "extra" / "metadata").write_text("{")

  named = r"All checkpoints in .* are damaged \(\[4, 2\]\): restore a copy"
  with pytest.raises(InputError, match=named):
    restore(workdir)

  checkpoints = Checkpoints(workdir)
  assert checkpoints.read_config() is None
  checkpoints.close()


def test_the_config_is_read_from_the_checkpoint_before_a_damaged_one(workdir):
  (workdir / "checkpoints" / "4" / "extra" / "metadata").write_text("{")
  checkpoints = Checkpoints(workdir)
  assert checkpoints.read_config() == {"seed": 2}
  checkpoints.close()


def test_a_checkpoint_of_another_mark_up_is_refused_in_one_sentence(two_steps):
  named = (
    r"shape \(29,\) in the checkpoint and \(68,\) in this config .* use the config it was trained"
  )
  with pytest.raises(InputError, match=named) as error:
    restore(two_steps, make_state(0, landmarks=68))
  assert "\n" not in str(error.value)


def test_a_checkpoint_of_a_deeper_network_is_refused_in_one_sentence(two_steps):
  state = make_state(0)
  deeper = state.replace(params={**state.params, "m1": {"kernel": jnp.zeros((3, 3))}})

  named = r"m1/kernel has shape None in the checkpoint and \(3, 3\) in this config"
  with pytest.raises(InputError, match=named) as error:
    restore(two_steps, deeper)
  assert "\n" not in str(error.value)


def test_a_folder_without_a_run_is_refused_unless_one_may_be_created(tmp_path):
  with pytest.raises(InputError, match="There is no run in"):
    Checkpoints(tmp_path, create=False)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/nowhere"])
def test_an_unwritable_workdir_is_refused_in_one_sentence(tmp_path, folder):
  (tmp_path / "file").write_text("")
  with pytest.raises(InputError, match="Nothing can be written to --workdir=") as error:
    Checkpoints(tmp_path / folder)
  assert "\n" not in str(error.value)


# ---- A full disk


@contextlib.contextmanager
def no_room():
  """No file of this process can grow beyond 5 kB, as if a quota were used up."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


SIZE = sum(leaf.nbytes for leaf in jax.tree.leaves(make_state(0)))


@pytest.mark.parametrize(
  ("keep", "saved", "start", "end", "every", "copies"),
  [
    (2, 0, 0, 100, 10, 3),
    (2, 0, 0, 15, 10, 2),  # steps 10 and 15
    (2, 1, 10, 100, 10, 2),
    (2, 2, 20, 100, 10, 1),
    (1, 2, 20, 100, 10, 1),
    (None, 1, 10, 45, 10, 4),
    (2, 1, 10, 10, 10, 0),
  ],
)
def test_room_is_needed_for_one_checkpoint_beside_those_that_stay(
  tmp_path, monkeypatch, *, keep, saved, start, end, every, copies
):
  save(tmp_path, *range(10, 10 * saved + 1, 10))
  disk = types.SimpleNamespace(total=10**9, free=copies * SIZE)
  monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: disk)

  with Checkpoints(tmp_path, keep=keep) as checkpoints:
    checkpoints.check_room(make_state(0), start, end, every=every)
    disk.free = max(disk.free - 1, 0)
    needed = f"need {copies * SIZE / 1e6:.1f} MB more .{copies} of .* and .* MB are free: make room"
    with pytest.raises(InputError, match=needed) if copies else contextlib.nullcontext():
      checkpoints.check_room(make_state(0), start, end, every=every)

    disk.total = disk.free = 0  # a file system that does not know
    checkpoints.check_room(make_state(0), start, end, every=every)


@pytest.mark.parametrize("steps", [(2,), (2, 3)], ids=["at the end", "at the next save"])
def test_a_full_disk_is_one_sentence_and_what_was_saved_stays(tmp_path, steps):
  save(tmp_path, 1)

  named = rf"written to {tmp_path} \(File too large\): make room .* which resumes from step 1\.$"
  with pytest.raises(InputError, match=named), no_room(), Checkpoints(tmp_path, keep=1) as full:
    for step in steps:
      full.save(step, make_state(step), {"config": {}})

  assert steps_on_disk(tmp_path) == ["1"]
  state, _, step = restore(tmp_path)
  assert step == 1 and digest(state) == digest(make_state(1))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_may_turn_out_to_be_full_elsewhere_in_the_run(workdir, number):
  full = OSError(number, os.strerror(number))
  damaged = workdir / "checkpoints" / "4" / "extra" / "metadata"
  damaged.write_text("{")

  with pytest.raises(InputError, match="which resumes from step 2") as error:  # noqa: SIM117
    with Checkpoints(workdir) as checkpoints:
      checkpoints.restore_latest(make_state(0))
      raise RuntimeError("the log") from full
  assert f"({full.strerror})" in str(error.value) and "\n" not in str(error.value)


def test_other_errors_stay_what_they_are(tmp_path):
  errors = [
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."),
    OSError(errno.EIO, os.strerror(errno.EIO)),
    InputError("Nothing can be written to --out=a (No space left on device)."),
  ]
  for expected in errors:
    with pytest.raises(type(expected)) as error, Checkpoints(tmp_path):
      raise expected
    assert error.value is expected


FULL = """
import resource, sys
import numpy as np
from fal_jax import flag_parser
from fal_jax.checkpoint import Checkpoints

def run():
  with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(1, {"a": np.zeros(9)}, {})
    checkpoints._manager.wait_until_finished()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    rng = np.random.default_rng(0)
    checkpoints.save(2, {name: rng.normal(size=(300, 300)) for name in "abcdefgh"}, {})

sys.exit(flag_parser.exit_code(run))
"""


@pytest.mark.slow
def test_a_full_disk_leaves_one_line_on_the_screen_and_exit_2(tmp_path):
  command = [sys.executable, "-c", FULL, str(tmp_path)]
  ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

  assert ended.returncode == 2 and ended.stdout == ""
  (line,) = ended.stderr.splitlines()
  assert "(File too large): make room there and run the same command" in line
  assert steps_on_disk(tmp_path) == ["1"]


def test_the_digest_sees_values_types_shapes_and_names():
  state = {"a": np.arange(6, dtype=np.float32)}
  others = [
    {"a": np.arange(6, dtype=np.float32) + np.float32(1e-7)},
    {"a": np.arange(6, dtype=np.int32)},
    {"a": np.arange(6, dtype=np.float32).reshape(2, 3)},
    {"b": np.arange(6, dtype=np.float32)},
    {"a": np.array([-0.0, 1, 2, 3, 4, 5], np.float32)},
  ]
  strided = np.arange(12, dtype=np.float32)[::2] / 2

  assert digest(state) == digest({"a": jnp.arange(6, dtype=jnp.float32)}) == digest({"a": strided})
  assert len({digest(other) for other in [state, *others]}) == 6


def test_warnings_about_damage_are_one_line():
  assert checkpoint._first_line(ValueError("\nfirst\nsecond")) == "ValueError: first"
  assert checkpoint._first_line(KeyError()) == "KeyError: "
  assert len(checkpoint._first_line(ValueError("x" * 10000))) < 300
