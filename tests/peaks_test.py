"""Decoders beyond the paper's: exact where theory says so, and better on imperfect heatmaps."""

import functools

import jax
import numpy as np
import pytest
from compiled import decode, decode_with_covariance
from scipy import ndimage
from scipy.optimize import fsolve

from fal_jax import affine, peaks
from fal_jax.heatmap import HeatmapCodec

SIZE = 16


def gaussians(points: np.ndarray, *, sigma: float, height: float = 1.0) -> np.ndarray:
  """(SIZE, SIZE, N) float32, one Gaussian at each (N, 2) point in heatmap px."""
  cells = np.arange(SIZE)[:, None]
  x, y = (np.exp(-0.5 * ((cells - points[:, axis]) / sigma) ** 2) for axis in (0, 1))
  return (height * y[:, None] * x[None]).astype(np.float32)


def error(
  heatmaps: np.ndarray, points: np.ndarray, *, decoding: str, sigma: float, window: int = 5
) -> np.ndarray:
  """(N,) distances between points and what is read, heatmap px."""
  codec = HeatmapCodec(size=SIZE, stride=1, sigma=sigma, decoding=decoding, window=window)
  landmarks, _ = decode(codec, heatmaps)
  return np.linalg.norm(np.asarray(landmarks) - points, axis=-1)


def interior(count: int, seed: int = 0) -> np.ndarray:
  """(count, 2) points in heatmap px whose windows lie within the map."""
  return np.random.default_rng(seed).uniform(4, SIZE - 5, (count, 2))


@pytest.mark.slow
@pytest.mark.parametrize("window", [3, 5, 7])
@pytest.mark.parametrize("sigma", [1, 1.5, 2, 3])
@pytest.mark.parametrize("height", [1, 0.3])
def test_the_calibrated_decoder_is_exact_on_perfect_heatmaps_of_any_height(sigma, height, window):
  points = interior(2000)
  heatmaps = gaussians(points, sigma=sigma, height=height)

  calibrated = error(heatmaps, points, decoding="calibrated", sigma=sigma, window=window)
  softargmax = error(heatmaps, points, decoding="local_softargmax", sigma=sigma, window=window)

  assert calibrated.max() < 1e-4
  assert softargmax.mean() > 3e-3


@pytest.mark.parametrize("decoding", ["calibrated", "dark"])
def test_a_peak_of_another_width_is_read_exactly_too(decoding):
  points = interior(2000)
  for relative_width in (0.8, 1.2):
    heatmaps = gaussians(points, sigma=1.5 * relative_width)
    assert error(heatmaps, points, decoding=decoding, sigma=1.5).max() < 1e-3


def test_dark_is_exact_on_perfect_heatmaps():
  points = interior(2000)
  for sigma in (1, 1.5, 2, 3):
    heatmaps = gaussians(points, sigma=sigma, height=0.5)
    assert error(heatmaps, points, decoding="dark", sigma=sigma).max() < 1e-3


@functools.cache
def noise_of(kind: str) -> tuple[np.ndarray, np.ndarray]:
  """(2000, 2) points in heatmap px, and noise (SIZE, SIZE, 2000) of deviation 1 for their maps.

  It is white, or as smooth as the errors of a convolutional network.
  """
  rng = np.random.default_rng(1)
  points = rng.uniform(4, SIZE - 5, (2000, 2))
  grain = rng.normal(size=(SIZE, SIZE, len(points)))
  if kind == "blurred":
    grain = ndimage.gaussian_filter(grain, (1, 1, 0))
    grain /= grain.std()
  return points, grain


@pytest.mark.parametrize("noise", [0.02, 0.1])
@pytest.mark.parametrize("kind", ["white", "blurred"])
@pytest.mark.parametrize("relative_width", [0.9, 1, 1.15])
@pytest.mark.parametrize("height", [1, 0.6, 0.3])
@pytest.mark.parametrize(
  "sigma", [1.5, *(pytest.param(sigma, marks=pytest.mark.slow) for sigma in (1, 2, 3))]
)
def test_the_calibrated_decoder_is_nowhere_worse_than_the_local_softargmax(
  sigma, height, relative_width, kind, noise
):
  """Noise as a fraction of the peak's height."""
  points, grain = noise_of(kind)
  clean = gaussians(points, sigma=sigma * relative_width, height=height)
  heatmaps = clean + (noise * height * grain).astype(np.float32)

  calibrated, softargmax = (
    error(heatmaps, points, decoding=decoding, sigma=sigma).mean()
    for decoding in ("calibrated", "local_softargmax")
  )

  # One percent: the most that blurred noise of a tenth of the peak was seen to cost.
  assert calibrated < 1.015 * softargmax


def test_at_the_border_the_calibrated_decoder_has_no_bias_even_for_points_outside():
  rng = np.random.default_rng(0)
  points = np.stack([rng.uniform(-1, 2, 1000), rng.uniform(-1, SIZE, 1000)], -1)
  heatmaps = gaussians(points, sigma=1.5)

  calibrated = error(heatmaps, points, decoding="calibrated", sigma=1.5)
  softargmax = error(heatmaps, points, decoding="local_softargmax", sigma=1.5)

  assert calibrated.max() < 1e-3
  outside = points[:, 0] < -0.5
  assert softargmax[outside].mean() > 0.5


