"""The heatmap loss."""

import jax


def heatmap_l2(heatmaps: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
  """Squared pixel differences, weighted, summed over everything.

  The sum over pixels keeps gradients of an order that Adam's epsilon does not see: averaged over 64 x 64 mostly empty pixels they
  would fall to 1e-8. Callers divide by the number of annotated landmarks in the global batch, which only they can know.

  Source: Bulat et al. 2021, Sec. 5 (pixel-wise l2), on every stack as in FAN.

  Args:
    heatmaps: (S, B, H, W, K) float32.
    target: (B, H, W, K) float32.
    weight: broadcastable to (B, H, W, K); zero where a landmark is not annotated or a pixel was seen by no view.

  Returns:
    Scalar, in squared heatmap units.
  """
  if heatmaps.shape[1:] != target.shape:
    raise ValueError(f"heatmaps {heatmaps.shape} and target {target.shape} must agree but for the stacks")
  return (weight * (heatmaps - target) ** 2).sum()
