"""One training step and one evaluation step, as pure functions of one device's share of the batch.

Nothing here knows how many devices there are: `train.py` maps these functions over the axis
`DEVICES`, and whatever must agree between devices is summed over it here.
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

from fal_jax import affine, heads, losses, peaks, siamese
from fal_jax.augment import View, ViewRange, render_view, sample_view
from fal_jax.heads import CorrectedFAN
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN
from fal_jax.ops.collectives import pmean, psum

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
    model: the network; its `axis_name` is `DEVICES`, so that BatchNorm sees the global batch, or
      None for each device's share.
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
    target_scale: of the heatmaps that the combined views are held against.
    view_loss: weight of each view's own heatmap loss in its own frame.
    head: what the network gives beside heatmaps, or is trained through.
  """

  model: FAN | CorrectedFAN
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
  target_scale: float = 1.0
  view_loss: float = 0.0
  head: heads.Head = "heatmaps"

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
  return TrainState(
    jnp.zeros((), jnp.int32),
    params,
    variables["batch_stats"],
    recipe.tx.init(ravel_pytree(params)[0]),
  )


def sample_views(recipe: Recipe, step: jax.Array, index: jax.Array) -> View:
  """The views of this step, shape (V, B): functions of the seed, the step and each example's own
  number, never of its place in the batch or on a device, so that a run can go on with any number of
  devices.

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


def landmark_loss(
  recipe: Recipe, heatmaps: jax.Array, landmarks: jax.Array, views: View
) -> jax.Array:
  """The loss of Eq. 6 and what a config may put beside it or in its place, summed over landmarks.

  Args:
    recipe: says what counts.
    heatmaps: (S, V, B, H, W, K) float32, in the frames of the views.
    landmarks: (B, K, 2) float32 crop px, NaN where not annotated.
    views: `View` of shape (V, B).

  Returns:
    Scalar.
  """
  codec, flip = recipe.codec, jnp.asarray(recipe.flip)
  in_views = siamese.landmarks_in_views(landmarks, views, flip=flip)
  if (
    recipe.head == "global_softargmax"
  ):  # the heatmaps are free to be what they like, only their mean position counts
    position = peaks.softmax_mean(heatmaps, codec.temperature) + (codec.size - 1) / 2
    target = affine.apply(affine.shrink(codec.stride), in_views)
    return losses.point_l2(position, jnp.broadcast_to(target, position.shape)) / recipe.num_views
  annotated = jnp.isfinite(landmarks).all(-1)[:, None, None, :]
  combined, seen = siamese.combine(
    heatmaps, views, stride=codec.stride, flip=flip, reduce=recipe.reduce
  )
  loss = losses.heatmap_l2(
    combined, recipe.target_scale * codec.encode(landmarks), seen[..., None] * annotated
  )
  if recipe.view_loss:
    own = losses.heatmap_l2(
      heatmaps, codec.encode(in_views), jnp.isfinite(in_views).all(-1)[..., None, None, :]
    )
    loss += recipe.view_loss * own / recipe.num_views
  return loss


def correction_loss(
  recipe: Recipe, displacement: jax.Array, heatmaps: jax.Array, landmarks: jax.Array, views: View
) -> jax.Array:
  """Squared error of the learnt displacements, heatmap px, summed over landmarks and averaged over
  views.

  Args:
    recipe: its head says what the displacement is held against.
    displacement: (V, B, K, 2) float32, heatmap px.
    heatmaps: (V, B, H, W, K) float32 of the last stack.
    landmarks: (B, K, 2) float32 crop px, NaN where not annotated.
    views: `View` of shape (V, B).

  Returns:
    Scalar.
  """
  in_views = siamese.landmarks_in_views(landmarks, views, flip=jnp.asarray(recipe.flip))
  if recipe.head == "correction_static":
    target = heads.static_target(in_views, recipe.codec)
  else:
    target = heads.dynamic_target(in_views, heatmaps, recipe.codec)
  return losses.point_l2(displacement, target) / recipe.num_views


def train_step(
  state: TrainState, batch: Batch, *, recipe: Recipe
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Two views of every image through the network, heatmaps pulled back and combined, one step of
  the optimiser.

  Source: Bulat et al. 2021, Sec. 3.4, Eq. 6, and Sec. 5.

  Args:
    state: the same on every device.
    batch: this device's share: `image` (B, Hs, Hs, 3) uint8, `landmarks` (B, K, 2) float32 crop px,
      NaN where not annotated, `index` (B,) int32.
    recipe: everything constant.

  Returns:
    The next state and scalars for the log, both the same on every device.
  """
  views = sample_views(recipe, state.step, batch["index"])
  images = render_views(recipe, batch["image"], views)
  annotated = jnp.isfinite(batch["landmarks"]).all(-1)
  count = jnp.maximum(psum(annotated.sum(), DEVICES), 1)

  def loss_of(params: Any) -> tuple[jax.Array, Any]:
    variables = {"params": params, "batch_stats": state.batch_stats}
    together = images.reshape(
      -1, *images.shape[2:]
    )  # all views in one batch: one pass, shared BatchNorm statistics
    outputs, updated = recipe.model.apply(variables, together, True, mutable=["batch_stats"])
    heatmaps, displacement = outputs if isinstance(recipe.model, CorrectedFAN) else (outputs, None)
    heatmaps = heatmaps.reshape(heatmaps.shape[0], *images.shape[:2], *heatmaps.shape[2:]).astype(
      jnp.float32
    )
    loss = landmark_loss(recipe, heatmaps, batch["landmarks"], views)
    if displacement is not None:
      displacement = displacement.reshape(*images.shape[:2], *displacement.shape[1:])
      loss += correction_loss(recipe, displacement, heatmaps[-1], batch["landmarks"], views)
    return loss / count, updated["batch_stats"]

  (loss, batch_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
  # Each device holds its part of one global sum, so the parts are added. BatchNorm's statistics are
  # averaged here, even if they were in the network already: a rounding apart on one device would
  # stay apart for ever, the mean keeps the replicas bit-equal. All gradients go as one vector: one
  # message between devices, and one optimiser update in place of hundreds. So do statistics.
  gradient, unravel = ravel_pytree(gradients)
  loss, gradient = psum((loss, gradient), DEVICES)
  statistics, unravel_statistics = ravel_pytree(batch_stats)
  batch_stats = unravel_statistics(pmean(statistics, DEVICES))
  update, opt_state = recipe.tx.update(gradient, state.opt_state)
  params = optax.apply_updates(state.params, unravel(update))
  metrics = {
    "loss": loss,
    "learning_rate": jnp.asarray(recipe.schedule(state.step), jnp.float32),
    "gradient_norm": jnp.linalg.norm(gradient),
    "update_norm": jnp.linalg.norm(update),
  }
  return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def predict_step(
  variables: Any, images: jax.Array, *, model: FAN | CorrectedFAN, codec: HeatmapCodec
) -> tuple[jax.Array, jax.Array]:
  """Network and decoder on upright crops.

  Args:
    variables: `params` and `batch_stats`.
    images: (B, H, H, 3) uint8.
    model: the network.
    codec: the decoder.

  Returns:
    landmarks (B, K, 2) in crop px and scores (B, K), float32, of the last stack.
  """
  outputs: Any = model.apply(variables, images.astype(jnp.float32) / 255, False)
  if not isinstance(model, CorrectedFAN):
    return codec.decode(outputs[-1])
  heatmaps, displacement = outputs
  landmarks, scores = codec.decode(heatmaps[-1])
  return landmarks + codec.stride * displacement, scores
