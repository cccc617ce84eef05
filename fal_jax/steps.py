"""One training step and one prediction step, as pure functions of one device's share of the batch.

Nothing here knows how many devices there are: `parallel.py` maps these functions over the axis
`DEVICES`, and whatever must agree between devices is summed over it here.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fal_jax import affine, heads, losses, network, siamese
from fal_jax.augment import View, ViewRange, render_view, sample_view
from fal_jax.corruption import Corruption, corrupt_views
from fal_jax.crop import CropRule
from fal_jax.heatmap import HeatmapCodec
from fal_jax.network import Network
from fal_jax.ops.collectives import pmean, psum
from fal_jax.ops.parts import sum_over_parts

if TYPE_CHECKING:
  import optax  # the recipe brings it along: who only predicts does not wait for its import

DEVICES = "devices"

Batch = Mapping[str, jax.Array]


@flax.struct.dataclass
class TrainState:
  """All that a step changes and a checkpoint keeps.

  Attributes:
    step: () int32, optimiser steps done.
    params: the network's weights.
    batch_stats: the running statistics of its BatchNorms; empty if it has none.
    opt_state: the optimiser's state, over all parameters as one vector.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: "optax.OptState"

  @property
  def variables(self) -> dict[str, Any]:
    """What the network is applied with."""
    return {"params": self.params, "batch_stats": self.batch_stats}


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
    crop: sizes of the network's input and of the stored crops, which carry a margin around it.
    ranges: what the random views may do.
    num_views: views per image, 2 in the paper.
    reduce: how the views' heatmaps are combined.
    frame: where they are compared with the landmarks: "crop", pulled back and combined, or "view",
      each in its own, uncombined.
    corruption: what happens to the views besides.
    seed: seed of the views; the order of the images has its own in `data.py`.
    target_scale: height of the Gaussians that the combined views are held against; None for the
      height at which each view learns peaks of 1.
    view_loss: weight of each view's own heatmap loss in its own frame.
    window_loss: weight of the loss through each view's local soft-argmax.
    head: what the network gives beside heatmaps, or is trained through.
    frozen_statistics: whether BatchNorm uses its running statistics and leaves them alone, as in
      prediction, instead of those of the batch.
    accumulate: parts of a device's share of the batch that are taken one after the other.
  """

  model: Network
  codec: HeatmapCodec
  tx: "optax.GradientTransformation"
  schedule: "optax.Schedule"
  flip: tuple[int, ...]
  crop: CropRule
  ranges: ViewRange
  num_views: int
  reduce: siamese.Reduce
  seed: int
  target_scale: float | None = None
  view_loss: float = 0.0
  window_loss: float = 0.0
  frame: siamese.Frame = "crop"
  head: heads.Head = "heatmaps"
  frozen_statistics: bool = False
  corruption: Corruption = dataclasses.field(default_factory=Corruption)
  accumulate: int = 1


def init_state(key: jax.Array, recipe: Recipe) -> TrainState:
  """A fresh state, step 0."""
  image = jnp.zeros((1, recipe.crop.size, recipe.crop.size, 3))
  return first_state(recipe.model.init(key, image, False), recipe)


def first_state(variables: Any, recipe: Recipe) -> TrainState:
  """Step 0 with given `params`, and `batch_stats` if the network has them."""
  params = variables["params"]
  flat_params, _ = ravel_pytree(params)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=variables.get("batch_stats", {}),
    opt_state=recipe.tx.init(flat_params),
  )


def sample_views(recipe: Recipe, step: jax.Array, index: jax.Array) -> View:
  """The random views of one step.

  They are functions of the seed, the step and each example's own number, never of its place in the
  batch or on a device, so that a run can resume on any number of devices.

  Args:
    recipe: gives seed, ranges and crop size.
    step: () int32.
    index: (B,) int32, number of each example in its split.

  Returns:
    `View` of shape (V, B).
  """
  step_key = jax.random.fold_in(jax.random.key(recipe.seed), step)

  def one(view: jax.Array, example: jax.Array) -> View:
    key = jax.random.fold_in(jax.random.fold_in(step_key, example), view)
    return sample_view(key, size=recipe.crop.size, ranges=recipe.ranges)

  return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(jnp.arange(recipe.num_views), index)


def render_views(recipe: Recipe, stored: jax.Array, views: View) -> jax.Array:
  """Renders the network's inputs.

  Args:
    recipe: gives the crop.
    stored: (B, Hs, Hs, 3) uint8, stored crops.
    views: `View` of shape (V, B).

  Returns:
    (V, B, H, H, 3) float32 in [0, 1].
  """
  crop_from_stored = recipe.crop.crop_from_stored

  def one(image: jax.Array, view: View) -> jax.Array:
    return render_view(
      image,
      view,
      crop_from_stored=crop_from_stored,
      size=recipe.crop.size,
      colour_mode=recipe.ranges.colour_mode,
    )

  return jax.vmap(jax.vmap(one), (None, 0))(stored, views)


def landmark_loss(
  recipe: Recipe, heatmaps: jax.Array, landmarks: jax.Array, views: View
) -> jax.Array:
  """The loss of Eq. 6, or of plain training in the views' own frames, summed over landmarks.

  Deviation: Eq. 6 adds the views and names no target. We hold the sum against as many Gaussians as
  views saw the cell, so that each view learns peaks of 1. Against a single Gaussian
  (`target_scale=1`) two views would each learn 1/2, which a decoder at temperature 10 then reads at
  an effective temperature of 5.

  Args:
    recipe: says what counts.
    heatmaps: (S, V, B, H, W, K) float32, in the frames of the views.
    landmarks: (B, K, 2) float32 crop px, NaN where not annotated.
    views: `View` of shape (V, B).

  Returns:
    Scalar.
  """
  codec = recipe.codec
  flip = jnp.asarray(recipe.flip)
  in_views = siamese.landmarks_in_views(landmarks, views, flip=flip)

  if recipe.head.startswith("global_softargmax"):
    prior = recipe.head == "global_softargmax_prior"
    return heads.global_softargmax_loss(heatmaps, in_views, codec, prior=prior) / recipe.num_views

  if recipe.frame == "view":
    loss = loss_in_views(recipe, heatmaps, in_views)
  else:
    combined, seen = siamese.combine(
      heatmaps, views, stride=codec.stride, flip=flip, reduce=recipe.reduce
    )
    loss = combined_loss(recipe, combined, seen[..., None], landmarks)
    if recipe.view_loss:
      loss += recipe.view_loss * loss_in_views(recipe, heatmaps, in_views)

  if recipe.window_loss:
    position, target = heads.window_positions(heatmaps, in_views, codec)
    loss += recipe.window_loss * losses.point_l2(position, target) / recipe.num_views

  return loss


def combined_loss(
  recipe: Recipe, combined: jax.Array, seen: jax.Array, landmarks: jax.Array
) -> jax.Array:
  """The combined views against Gaussians drawn in the crop's frame.

  Args:
    recipe: gives the codec and the height of the Gaussians.
    combined: (S, B, H, W, K) float32, from `siamese.combine`.
    seen: (B, H, W, 1) float32, how many views saw each cell.
    landmarks: (B, K, 2) float32 crop px, NaN where not annotated.

  Returns:
    Scalar, summed over landmarks.
  """
  annotated = jnp.isfinite(landmarks).all(-1)[:, None, None, :]
  target = recipe.codec.encode(landmarks)
  if recipe.target_scale is not None:
    target = recipe.target_scale * target
  elif recipe.reduce == "sum":
    target = seen * target
  return losses.heatmap_l2(combined, target, jnp.minimum(seen, 1) * annotated)


def loss_in_views(recipe: Recipe, heatmaps: jax.Array, in_views: jax.Array) -> jax.Array:
  """Each view's heatmaps against Gaussians drawn in that view: no warp, no mask, no other view.

  Source: FAN, hence the paper's baseline and all of its rows without Sec. 3.4.
  Deviation: Eq. 2 rounds in the view. FAN's Lua code rounds first and moves the heatmap along with
  the image.

  Args:
    recipe: gives codec and number of views.
    heatmaps: (S, V, B, H, W, K) float32, in the frames of the views.
    in_views: (V, B, K, 2) float32, px of each view, NaN where not annotated.

  Returns:
    Scalar, summed over landmarks and averaged over views.
  """
  annotated = jnp.isfinite(in_views).all(-1)[..., None, None, :]
  target = recipe.codec.encode(in_views)
  return losses.heatmap_l2(heatmaps, target, annotated) / recipe.num_views


def correction_loss(
  recipe: Recipe, displacement: jax.Array, heatmaps: jax.Array, landmarks: jax.Array, views: View
) -> jax.Array:
  """Squared error of the learnt displacements, summed over landmarks, averaged over views.

  Source: Bulat et al. 2021, Sec. 4.1, "trained jointly using an l2 loss". Ours, since it is not
  stated: the unit, heatmap px; a weight of 1 beside the heatmaps' loss; the last stack alone.

  Args:
    recipe: its head says what the displacement is held against.
    displacement: (V, B, K, 2) float32, heatmap px.
    heatmaps: (V, B, H, W, K) float32 of the last stack.
    landmarks: (B, K, 2) float32 crop px, NaN where not annotated.
    views: `View` of shape (V, B).

  Returns:
    Scalar, heatmap px squared.
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
  """One optimiser step on all views of every image, their heatmaps pulled back and combined.

  Source: Bulat et al. 2021, Sec. 3.4, Eq. 6, and Sec. 5.1.

  Args:
    state: the same on every device.
    batch: this device's share: `image` (B, Hs, Hs, 3) uint8, `landmarks` (B, K, 2) float32 crop px,
      NaN where not annotated, `index` (B,) int32.
    recipe: everything constant.

  Returns:
    The next state and scalars for the log, both the same on every device.
  """
  annotated = jnp.isfinite(batch["landmarks"]).all(-1)
  num_annotated = jnp.maximum(psum(annotated.sum(), DEVICES), 1)

  loss, batch_stats, gradients = sum_over_parts(
    lambda part: loss_and_gradients(recipe, state, part, num_annotated), batch, recipe.accumulate
  )

  # Each device holds its part of one global sum, so the parts are added. All gradients go as one
  # vector: one message between devices, and one optimiser update in place of hundreds.
  gradient, unravel = ravel_pytree(gradients)
  loss, gradient = psum((loss, gradient), DEVICES)

  # Statistics are averaged even if the network has done so already: replicas that differ by a
  # rounding error would never re-converge; the mean keeps them bit-equal.
  # Frozen ones are equal already, and a mean of eight equal numbers may be another.
  if recipe.frozen_statistics:
    batch_stats = state.batch_stats
  else:
    statistics, unravel_statistics = ravel_pytree(batch_stats)
    batch_stats = unravel_statistics(pmean(statistics / recipe.accumulate, DEVICES))

  update, opt_state = jax.named_scope("optimiser")(recipe.tx.update)(gradient, state.opt_state)
  params = jax.tree.map(jnp.add, state.params, unravel(update))

  metrics = {
    "loss": loss,
    "learning_rate": jnp.asarray(recipe.schedule(state.step), jnp.float32),
    "gradient_norm": jnp.linalg.norm(gradient),
    "update_norm": jnp.linalg.norm(update),
  }
  return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def loss_and_gradients(
  recipe: Recipe, state: TrainState, batch: Batch, num_annotated: jax.Array
) -> tuple[jax.Array, Any, Any]:
  """One pass over some of the images, whose BatchNorm statistics are of these alone.

  Args:
    recipe: everything constant.
    state: before the step.
    batch: arrays (B, ...), as in `train_step`.
    num_annotated: () int32, landmarks of the batches of all passes and devices together.

  Returns:
    The part () of the loss that is theirs, the running statistics with theirs added, and the
    gradient of the loss by the parameters, as a tree of those.
  """
  views = sample_views(recipe, state.step, batch["index"])
  images = render_views(recipe, batch["image"], views)
  if not recipe.corruption.is_none:
    # Another stream than that of the views.
    key = jax.random.fold_in(jax.random.key(recipe.seed + 1), state.step)
    in_views = affine.apply(views.view_from_crop, batch["landmarks"])
    images = corrupt_views(key, images, in_views, batch["index"], amounts=recipe.corruption)
  views_and_images = images.shape[:2]

  def loss_of(params: Any) -> tuple[jax.Array, Any]:
    # All views go through the network as one batch: one pass, shared BatchNorm statistics.
    flat_images = images.reshape(-1, *images.shape[2:])
    variables = {"params": params, "batch_stats": state.batch_stats}
    if recipe.frozen_statistics:
      output, batch_stats = network.predict(recipe.model, variables, flat_images), state.batch_stats
    else:
      output, batch_stats = network.train(recipe.model, variables, flat_images)

    stacks, _, *rest = output.heatmaps.shape
    heatmaps = output.heatmaps.reshape(stacks, *views_and_images, *rest).astype(jnp.float32)
    loss = landmark_loss(recipe, heatmaps, batch["landmarks"], views)

    if output.displacement is not None:
      displacement = output.displacement.reshape(*views_and_images, *output.displacement.shape[1:])
      loss += correction_loss(recipe, displacement, heatmaps[-1], batch["landmarks"], views)

    return loss / num_annotated, batch_stats

  (loss, batch_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
  return loss, batch_stats, gradients


def predict_step(
  variables: Any, images: jax.Array, *, model: Network, codec: HeatmapCodec
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Network and decoder on upright crops.

  Args:
    variables: `params` and `batch_stats`.
    images: (B, H, H, 3) uint8, or float32 in [0, 1] as `render_views` makes them.
    model: the network.
    codec: the decoder.

  Returns:
    Of the last stack, float32: landmarks (B, K, 2) in crop px, scores (B, K), and covariance
    (B, K, 2, 2) in crop px squared, see `HeatmapCodec.decode_with_covariance`.
  """
  if images.dtype == jnp.uint8:
    images = images.astype(jnp.float32) / 255
  output = network.predict(model, variables, images)
  landmarks, scores, covariance = codec.decode_with_covariance(output.heatmaps[-1])
  if output.displacement is not None:
    landmarks = landmarks + codec.stride * output.displacement
  return landmarks, scores, covariance
