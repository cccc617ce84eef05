"""Siamese consistency (Sec. 3.4): heatmaps of several views in one frame, combined."""

import functools
import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from fal_jax import affine
from fal_jax.augment import View
from fal_jax.errors import InputError
from fal_jax.ops.no_fusion import materialize_on_cpu

Reduce = Literal["sum", "mean"]
Frame = Literal["crop", "view"]  # that heatmaps are compared with the landmarks in


def check_reduce(reduce: str) -> None:
  """Checks that `reduce` names a way to combine views.

  Raises:
    InputError: it does not; the message lists those there are.
  """
  if reduce not in get_args(Reduce):
    raise InputError(f"siamese.reduce is {reduce!r}; choose one of {', '.join(get_args(Reduce))}.")


def check(
  *,
  num_views: int,
  frame: str,
  reduce: str,
  target_scale: float | None,
  view_loss: float,
  window_loss: float,
) -> None:
  """Checks `config.siamese`.

  Raises:
    InputError: one of its keys is unknown or out of range, or two contradict each other.
  """
  if num_views < 1:
    raise InputError(f"config.siamese.num_views must be positive and finite, got {num_views}.")
  check_reduce(reduce)
  if frame not in get_args(Frame):
    raise InputError(
      f"config.siamese.frame is {frame!r}; choose one of {', '.join(get_args(Frame))}."
    )
  for name, weight in (("view_loss", view_loss), ("window_loss", window_loss)):
    if not 0 <= weight < math.inf:
      raise InputError(f"config.siamese.{name} must be 0 or more, got {weight}.")
  if target_scale is not None and not 0 < target_scale < math.inf:
    raise InputError(
      f"config.siamese.target_scale must be positive and finite, or None, got {target_scale}."
    )
  if view_loss and frame == "view":
    raise InputError(
      "config.siamese.frame=view has no other loss than that of the views: "
      "set --config.siamese.view_loss=0."
    )


def pull_back(
  heatmaps: jax.Array, view: View, *, stride: float, flip: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """T^-1 of Eq. 6: brings one view's heatmaps into the frame of the crop.

  The mirror is undone in space, as part of the affine map, and in the channels, since the left
  eye's channel of a mirrored view lies on the right eye.

  Args:
    heatmaps: (H, W, K) float32 of one view.
    view: the one `View` they belong to.
    stride: crop px per heatmap px.
    flip: (K,) int, the landmark that each becomes in a mirror.

  Returns:
    heatmaps: (H, W, K) float32 in the crop's frame, zero where the view did not look.
    validity: (H, W) float32 in [0, 1], the fraction of each cell that the view saw: the map of ones
      under the same warp.
  """
  size = heatmaps.shape[0], heatmaps.shape[1]
  crop_from_view = affine.invert(affine.at_stride(view.view_from_crop, stride))  # heatmap px
  heatmaps = jnp.where(view.mirrored, _swap_left_right(heatmaps, flip), heatmaps)
  validity = affine.warp(jnp.ones((*size, 1)), crop_from_view, size)[..., 0]

  warp = materialize_on_cpu(functools.partial(affine.warp, size=size))
  return warp(heatmaps, crop_from_view), validity


@jax.custom_vjp
def _swap_left_right(heatmaps: jax.Array, flip: jax.Array) -> jax.Array:
  """`heatmaps[..., flip]`, (..., K), with a gradient that gathers too.

  JAX would scatter it, since it cannot know that no channel is read twice.
  """
  return heatmaps[..., flip]


def _swap_forward(heatmaps: jax.Array, flip: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The result (..., K), and the permutation (K,) as residual."""
  return heatmaps[..., flip], flip


def _swap_backward(flip: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, None]:
  """Cotangent of the heatmaps, (..., K)."""
  return cotangent[..., jnp.argsort(flip)], None


_swap_left_right.defvjp(_swap_forward, _swap_backward)


def landmarks_in_views(landmarks: jax.Array, views: View, *, flip: jax.Array) -> jax.Array:
  """Where each view shows the landmarks, each under the name it has there.

  Args:
    landmarks: (B, K, 2) float32, crop px; NaN stays NaN.
    views: `View` of shape (V, B).
    flip: (K,) int, the landmark that each becomes in a mirror.

  Returns:
    (V, B, K, 2) float32, px of each view.
  """
  moved = affine.apply(views.view_from_crop, landmarks)
  return jnp.where(views.mirrored[..., None, None], moved[..., flip, :], moved)


@jax.named_scope("combine")
def combine(
  heatmaps: jax.Array, views: View, *, stride: float, flip: jax.Array, reduce: Reduce
) -> tuple[jax.Array, jax.Array]:
  """Merges the heatmaps of all views of each image in the crop's frame.

  Source: Bulat et al. 2021, Eq. 6, which adds them; "mean" is ours.

  Args:
    heatmaps: (S, V, B, H, W, K) float32, in the frames of the views.
    views: `View` of shape (V, B).
    stride: crop px per heatmap px.
    flip: (K,) int, the landmark that each becomes in a mirror.
    reduce: "sum", or "mean" over the views that saw a cell.

  Returns:
    heatmaps: (S, B, H, W, K) float32 in the crop's frame.
    seen: (B, H, W) float32 in [0, V], how many views saw each cell; the loss must ignore those that
      none saw.

  Raises:
    InputError: no such way to combine.
  """
  check_reduce(reduce)

  def pull_back_one(heatmaps: jax.Array, view: View) -> tuple[jax.Array, jax.Array]:
    return pull_back(heatmaps, view, stride=stride, flip=flip)

  # Each stack has its own copy of the maps: if they shared one, the stacks would become channels of
  # one warp, in an order of axes that everything else would have to be copied to.
  stacks = heatmaps.shape[0]
  views_per_stack = jax.tree.map(
    lambda array: jnp.broadcast_to(array, (stacks, *array.shape)), views
  )
  pulled, validity = jax.vmap(jax.vmap(jax.vmap(pull_back_one)))(heatmaps, views_per_stack)

  # One view at a time: XLA's CPU kernels are ten times slower at summing over an outer axis.
  total = functools.reduce(jnp.add, (pulled[:, view] for view in range(pulled.shape[1])))
  seen = validity[0].sum(0)
  if reduce == "mean":
    total = total / jnp.maximum(seen, 1e-6)[None, ..., None]

  return total, seen
