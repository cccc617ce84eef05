"""The training step on any number of devices: the same mathematics, the same bits on all."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from quick_xla import QUICKLY
from step_fixtures import (
  BATCH,
  RECIPE,
  SmallNet,
  assert_trees_equal,
  difference,
  initial_state,
  make_batch,
  run,
)

from configs import demo
from fal_jax import build, parallel, steps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def start() -> steps.TrainState:
  return initial_state(RECIPE)


@pytest.fixture(scope="module")
def on_one_device(start) -> tuple[steps.TrainState, steps.TrainState, list]:
  """After 3 steps, after 10, and the log."""
  after_three, log = run(RECIPE, start, make_batch(), devices=1, count=3)
  after_ten, rest = run(RECIPE, after_three, make_batch(), devices=1, count=7)
  return after_three, after_ten, log + rest


@pytest.mark.parametrize("devices", [2, 3, 6])
def test_the_number_of_devices_does_not_change_training(start, on_one_device, devices):
  three, ten, log = on_one_device
  # A ReLU whose input is zero but for rounding moves the gradient by thousandths, see `difference`.
  rtol = {"loss": 1e-5, "gradient_norm": 2e-3, "update_norm": 2e-3, "learning_rate": 1e-7}

  state, metrics = run(RECIPE, start, make_batch(), devices=devices, count=3)
  assert difference(state, three, start=start) < 1e-3
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
  jax.tree.map(close, state.batch_stats, three.batch_stats)

  state, rest = run(RECIPE, state, make_batch(), devices=devices, count=7)
  assert difference(state, ten, start=start) < 1e-3
  for name, tolerance in rtol.items():
    found, expected = ([values[name] for values in column] for column in (metrics + rest, log))
    np.testing.assert_allclose(found, expected, rtol=tolerance)
  assert state.step == 10


@pytest.mark.heavy
def test_demo_config_steps_do_not_depend_on_the_number_of_devices():
  """In float64, and so under Adam at its full rate; only the views are rendered in float32.

  For one image on a device and for eight they differ by a rounding, which three steps make 1e-6 of
  the loss. All in float32, ten steps drift apart by 1e-4: a rounding of 1e-7 puts one in ten
  million ReLUs on the other side, which moves the gradient by the root of that, and Adam makes
  steps of it.
  """
  with jax.enable_x64(True):
    recipe = build.setup(demo.get_config()).recipe(steps_per_epoch=125)
    state, batch = initial_state(recipe), make_batch(8, landmarks=68)
    one, log = run(recipe, state, batch, devices=1, count=3)
    eight, metrics = run(recipe, state, batch, devices=8, count=3)

  np.testing.assert_allclose([m["loss"] for m in metrics], [m["loss"] for m in log], rtol=5e-6)
  assert difference(eight, one, start=state) < 1e-2
  assert log[-1]["loss"] != log[0]["loss"]


def test_local_statistics_are_those_of_the_batch_only_if_all_shares_are_alike(start):
  local = dataclasses.replace(RECIPE, model=SmallNet(None))
  half = make_batch(BATCH // 2)
  twice = {name: np.concatenate([array, array]) for name, array in half.items()}

  for batch, shares_are_alike in ((twice, True), (make_batch(), False)):
    with_global, _ = run(RECIPE, start, batch, devices=2, count=1)
    with_local, _ = run(local, start, batch, devices=2, count=1)
    assert (difference(with_local, with_global, start=start) < 1e-3) == shares_are_alike

  for leaf in jax.tree.leaves(with_local):
    np.testing.assert_array_equal(*(shard.data for shard in leaf.addressable_shards))


@pytest.mark.parametrize(("devices", "parts"), [(1, 6), (2, 3)])
def test_parts_one_after_the_other_train_like_so_many_devices_of_their_own(
  start, on_one_device, devices, parts
):
  local = dataclasses.replace(RECIPE, model=SmallNet(None))
  six, expected = run(local, start, make_batch(), devices=6, count=3)
  common_statistics, _, _ = on_one_device

  recipe = dataclasses.replace(local, accumulate=parts)
  state, log = run(recipe, start, make_batch(), devices=devices, count=3)

  assert difference(state, six, start=start) < 1e-3
  assert difference(state, common_statistics, start=start) > 1e-2
  for found, wanted in zip(log, expected, strict=True):
    assert found == pytest.approx(wanted, rel=1e-4)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, state.batch_stats, six.batch_stats)


def test_parts_under_frozen_statistics_are_the_whole_batch(start):
  frozen = dataclasses.replace(RECIPE, model=SmallNet(None), frozen_statistics=True)
  whole, _ = run(frozen, start, make_batch(), devices=1, count=1)

  parts = dataclasses.replace(frozen, accumulate=3)
  state, _ = run(parts, start, make_batch(), devices=1, count=1)

  assert difference(state, whole, start=start) < 1e-3
  assert_trees_equal(state.batch_stats, start.batch_stats)


def test_the_order_of_images_in_the_batch_does_not_matter(start, on_one_device):
  order = np.random.default_rng(3).permutation(BATCH)
  batch = {name: array[order] for name, array in make_batch().items()}
  three, _, expected = on_one_device

  state, log = run(RECIPE, start, batch, devices=1, count=3)

  assert difference(state, three, start=start) < 1e-3
  np.testing.assert_allclose([m["loss"] for m in log], [m["loss"] for m in expected[:3]], rtol=1e-5)


# ---- `parallel.make_train_step`: over all devices


@pytest.fixture(scope="module")
def all_devices() -> tuple[list[steps.TrainState], list[dict], list[int]]:
  """Four states and the logs of the three steps between them; compilations after each step.

  Nothing may be sent to a device during the steps: state and batch have been placed there.
  """
  compiled = []

  def count(name: str, _: float, **__) -> None:
    if name.endswith("backend_compile_duration"):
      compiled.append(name)

  jax.monitoring.register_event_duration_secs_listener(count)
  states, logs, counts = [parallel.replicate(initial_state(RECIPE))], [], []

  mesh = jax.sharding.Mesh(np.array(jax.devices()), (steps.DEVICES,))
  split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(steps.DEVICES))
  batch = jax.device_put(parallel.split_over_devices(make_batch(8)), split)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(parallel, "_CPU_OPTIONS", parallel._CPU_OPTIONS | QUICKLY)
    step = parallel.make_train_step(RECIPE)
    for _ in range(3):
      with jax.transfer_guard("disallow"):
        state, metrics = jax.block_until_ready(step(states[-1], batch))
      states.append(state)
      logs.append(metrics)
      counts.append(len(compiled))

  return states, logs, counts


def test_the_step_of_all_devices_compiles_once_and_consumes_its_state(all_devices):
  states, logs, compilations = all_devices

  assert compilations[0] > 0
  assert compilations[1:] == compilations[:1] * 2
  deleted = [jax.tree.leaves(state.params)[0].is_deleted() for state in states]
  assert deleted == [True, True, True, False]
  assert states[-1].step == 3
  assert np.isfinite(float(logs[-1]["loss"]))


def test_all_replicas_hold_the_same_bits(all_devices):
  states, _, _ = all_devices
  for path, array in jax.tree.leaves_with_path(states[-1]):
    shards = [np.asarray(shard.data).tobytes() for shard in array.addressable_shards]
    assert len(shards) == jax.device_count()
    assert set(shards) == {shards[0]}, jax.tree_util.keystr(path)
