"""Squared errors of heatmaps and of points."""

import jax
import jax.numpy as jnp


@jax.named_scope("loss")
def heatmap_l2(heatmaps: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
  """Squared pixel differences, weighted, summed over everything.

  Summing over pixels keeps the gradients well above Adam's epsilon: averaged over 64 x 64 mostly
  empty pixels they would fall to 1e-8. Callers divide by the number of annotated landmarks in the
  global batch, which only they can know.

  Source: Bulat et al. 2021, Sec. 5.1 (pixel-wise l2), on every stack as in FAN.

  Args:
    heatmaps: (S, ..., H, W, K) float32.
    target: (..., H, W, K) float32.
    weight: broadcastable to (..., H, W, K) float32; zero where a landmark is not annotated or no
      view saw a pixel.

  Returns:
    Scalar () float32, in squared heatmap units.

  Raises:
    ValueError: the shapes of heatmaps and target differ in more than the stacks.
  """
  if heatmaps.shape[1:] != target.shape:
    raise ValueError(
      f"heatmaps {heatmaps.shape} and target {target.shape} must agree except for the stacks"
    )

  # One target and one weight for all stacks.
  weight = jax.lax.broadcast_to_rank(weight, heatmaps.ndim)
  return (weight * (heatmaps - target[None]) ** 2).sum()


@jax.named_scope("loss")
def point_l2(points: jax.Array, target: jax.Array) -> jax.Array:
  """Squared distances, summed over all landmarks that have a target.

  Args:
    points: (..., K, 2) float32.
    target: (..., K, 2) float32, same px; not finite where a landmark is not annotated.

  Returns:
    Scalar () float32, in squared units of the points.

  Raises:
    ValueError: the two shapes differ.
  """
  if points.shape != target.shape:
    raise ValueError(f"points {points.shape} and target {target.shape} must agree")

  known = jnp.isfinite(target).all(-1, keepdims=True)
  difference = points - jnp.where(known, target, 0)
  return (jnp.where(known, difference, 0) ** 2).sum()
