"""One training step and one evaluation step, as pure functions of one device's share of the batch.

Nothing here knows how many devices there are: `train.py` maps these functions over the axis `DEVICES`, and whatever must agree
between devices is summed over it here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from fal_jax import affine, losses, siamese
from fal_jax.augment import View, ViewRange, render_view, sample_view
from fal_jax.collectives import pmean, psum
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN

DEVICES = "devices"

Batch = Mapping[str, jax.Array]


@flax.struct.dataclass
class TrainState:
  """All that a step changes and a checkpoint keeps."""

  step: jax.Array  # () int32, optimiser steps done
  params: Any
  batch_stats: Any
  opt_state: optax.OptState


@dataclasses.dataclass(frozen=True)
class Recipe:
  """All that a step needs and does not change.

  Attributes:
    model: the network; its `axis_name` is `DEVICES`, so that BatchNorm sees the global batch.
    codec: landmarks to heatmaps and back, at the network's output size.
    tx: the optimiser.
    schedule: the learning rate it follows, for the log.
    flip: (K,) the mark-up's mirror permutation, as a tuple.
    crop_size: side of the network's input, px.
    stored_size: side of the stored crops, which carry a margin around the network's input.
    ranges: what the random views may do.
    num_views: views per image, 2 in the paper.
    reduce: how the views' heatmaps are combined.
    seed: of the views; the order of the images has its own in `data.py`.
  """

  model: FAN
  codec: HeatmapCodec
  tx: optax.GradientTransformation
  schedule: optax.Schedule
  flip: tuple[int, ...]
  crop_size: int
  stored_size: int
  ranges: ViewRange
  num_views: int
  reduce: siamese.Reduce
  seed: int

  @property
  def crop_from_stored(self) -> np.ndarray:
    """(2, 3): the crop is the middle of the stored square."""
    margin = (self.stored_size - self.crop_size) / 2
    return affine.translation(np.array([-margin, -margin], np.float32))


def init_state(key: jax.Array, recipe: Recipe) -> TrainState:
  """A fresh state, step 0."""
  image = jnp.zeros((1, recipe.crop_size, recipe.crop_size, 3))
  return first_state(recipe.model.init(key, image, False), recipe)


def first_state(variables: Any, recipe: Recipe) -> TrainState:
  """Step 0 with given `params` and `batch_stats`."""
  params = variables["params"]
  return TrainState(jnp.zeros((), jnp.int32), params, variables["batch_stats"], recipe.tx.init(ravel_pytree(params)[0]))


def sample_views(recipe: Recipe, step: jax.Array, index: jax.Array) -> View:
  """The views of this step, shape (V, B): functions of the seed, the step and each example's own number, never of its place in
  the batch or on a device, so that a run can go on with any number of devices.

  Args:
    recipe: gives seed, ranges and crop size.
    step: () int32.
    index: (B,) int32, number of each example in its split.
  """
  step_key = jax.random.fold_in(jax.random.key(recipe.seed), step)

  def one(view: jax.Array, example: jax.Array) -> View:
    key = jax.random.fold_in(jax.random.fold_in(step_key, example), view)
    return sample_view(key, size=recipe.crop_size, ranges=recipe.ranges)

  return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(jnp.arange(recipe.num_views), index)


def render_views(recipe: Recipe, stored: jax.Array, views: View) -> jax.Array:
  """(B, Hs, Hs, 3) uint8 and views (V, B) to network inputs (V, B, H, H, 3) in [0, 1]."""

  def one(image: jax.Array, view: View) -> jax.Array:
    return render_view(image, view, crop_from_stored=recipe.crop_from_stored, size=recipe.crop_size)

  return jax.vmap(jax.vmap(one), (None, 0))(stored, views)


def train_step(state: TrainState, batch: Batch, *, recipe: Recipe) -> tuple[TrainState, dict[str, jax.Array]]:
  """Two views of every image through the network, heatmaps pulled back and combined, one step of the optimiser.

  Source: Bulat et al. 2021, Sec. 3.4, Eq. 6, and Sec. 5.

  Args:
    state: the same on every device.
    batch: this device's share: `image` (B, Hs, Hs, 3) uint8, `landmarks` (B, K, 2) float32 crop px, NaN where not annotated,
      `index` (B,) int32.
    recipe: everything constant.

  Returns:
    The next state and scalars for the log, both the same on every device.
  """
  views = sample_views(recipe, state.step, batch["index"])
  images = render_views(recipe, batch["image"], views)
  target = recipe.codec.encode(batch["landmarks"])
  annotated = jnp.isfinite(batch["landmarks"]).all(-1)
  count = jnp.maximum(psum(annotated.sum(), DEVICES), 1)
  flip = jnp.asarray(recipe.flip)

  def loss_of(params: Any) -> tuple[jax.Array, Any]:
    variables = {"params": params, "batch_stats": state.batch_stats}
    together = images.reshape(-1, *images.shape[2:])  # all views in one batch: one pass, shared BatchNorm statistics
    heatmaps, updated = recipe.model.apply(variables, together, True, mutable=["batch_stats"])
    heatmaps = heatmaps.reshape(heatmaps.shape[0], *images.shape[:2], *heatmaps.shape[2:]).astype(jnp.float32)
    combined, seen = siamese.combine(heatmaps, views, stride=recipe.codec.stride, flip=flip, reduce=recipe.reduce)
    weight = seen[..., None] * annotated[:, None, None, :]
    return losses.heatmap_l2(combined, target, weight) / count, updated["batch_stats"]

  (loss, batch_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
  # Each device holds its part of one global sum, so the parts are added. BatchNorm has averaged its statistics already, but a
  # rounding apart on one device would stay apart for ever: the mean keeps the replicas bit-equal.
  # All gradients go as one vector: one message between devices, and one optimiser update in place of hundreds.
  gradient, unravel = ravel_pytree(gradients)
  loss, gradient = psum((loss, gradient), DEVICES)
  batch_stats = pmean(batch_stats, DEVICES)
  update, opt_state = recipe.tx.update(gradient, state.opt_state)
  params = optax.apply_updates(state.params, unravel(update))
  metrics = {
      "loss": loss,
      "learning_rate": jnp.asarray(recipe.schedule(state.step), jnp.float32),
      "gradient_norm": jnp.linalg.norm(gradient),
      "update_norm": jnp.linalg.norm(update),
  }
  return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def predict_step(variables: Any, images: jax.Array, *, model: FAN, codec: HeatmapCodec) -> tuple[jax.Array, jax.Array]:
  """Network and decoder on upright crops.

  Args:
    variables: `params` and `batch_stats`.
    images: (B, H, H, 3) uint8.
    model: the network.
    codec: the decoder.

  Returns:
    landmarks (B, K, 2) in crop px and scores (B, K), float32, of the last stack.
  """
  heatmaps: Any = model.apply(variables, images.astype(jnp.float32) / 255, False)
  return codec.decode(heatmaps[-1])
