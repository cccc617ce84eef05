"""Training through a soft-argmax: over the local window (Sec. 4.3), over the map with a prior."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import encode, prior_divergence, window_positions
from quick_xla import QUICKLY
from scipy.spatial import distance

from fal_jax import heads
from fal_jax.heatmap import HeatmapCodec

CELLS = 16
CODEC = HeatmapCodec(size=CELLS, sigma=1.5)
quickly = functools.partial(jax.jit, compiler_options=QUICKLY)


def random_case() -> tuple[np.ndarray, np.ndarray]:
  """Heatmaps (2, 3, 16, 16, 4), and landmarks (3, 4, 2) crop px that all lie in them."""
  rng = np.random.default_rng(0)
  heatmaps = rng.normal(size=(2, 3, CELLS, CELLS, 4)).astype(np.float32)
  return heatmaps, rng.uniform(-1, 4 * CELLS - 1.5, (3, 4, 2)).astype(np.float32)


def test_the_window_around_the_true_cell_is_read_as_eq_4_and_5_say():
  heatmaps, landmarks = random_case()

  position, target = window_positions(heatmaps, landmarks, CODEC)

  truth = (landmarks.astype(np.float64) + 0.5) / 4 - 0.5
  np.testing.assert_allclose(target, np.stack([truth] * 2), atol=1e-4)
  for s, b, k in np.ndindex(2, 3, 4):
    column, row = np.floor(truth[b, k] + 0.5).astype(int)
    cells = [
      (x, y)
      for x in range(column - 2, column + 3)
      for y in range(row - 2, row + 3)
      if 0 <= x < CELLS and 0 <= y < CELLS
    ]
    heat = np.array([heatmaps[s, b, y, x, k] for x, y in cells], np.float64)
    share = np.exp(10 * heat) / np.exp(10 * heat).sum()
    np.testing.assert_allclose(position[s, b, k], share @ np.array(cells), atol=1e-4)


def test_a_perfect_heatmap_has_next_to_no_window_loss_and_a_shifted_one_has():
  landmarks = np.random.default_rng(1).uniform(16, 48, (50, 2)).astype(np.float32)

  def distances(heatmaps: jax.Array) -> np.ndarray:
    position, target = window_positions(heatmaps[None], landmarks, CODEC)
    return np.linalg.norm(np.asarray(position) - np.asarray(target), axis=-1)

  assert distances(encode(CODEC, landmarks)).max() < 0.1
  assert distances(encode(CODEC, landmarks + np.float32([4, 0]))).min() > 0.6


def test_landmarks_outside_or_not_annotated_have_no_target_and_finite_gradients():
  heatmaps, landmarks = random_case()
  landmarks[0, 0] = np.nan
  landmarks[1, 1] = [-400, 20]
  landmarks[2, 2] = [20, 4 * CELLS + 2]

  def loss(heatmaps: jax.Array) -> jax.Array:
    position, target = heads.window_positions(heatmaps, landmarks, CODEC)
    return jnp.where(jnp.isfinite(target), position, 0).sum()

  _, target = window_positions(heatmaps, landmarks, CODEC)
  gradient = np.asarray(quickly(jax.grad(loss))(heatmaps))

  missing = np.isnan(target).all(-1)
  assert {tuple(at) for at in np.argwhere(missing[0])} == {(0, 0), (1, 1), (2, 2)}
  assert np.isfinite(gradient).all()
  assert not gradient[:, [0, 1, 2], :, :, [0, 1, 2]].any()


def test_the_prior_is_the_jensen_shannon_divergence_from_the_gaussian():
  heatmaps, landmarks = random_case()

  divergence = float(prior_divergence(heatmaps, landmarks, CODEC))

  gaussians = np.asarray(encode(CODEC, landmarks), np.float64)
  expected = 0.0
  for s, b, k in np.ndindex(2, 3, 4):
    softmax = np.exp(10 * heatmaps[s, b, ..., k].astype(np.float64)).ravel()
    # SciPy normalises both, and returns the square root.
    expected += distance.jensenshannon(softmax, gaussians[b, ..., k].ravel()) ** 2
  assert divergence == pytest.approx(expected, rel=1e-4)


def test_the_prior_asks_for_the_gaussian_alone_and_ignores_what_is_not_annotated():
  _, landmarks = random_case()
  landmarks[0, 0] = np.nan
  landmarks[1, 1] = [-400, 20]
  exact = np.log(np.asarray(encode(CODEC, landmarks)) + 1e-12)[None] / CODEC.temperature

  assert float(prior_divergence(exact, landmarks, CODEC)) < 1e-4

  # So steep that most of the softmax is exactly zero.
  gradient = quickly(jax.grad(lambda h: heads.prior_divergence(h, landmarks, CODEC)))(100 * exact)
  assert np.isfinite(gradient).all()
  assert not np.asarray(gradient)[0, 0, ..., 0].any()
