"""Siamese consistency: heatmaps of two views, pulled back to the common frame and combined (Sec.
3.4).
"""

import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from fal_jax import affine
from fal_jax.augment import View
from fal_jax.errors import InputError
from fal_jax.ops.no_fusion import materialize_on_cpu

Reduce = Literal["mean", "sum"]


def check_reduce(reduce: str) -> None:
  """Raises InputError unless `reduce` names a way to combine views."""
  if reduce not in get_args(Reduce):
    raise InputError(f"siamese.reduce is {reduce!r}; choose one of {', '.join(get_args(Reduce))}.")


def pull_back(
  heatmaps: jax.Array, view: View, *, stride: float, flip: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """T^-1 of Eq. 6: brings one view's heatmaps into the frame of the crop.

  The mirror is undone twice over: in space, as part of the affine map, and in the channels, since
  the left eye's channel of a mirrored view lies on the right eye.

  Args:
    heatmaps: (H, W, K) float32 of one view.
    view: the one `View` they belong to.
    stride: crop px per heatmap px.
    flip: (K,) int, the landmark that each becomes in a mirror.

  Returns:
    heatmaps: (H, W, K) in the crop's frame, zero where the view did not look.
    validity: (H, W) in [0, 1], the share of each cell that the view saw: the map of ones under the
      same warp.
  """
  size = heatmaps.shape[0], heatmaps.shape[1]
  crop_from_view = affine.invert(affine.at_stride(view.view_from_crop, stride))  # heatmap px
  heatmaps = jnp.where(view.mirrored, _swap_left_right(heatmaps, flip), heatmaps)
  validity = affine.warp(jnp.ones((*size, 1)), crop_from_view, size)[..., 0]
  warped = materialize_on_cpu(functools.partial(affine.warp, size=size))(heatmaps, crop_from_view)
  return warped, validity


@jax.custom_vjp
def _swap_left_right(heatmaps: jax.Array, flip: jax.Array) -> jax.Array:
  """`heatmaps[..., flip]`, whose gradient exchanges back; JAX, which cannot know that no channel
  comes twice, would scatter.
  """
  return heatmaps[..., flip]


_swap_left_right.defvjp(
  lambda heatmaps, flip: (heatmaps[..., flip], flip),
  lambda flip, cotangent: (cotangent[..., jnp.argsort(flip)], None),
)


def landmarks_in_views(landmarks: jax.Array, views: View, *, flip: jax.Array) -> jax.Array:
  """Where each view shows the landmarks, and under the names they have there.

  Args:
    landmarks: (B, K, 2) float32, crop px; NaN stays NaN.
    views: `View` of shape (V, B).
    flip: (K,) int, the landmark that each becomes in a mirror.

  Returns:
    (V, B, K, 2) float32, px of each view.
  """
  seen = affine.apply(views.view_from_crop, landmarks)
  return jnp.where(views.mirrored[..., None, None], seen[..., flip, :], seen)


def combine(
  heatmaps: jax.Array, views: View, *, stride: float, flip: jax.Array, reduce: Reduce
) -> tuple[jax.Array, jax.Array]:
  """Merges the heatmaps of all views of each image in the crop's frame.

  Source: Bulat et al. 2021, Eq. 6.
  Deviation: "mean" divides the sum by the share of views that saw each cell. The paper's plain
  "sum", held against a target of peak 1, teaches each view a peak of 1/2, which a decoder at
  temperature 10 then reads at an effective temperature of 5.

  Args:
    heatmaps: (S, V, B, H, W, K) float32, in the frames of the views.
    views: `View` of shape (V, B).
    stride: crop px per heatmap px.
    flip: (K,) int, the landmark that each becomes in a mirror.
    reduce: "mean" over the views that saw a cell, or "sum".

  Returns:
    heatmaps: (S, B, H, W, K) in the crop's frame.
    weight: (B, H, W) in [0, 1], zero where no view looked; the loss must not ask for anything
      there.
  """
  check_reduce(reduce)

  def one(heatmaps: jax.Array, view: View) -> tuple[jax.Array, jax.Array]:
    return pull_back(heatmaps, view, stride=stride, flip=flip)

  # Each stack has its own copy of the maps: shared ones would make the stacks channels of the same
  # warp, in an order of axes that everything else would have to be copied to.
  views_per_stack = jax.tree.map(
    lambda array: jnp.broadcast_to(array, (heatmaps.shape[0], *array.shape)), views
  )
  pulled, validity = jax.vmap(jax.vmap(jax.vmap(one)))(heatmaps, views_per_stack)
  # Views one by one: XLA's CPU kernels for a sum over an outer axis of large arrays are ten times
  # slower.
  total, seen = (
    functools.reduce(jnp.add, (pulled[:, view] for view in range(pulled.shape[1]))),
    validity[0].sum(0),
  )
  if reduce == "mean":
    total = total / jnp.maximum(seen, 1e-6)[None, ..., None]
  return total, jnp.minimum(seen, 1)
