"""The losses against their closed forms."""

import jax
import numpy as np
import pytest

from fal_jax import losses


def heatmaps_and_target(*, stacks: int = 3) -> tuple[np.ndarray, np.ndarray]:
  """(stacks, 2, 4, 5, 3) and (2, 4, 5, 3) float32."""
  rng = np.random.default_rng(0)
  heatmaps = rng.normal(size=(stacks, 2, 4, 5, 3)).astype(np.float32)
  target = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
  return heatmaps, target


def test_the_loss_is_the_weighted_sum_of_squared_differences_over_all_stacks():
  heatmaps, target = heatmaps_and_target()
  weight = np.random.default_rng(1).uniform(size=target.shape).astype(np.float32)

  expected = sum(
    (weight[b] * (stack[b] - target[b]) ** 2).sum() for stack in heatmaps for b in range(2)
  )
  np.testing.assert_allclose(losses.heatmap_l2(heatmaps, target, weight), expected, rtol=1e-5)


def test_every_stack_is_compared_with_the_same_target():
  _, target = heatmaps_and_target()

  perfect = np.broadcast_to(target, (3, *target.shape))
  assert losses.heatmap_l2(perfect, target, np.ones_like(target)) == 0

  off = perfect.copy()
  off[1, 0, 2, 3, 1] += 2
  np.testing.assert_allclose(losses.heatmap_l2(off, target, np.ones_like(target)), 4, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 1, 3), (2, 4, 5, 1), (1, 1, 1, 1), ()])
def test_weights_broadcast_over_pixels_and_over_landmarks(shape):
  heatmaps, target = heatmaps_and_target()
  weight = np.random.default_rng(2).uniform(size=shape).astype(np.float32)

  loss = losses.heatmap_l2(heatmaps, target, weight)

  full = np.broadcast_to(weight, target.shape)
  np.testing.assert_allclose(loss, losses.heatmap_l2(heatmaps, target, full), rtol=1e-5)


def test_the_gradient_is_twice_the_difference_and_zero_where_the_weight_is():
  heatmaps, target = heatmaps_and_target()
  weight = np.ones_like(target)
  weight[0, :, :, 1] = 0

  gradient = jax.grad(losses.heatmap_l2)(heatmaps, target, weight)

  np.testing.assert_allclose(gradient, 2 * weight * (heatmaps - target), rtol=1e-5)
  assert not np.asarray(gradient)[:, 0, :, :, 1].any()


def test_heatmaps_and_target_of_other_sizes_are_refused_rather_than_broadcast():
  heatmaps, target = heatmaps_and_target()
  with pytest.raises(ValueError, match="must agree"):
    losses.heatmap_l2(heatmaps, target[..., :1], np.float32(1))


def test_the_loss_of_points_is_their_squared_distance_from_annotated_targets():
  rng = np.random.default_rng(3)
  points, target = rng.normal(size=(2, 4, 5, 2)).astype(np.float32)
  target[1, 2, 0] = np.nan

  known = np.ones((4, 5), bool)
  known[1, 2] = False
  expected = ((points - target)[known] ** 2).sum()
  np.testing.assert_allclose(losses.point_l2(points, target), expected, rtol=1e-5)
  gradient = jax.grad(losses.point_l2)(points, target)
  assert not np.asarray(gradient)[1, 2].any()


def test_points_and_targets_of_other_numbers_are_refused_rather_than_broadcast():
  with pytest.raises(ValueError, match="must agree"):
    losses.point_l2(np.zeros((4, 5, 2)), np.zeros((4, 1, 2)))
