"""A recipe whose training step compiles in a second, batches for it, and steps on any devices.

It differs from a real run in size alone: the network is FAN's block with FAN's BatchNorm, twice.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from quick_xla import QUICKLY

from fal_jax import steps
from fal_jax.augment import ViewRange
from fal_jax.crop import CropRule
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import ConvBlock
from fal_jax.ops.layers import Norm

CROP = 64  # px, side of the network's input
STORED = 104  # px, side of the stored crops
BATCH = 6
FLIP = (1, 0, 2)
CODEC = HeatmapCodec(size=CROP // 4, sigma=1.0)


class SmallNet(nn.Module):
  """Stands in for FAN in a training step, for a hundredth of the compile time.

  It has FAN's block, BatchNorm and stride, and an output of two stacks.
  """

  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    norm = functools.partial(Norm, axis_name=self.axis_name)
    pooled = nn.avg_pool(images, (4, 4), strides=(4, 4))
    first = ConvBlock(16, norm, name="block0")(pooled, train)
    second = ConvBlock(16, norm, name="block1")(first, train)

    heatmaps = [
      nn.Conv(len(FLIP), (3, 3), name=f"l{i}")(features)
      for i, features in enumerate((first, second))
    ]
    return jnp.stack(heatmaps)


def falling(step: int | jax.Array) -> float | jax.Array:
  """A learning rate that never repeats, so small that rounding does not grow from step to step."""
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
  reduce="sum",
  seed=0,
)


def make_batch(
  count: int = BATCH, *, landmarks: int = len(FLIP), seed: int = 0
) -> dict[str, np.ndarray]:
  """Smooth images with a red, a green and a blue spot at the first landmarks.

  The example numbers are far apart and not in order.
  """
  rng = np.random.default_rng(seed)
  points_of_all = rng.uniform(12, CROP - 12, (count, landmarks, 2)).astype(np.float32)
  row, column = np.mgrid[:STORED, :STORED][..., None]
  margin = (STORED - CROP) / 2

  images = np.empty((count, STORED, STORED, 3))
  for image, points in zip(images, points_of_all, strict=True):
    distance_x = column - points[:3, 0] - margin
    distance_y = row - points[:3, 1] - margin
    spots = np.exp(-(distance_x**2 + distance_y**2) / 50)
    image[:] = 60 + 40 * np.sin(row / 17 + rng.uniform(0, 6, 3)) + 150 * spots

  return {
    "image": np.clip(images, 0, 255).astype(np.uint8),
    "landmarks": points_of_all,
    "index": rng.permutation(1000)[:count].astype(np.int32),
  }


def initial_state(recipe: steps.Recipe, *, seed: int = 0) -> steps.TrainState:
  """A fresh state; the rbg generator compiles fast."""
  key = jax.random.key(seed, impl="rbg")
  return jax.jit(lambda: steps.init_state(key, recipe), compiler_options=QUICKLY)()


@functools.cache
def mapped(recipe: steps.Recipe, count: int) -> Callable:
  """The step over the first `count` devices, compiled once per recipe.

  It is built as `parallel.make_train_step` builds it over all of them.
  """
  step = jax.pmap(
    functools.partial(steps.train_step, recipe=recipe),
    axis_name=steps.DEVICES,
    in_axes=(None, 0),
    out_axes=(None, None),
    devices=jax.devices()[:count],
  )
  return jax.jit(step, compiler_options=QUICKLY)


def run(
  recipe: steps.Recipe, state: steps.TrainState, batch: dict, *, devices: int, count: int
) -> tuple[steps.TrainState, list]:
  """`count` steps on one batch; the state after them and the log of each."""
  step = mapped(recipe, devices)
  shares = {name: array.reshape(devices, -1, *array.shape[1:]) for name, array in batch.items()}

  # Without a sharding of its own the state would make the second call compile again.
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), (steps.DEVICES,))
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  state = jax.device_put(state, replicated)

  log = []
  for _ in range(count):
    state, metrics = step(state, shares)
    log.append({name: float(value) for name, value in metrics.items()})
  return state, log


views_of = jax.jit(steps.sample_views, static_argnums=0, compiler_options=QUICKLY)


def difference(a: steps.TrainState, b: steps.TrainState, *, start: steps.TrainState) -> float:
  """Distance between two trained copies of the weights, as a fraction of the way they have gone.

  It is not zero: where a ReLU's input is zero but for rounding, two sums in a different order may
  fall on either side of it.
  """

  def distance(c: steps.TrainState) -> float:
    deltas = jax.tree.map(lambda x, y: np.asarray(x) - np.asarray(y), a.params, c.params)
    return float(optax.tree.norm(deltas))

  return distance(b) / distance(start)


def assert_trees_equal(a: Any, b: Any) -> None:
  """Every leaf of one has the values of the other's."""
  jax.tree.map(np.testing.assert_array_equal, a, b)