def test_the_fit_solves_its_equations_on_noisy_windows():
  """NumPy in float64: no small move of the centre explains the weighted residual any better.

  Height and width are fitted too.
  """
  rng = np.random.default_rng(0)
  offsets = np.arange(5) - 2.0
  truth = rng.uniform(-0.4, 0.4, (50, 2))
  x, y = (offsets[:, None] - truth[:, axis] for axis in (0, 1))
  clean = np.exp(-0.5 * (y[:, None] ** 2 + x[None] ** 2) / 1.5**2)
  patch = clean + rng.normal(0, 0.05, (5, 5, 50))

  start = np.zeros((50, 2), np.float32)
  fit = np.asarray(peaks.gaussian_fit(patch.astype(np.float32), start, sigma=1.5), np.float64)

  def equations(k: int, height: float, log_width: float) -> np.ndarray:
    """Derivatives (4,) of the squared weighted residual by height, x, y and width."""
    dx = offsets[None] - fit[k, 0]
    dy = offsets[:, None] - fit[k, 1]
    precision = np.exp(-2 * log_width) / 1.5**2
    shape = np.exp(-0.5 * precision * (dx**2 + dy**2))
    residual = shape**2 * (patch[..., k] - height * shape)
    slopes = [shape] + [shape * precision * part for part in (dx, dy, dx**2 + dy**2)]
    damping = np.array([0, 0, 0, peaks.WIDTH_DAMPING * height * log_width])
    return np.array([(slope * residual).sum() for slope in slopes]) - damping

  for k in range(50):
    height, log_width = fsolve(lambda v, k=k: equations(k, *v)[[0, 3]], (1.0, 0.0))
    assert abs(log_width) < peaks.MAX_LOG_WIDTH
    np.testing.assert_allclose(equations(k, height, log_width), 0, atol=2e-5)


def test_dark_is_the_summit_of_the_parabola_patch_by_patch():
  """The 2 x 2 system in NumPy, patch by patch."""
  patch = np.random.default_rng(2).uniform(0.2, 1, (3, 3, 200)).astype(np.float32)
  patch[1, 1] = 1.2

  summit = np.asarray(jax.jit(peaks.log_parabola)(patch))

  log = np.log(patch.astype(np.float64))
  for k in range(200):
    cell = log[..., k]
    gradient = np.array([cell[1, 2] - cell[1, 0], cell[2, 1] - cell[0, 1]]) / 2
    xx = cell[1, 2] - 2 * cell[1, 1] + cell[1, 0]
    xy = (cell[2, 2] - cell[2, 0] - cell[0, 2] + cell[0, 0]) / 4
    yy = cell[2, 1] - 2 * cell[1, 1] + cell[0, 1]
    hessian = np.array([[xx, xy], [xy, yy]])

    concave = (np.linalg.eigvalsh(hessian) < 0).all()
    expected = np.clip(-np.linalg.solve(hessian, gradient), -1, 1) if concave else np.zeros(2)
    np.testing.assert_allclose(summit[k], expected, atol=1e-4)


def test_dark_in_a_corner_keeps_the_cell():
  heatmaps = gaussians(np.array([[0.2, 0.3], [0.2, 8.3]]), sigma=1.5)
  landmarks, _ = decode(HeatmapCodec(size=SIZE, stride=1, decoding="dark"), heatmaps)
  np.testing.assert_allclose(landmarks, [[0, 0], [0, 8.3]], atol=1e-4)


def test_covariance_is_the_second_moment_of_the_window_in_crop_pixels():
  rng = np.random.default_rng(0)
  points = np.array([[7.3, 6.8], [0.0, 9.0], [12.2, 15.0]])
  heatmaps = gaussians(points, sigma=1.5) + rng.normal(0, 0.05, (SIZE, SIZE, 3)).astype(np.float32)

  landmarks, _, covariance = decode_with_covariance(HeatmapCodec(size=SIZE), heatmaps)

  position = affine.apply(affine.shrink(4), np.asarray(landmarks, np.float64))
  for k in range(3):
    row, column = np.unravel_index(heatmaps[..., k].argmax(), (SIZE, SIZE))
    total = 0.0
    moment = np.zeros((2, 2))
    for y in range(max(row - 2, 0), min(row + 3, SIZE)):
      for x in range(max(column - 2, 0), min(column + 3, SIZE)):
        heat = max(heatmaps[y, x, k], 0)
        offset = np.array([x, y]) - position[k]
        total += heat
        moment += heat * np.outer(offset, offset)
    np.testing.assert_allclose(covariance[k], 16 * moment / total, rtol=1e-4, atol=1e-4)


def test_covariance_tells_in_which_direction_a_peak_is_long():
  offset = np.arange(SIZE) - 8
  x, y = offset[None, :], offset[:, None]
  long_in_x = np.exp(-0.5 * (x / 2.5) ** 2 - 0.5 * (y / 0.8) ** 2).astype(np.float32)

  _, _, covariance = decode_with_covariance(HeatmapCodec(size=SIZE), long_in_x[..., None])

  assert covariance[0, 0, 0] > 2 * covariance[0, 1, 1]
  assert abs(covariance[0, 0, 1]) < 1e-3


def test_covariance_of_no_heat_and_of_nan():
  heatmaps = np.zeros((SIZE, SIZE, 2), np.float32)
  heatmaps[3, 3, 1] = np.nan

  _, _, covariance = decode_with_covariance(HeatmapCodec(size=SIZE, decoding="argmax"), heatmaps)

  assert np.isfinite(covariance[0]).all() and np.isnan(covariance[1]).all()
