"""The heatmap loss against its closed form."""

import jax
import numpy as np
import pytest

from fal_jax import losses


def heatmaps_and_target(*, stacks: int = 3) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  return rng.normal(size=(stacks, 2, 4, 5, 3)).astype(np.float32), rng.normal(
    size=(2, 4, 5, 3)
  ).astype(np.float32)


def test_the_loss_is_the_weighted_sum_of_squared_differences_over_all_stacks():
  heatmaps, target = heatmaps_and_target()
  weight = np.random.default_rng(1).uniform(size=target.shape).astype(np.float32)
  expected = sum(
    (weight[b] * (stack[b] - target[b]) ** 2).sum() for stack in heatmaps for b in range(2)
  )
  np.testing.assert_allclose(losses.heatmap_l2(heatmaps, target, weight), expected, rtol=1e-5)


def test_every_stack_is_held_against_the_same_target():
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
  full = np.broadcast_to(weight, target.shape)
  np.testing.assert_allclose(
    losses.heatmap_l2(heatmaps, target, weight),
    losses.heatmap_l2(heatmaps, target, full),
    rtol=1e-5,
  )


def test_where_the_weight_is_zero_there_is_no_gradient_and_elsewhere_it_is_twice_the_difference():
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
