"""The training step: the same mathematics on any number of devices, and only that mathematics."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from configs import demo
from fal_jax import build, parallel, siamese, steps
from fal_jax.augment import ViewRange
from fal_jax.crop import CropRule
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN, ConvBlock, _Norm

CROP, STORED, BATCH = 64, 104, 6
FLIP = (1, 0, 2)
QUICKLY = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}  # compiling is what takes long here
CODEC = HeatmapCodec(size=CROP // 4, sigma=1.0)


class SmallNet(nn.Module):
  """What FAN is to a training step, at a hundredth of the compiling: its block, its BatchNorm, its
  output of two stacks.
  """

  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    norm = functools.partial(_Norm, axis_name=self.axis_name)
    x = nn.avg_pool(images, (4, 4), strides=(4, 4))
    first = ConvBlock(16, norm, name="block0")(x, train)
    second = ConvBlock(16, norm, name="block1")(first, train)
    return jnp.stack(
      [nn.Conv(len(FLIP), (3, 3), name=f"l{i}")(x) for i, x in enumerate((first, second))]
    )


def falling(step: int | jax.Array) -> float | jax.Array:
  """A learning rate that is never the same twice, and small enough for rounding not to grow from
  step to step.
  """
  return 1e-5 * 0.9**step


# Gradient descent and not Adam, whose first steps turn the rounding of a gradient near zero into a
# full step.
RECIPE = steps.Recipe(
  model=SmallNet(steps.DEVICES),
  codec=CODEC,
  tx=optax.sgd(falling),
  schedule=falling,
  flip=FLIP,
  crop=CropRule(size=CROP, stored_size=STORED),
  ranges=ViewRange(),
  num_views=2,
  reduce="mean",
  seed=0,
)


def make_batch(
  count: int = BATCH, *, landmarks: int = len(FLIP), seed: int = 0
) -> dict[str, np.ndarray]:
  """Smooth pictures with a red, a green and a blue spot at the first landmarks; example numbers far
  apart and not in order.
  """
  rng = np.random.default_rng(seed)
  points_of_all = rng.uniform(12, CROP - 12, (count, landmarks, 2)).astype(np.float32)
  row, column = np.mgrid[:STORED, :STORED][..., None]
  margin = (STORED - CROP) / 2
  images = np.empty((count, STORED, STORED, 3))
  for image, points in zip(images, points_of_all, strict=True):
    spots = np.exp(
      -((column - points[:3, 0] - margin) ** 2 + (row - points[:3, 1] - margin) ** 2) / 50
    )
    image[:] = 60 + 40 * np.sin(row / 17 + rng.uniform(0, 6, 3)) + 150 * spots
  index = rng.permutation(1000)[:count].astype(np.int32)
  return {
    "image": np.clip(images, 0, 255).astype(np.uint8),
    "landmarks": points_of_all,
    "index": index,
  }


def initial_state(recipe: steps.Recipe, *, seed: int = 0) -> steps.TrainState:
  return jax.jit(
    lambda: steps.init_state(jax.random.key(seed, impl="rbg"), recipe), compiler_options=QUICKLY
  )()


@functools.cache
def mapped(recipe: steps.Recipe, count: int) -> Callable:
  """The step over the first `count` devices, as `parallel.make_train_step` builds it over all;
  compiled once per recipe.
  """
  step = functools.partial(steps.train_step, recipe=recipe)
  replicated_and_split = {
    "in_axes": (None, 0),
    "out_axes": (None, None),
    "devices": jax.devices()[:count],
  }
  return jax.jit(
    jax.pmap(step, axis_name=steps.DEVICES, **replicated_and_split), compiler_options=QUICKLY
  )


def run(
  recipe: steps.Recipe, state: steps.TrainState, batch: dict, *, devices: int, count: int
) -> tuple[steps.TrainState, list]:
  """`count` steps on one batch; the state after them and the log of each."""
  step = mapped(recipe, devices)
  shares = {name: array.reshape(devices, -1, *array.shape[1:]) for name, array in batch.items()}
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), (steps.DEVICES,))
  state = jax.device_put(
    state, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  )  # or the 2nd call compiles again
  log = []
  for _ in range(count):
    state, metrics = step(state, shares)
    log.append({name: float(value) for name, value in metrics.items()})
  return state, log


@pytest.fixture(scope="module")
def start() -> steps.TrainState:
  return initial_state(RECIPE)


@pytest.fixture(scope="module")
def on_one_device(start) -> tuple[steps.TrainState, steps.TrainState, list]:
  """After 3 steps, after 10, and the log."""
  after_three, log = run(RECIPE, start, make_batch(), devices=1, count=3)
  after_ten, rest = run(RECIPE, after_three, make_batch(), devices=1, count=7)
  return after_three, after_ten, log + rest


def difference(a: steps.TrainState, b: steps.TrainState, *, start: steps.TrainState) -> float:
  """How far apart training has taken two copies of the weights, as a part of the way it has gone.

  Not zero: where a ReLU's input is zero but for rounding, two sums in another order may fall on
  either side of it.
  """
  apart, way = (
    optax.tree.norm(jax.tree.map(lambda x, y: np.asarray(x) - np.asarray(y), a.params, c.params))
    for c in (b, start)
  )
  return float(apart / way)


def assert_trees_equal(a: Any, b: Any) -> None:
  jax.tree.map(np.testing.assert_array_equal, a, b)


# ---- Devices


@pytest.mark.parametrize(
  "devices", [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 6))]
)
def test_the_number_of_devices_does_not_change_the_course_of_training(
  start, on_one_device, devices
):
  three, ten, log = on_one_device
  state, metrics = run(RECIPE, start, make_batch(), devices=devices, count=3)
  assert difference(state, three, start=start) < 1e-3
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    state.batch_stats,
    three.batch_stats,
  )
  state, rest = run(RECIPE, state, make_batch(), devices=devices, count=7)
  assert difference(state, ten, start=start) < 1e-3
  for name, rtol in {
    "loss": 1e-5,
    "gradient_norm": 1e-4,
    "update_norm": 1e-4,
    "learning_rate": 1e-7,
  }.items():
    np.testing.assert_allclose([m[name] for m in metrics + rest], [m[name] for m in log], rtol=rtol)
  assert state.step == 10


@pytest.mark.slow
def test_fan_itself_trains_alike_on_one_and_on_eight_devices():
  recipe = dataclasses.replace(RECIPE, model=FAN(2, len(FLIP), 8, depth=2, axis_name=steps.DEVICES))
  with jax.enable_x64(True):  # see the next test
    state = initial_state(recipe)
    (one, log), (eight, metrics) = (
      run(recipe, state, make_batch(16), devices=devices, count=3) for devices in (1, 8)
    )
  np.testing.assert_allclose([m["loss"] for m in metrics], [m["loss"] for m in log], rtol=1e-4)
  assert difference(eight, one, start=state) < 1e-2


@pytest.mark.slow
def test_the_demo_s_own_steps_do_not_depend_on_the_number_of_devices_but_for_rounding():
  """In float64, and so under Adam at its full rate. Only the rendering of views stays in float32,
  the same for two images on a device and for eight. All in float32, ten steps drift apart by 1e-4:
  a rounding of 1e-7 puts one in ten million ReLUs on the other side, which moves the gradient by
  the root of that, and Adam makes steps of it.
  """
  with jax.enable_x64(True):
    recipe = build.setup(demo.get_config()).recipe(steps_per_epoch=125)
    state, batch = initial_state(recipe), make_batch(8, landmarks=68)
    (_, one), (_, four) = (
      run(recipe, state, batch, devices=devices, count=3) for devices in (1, 4)
    )
  np.testing.assert_allclose([m["loss"] for m in four], [m["loss"] for m in one], rtol=1e-6)
  assert one[-1]["loss"] != one[0]["loss"]


def test_statistics_of_each_device_s_own_share_are_those_of_the_batch_only_if_all_shares_are_alike(
  start,
):
  alone = dataclasses.replace(RECIPE, model=SmallNet(None))
  half = make_batch(BATCH // 2)
  twice = {name: np.concatenate([array, array]) for name, array in half.items()}
  for batch, alike in ((twice, True), (make_batch(), False)):
    together, own = (run(recipe, start, batch, devices=2, count=1)[0] for recipe in (RECIPE, alone))
    same = difference(own, together, start=start) < 1e-3
    assert same == alike
  jax.tree.map(
    lambda a: np.testing.assert_array_equal(*(shard.data for shard in a.addressable_shards)), own
  )


def test_all_replicas_hold_the_same_bits(start):
  state, _ = run(RECIPE, start, make_batch(), devices=6, count=3)
  for path, array in jax.tree.leaves_with_path(state):
    shards = [np.asarray(shard.data) for shard in array.addressable_shards]
    assert len(shards) == 6
    assert all(shard.tobytes() == shards[0].tobytes() for shard in shards), jax.tree_util.keystr(
      path
    )


def test_the_order_of_images_in_the_batch_does_not_matter(start, on_one_device):
  order = np.random.default_rng(3).permutation(BATCH)
  batch = {name: array[order] for name, array in make_batch().items()}
  state, log = run(RECIPE, start, batch, devices=1, count=3)
  assert difference(state, on_one_device[0], start=start) < 1e-3
  np.testing.assert_allclose(
    [m["loss"] for m in log], [m["loss"] for m in on_one_device[2][:3]], rtol=1e-5
  )


# ---- Views

views_of = jax.jit(steps.sample_views, static_argnums=0, compiler_options=QUICKLY)


def test_views_depend_on_step_and_example_and_on_nothing_else_of_the_batch():
  index = np.array([7, 3, 911, 0], np.int32)
  views = views_of(RECIPE, 5, index)
  assert views.mirrored.shape == (2, 4)
  order = np.array([2, 0, 3, 1])
  assert_trees_equal(views_of(RECIPE, 5, index[order]), jax.tree.map(lambda a: a[:, order], views))
  others = np.array([7, 8, 9, 10], np.int32)
  assert_trees_equal(
    *(jax.tree.map(lambda a: a[:, 0], v) for v in (views_of(RECIPE, 5, others), views))
  )


def test_views_of_a_step_an_image_or_a_seed_differ_from_all_others():
  index = np.arange(4, dtype=np.int32)
  seeds = [RECIPE, dataclasses.replace(RECIPE, seed=1)]
  maps = np.concatenate(
    [
      np.asarray(views_of(recipe, step, index).view_from_crop).reshape(-1, 6)
      for recipe in seeds
      for step in range(3)
    ]
  )
  assert len(np.unique(maps, axis=0)) == len(maps) == 2 * 3 * 2 * 4


def test_every_step_sees_other_views_through_the_same_weights(start, on_one_device):
  _, log = run(RECIPE, start.replace(step=jnp.int32(1)), make_batch(), devices=1, count=1)
  assert abs(log[0]["loss"] / on_one_device[2][0]["loss"] - 1) > 1e-3


# ---- Loss


def test_loss_and_gradient_are_those_of_the_definition_whatever_the_devices_hold(start):
  """Eq. 6 from the parts on one device: both stacks, the mean over all annotated landmarks, of
  which one device has few.
  """
  batch = make_batch()
  batch["landmarks"][: BATCH // 2 - 1] = np.nan
  batch["landmarks"][-2:, 1] = np.nan
  annotated = np.isfinite(batch["landmarks"]).all(-1)
  target = np.asarray(CODEC.encode(batch["landmarks"]))

  def loss_of(params):
    views = steps.sample_views(RECIPE, 0, batch["index"])
    images = steps.render_views(RECIPE, batch["image"], views)
    variables = {"params": params, "batch_stats": start.batch_stats}
    heatmaps, _ = SmallNet().apply(
      variables, images.reshape(-1, CROP, CROP, 3), True, mutable=["batch_stats"]
    )
    heatmaps = heatmaps.reshape(2, 2, BATCH, *heatmaps.shape[2:])
    combined, weight = siamese.combine(
      heatmaps, views, stride=4, flip=jnp.asarray(FLIP), reduce="mean"
    )
    squares = (weight[..., None] * (combined - target) ** 2).sum((0, 2, 3))  # (B, K)
    return squares[annotated].sum() / annotated.sum()

  loss, gradient = jax.jit(jax.value_and_grad(loss_of), compiler_options=QUICKLY)(start.params)
  _, log = run(RECIPE, start, batch, devices=2, count=1)
  assert log[0]["loss"] == pytest.approx(float(loss), rel=1e-5)
  assert log[0]["gradient_norm"] == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-4)
  assert log[0]["update_norm"] == pytest.approx(falling(0) * log[0]["gradient_norm"], rel=1e-4)


@dataclasses.dataclass(frozen=True)
class LoudCodec:
  """Asks for nonsense where a landmark is not annotated: nobody must listen."""

  stride: float = CODEC.stride

  def encode(self, landmarks: jax.Array) -> jax.Array:
    known = jnp.isfinite(landmarks).all(-1)[..., None, None, :]
    return jnp.where(known, CODEC.encode(landmarks), 1e6)


def test_a_landmark_that_is_not_annotated_has_no_influence_on_loss_and_gradient(start):
  batch = make_batch()
  batch["landmarks"][2, 1] = np.nan
  batch["landmarks"][5, 0, 1] = np.inf
  batch["landmarks"][3] = np.nan
  (quiet, quiet_log), (loud, loud_log) = (
    run(recipe, start, batch, devices=2, count=1)
    for recipe in (RECIPE, dataclasses.replace(RECIPE, codec=LoudCodec()))
  )
  assert quiet_log == loud_log and np.isfinite(list(quiet_log[0].values())).all()
  assert_trees_equal(quiet.params, loud.params)


def test_a_batch_without_any_annotation_has_loss_zero_and_changes_no_weight(start):
  batch = make_batch()
  batch["landmarks"][:] = np.nan
  state, log = run(RECIPE, start, batch, devices=2, count=1)
  assert log[0]["loss"] == log[0]["gradient_norm"] == 0
  assert_trees_equal(state.params, start.params)


# ---- Training


OVERFITTING = dataclasses.replace(
  RECIPE, tx=optax.adam(3e-3), ranges=ViewRange(rotation=10.0, mirror=0.0)
)


@pytest.fixture(scope="module")
def overfitted() -> tuple[steps.TrainState, list]:
  """The state after 5 steps on 4 images, and the log of 40."""
  state, log = run(OVERFITTING, initial_state(OVERFITTING), make_batch(4), devices=2, count=5)
  return state, log + run(OVERFITTING, state, make_batch(4), devices=2, count=35)[1]


def test_the_loss_falls_when_four_images_are_learnt_by_heart(overfitted):
  losses = [metrics["loss"] for metrics in overfitted[1]]
  assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_training_twice_from_one_seed_gives_the_same_bits_and_from_another_seed_does_not(
  overfitted,
):
  state, log = run(OVERFITTING, initial_state(OVERFITTING), make_batch(4), devices=2, count=5)
  assert_trees_equal(state, overfitted[0])
  assert log == overfitted[1][:5]
  _, other_log = run(
    OVERFITTING, initial_state(OVERFITTING, seed=1), make_batch(4), devices=2, count=1
  )
  assert other_log[0]["loss"] != log[0]["loss"]


def test_the_logged_learning_rate_is_that_of_the_update(on_one_device):
  for step, metrics in enumerate(on_one_device[2]):
    assert metrics["learning_rate"] == pytest.approx(falling(step), rel=1e-5)
    assert metrics["update_norm"] == pytest.approx(
      metrics["learning_rate"] * metrics["gradient_norm"], rel=1e-4
    )


def test_the_mapped_step_of_all_devices_consumes_its_state_and_compiles_once(monkeypatch):
  monkeypatch.setattr(parallel, "_CPU_OPTIONS", parallel._CPU_OPTIONS | QUICKLY)
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda name, _, **__: (
      compiled.append(name) if name.endswith("backend_compile_duration") else None
    )
  )
  step = parallel.make_train_step(RECIPE)
  batch = parallel.split_over_devices(make_batch(8))
  states, counts = [parallel.replicate(initial_state(RECIPE))], []
  for _ in range(3):
    state, metrics = step(states[-1], batch)
    states.append(jax.block_until_ready(state))
    counts.append(len(compiled))
  assert counts[0] > 0 and counts[1:] == counts[:1] * 2
  assert [jax.tree.leaves(state.params)[0].is_deleted() for state in states] == [
    True,
    True,
    True,
    False,
  ]
  assert states[-1].step == 3 and np.isfinite(float(metrics["loss"]))


# ---- Prediction


@dataclasses.dataclass(frozen=True)
class Oracle:
  """A network that knows the answer, and says it as loudly as the image is bright; its first stack
  knows nothing.
  """

  landmarks: tuple

  def apply(self, variables: Any, images: jax.Array, train: bool) -> jax.Array:
    assert not train and images.dtype == jnp.float32
    heatmaps = (
      CODEC.encode(jnp.asarray(self.landmarks)) * images.max((1, 2, 3))[:, None, None, None]
      + variables
    )
    return jnp.stack([jnp.zeros_like(heatmaps), heatmaps])


KNOWN = np.array(
  [[21.5, 41.5], [33.5, 13.5], [45.5, 29.5]], np.float32
)  # centres of cells, where decoding is exact


@pytest.mark.parametrize("count", [0, 1, 8, 11])
def test_predictions_are_decoded_from_the_last_stack_of_every_image_in_order(count):
  brightness = np.linspace(51, 255, count).astype(np.uint8)
  images = np.zeros((count, CROP, CROP, 3), np.uint8)
  images[:, 3, 4] = brightness[:, None]
  predict = parallel.make_predict(Oracle(tuple(map(tuple, KNOWN))), CODEC)
  landmarks, scores = predict(np.float32(0), images)
  np.testing.assert_allclose(landmarks, np.broadcast_to(KNOWN, (count, 3, 2)), atol=1e-3)
  np.testing.assert_allclose(scores, brightness[:, None].repeat(3, 1) / 255, rtol=1e-5)
