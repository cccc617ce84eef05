"""The 1 euro filter against closed forms, scipy and the paper's algorithm; and its symmetries."""

import numpy as np
import pytest
import scipy.signal

from fal_jax.photos import smoothing_table
from fal_jax.photos.smoothing import smooth

RATE = 30.0
SIZE = 80.0


def _run(points, seconds=None, size=SIZE, **options):
  """(T, K, 2) filtered."""
  seconds = np.arange(len(points)) / RATE if seconds is None else seconds
  state, filtered = None, []
  for frame, time in zip(points, seconds, strict=True):
    state = smooth(frame, state, seconds=time, size=size, **options)
    filtered.append(state.points)
  return np.array(filtered)


def _walk(frames=60, landmarks=5, seed=0):
  """(T, K, 2) px: landmarks that wander."""
  rng = np.random.default_rng(seed)
  return 200 + rng.normal(0, 2, (frames, landmarks, 2)).cumsum(0)


def _algorithm_1(values, times, *, mincutoff, beta, dcutoff):
  """The paper's pseudo-code, for one coordinate."""
  output, speed = [values[0]], 0.0
  for k in range(1, len(values)):
    rate = 1 / (times[k] - times[k - 1])

    def alpha(cutoff, rate=rate):
      tau, te = 1 / (2 * np.pi * cutoff), 1 / rate
      return 1 / (1 + tau / te)

    dx = (values[k] - output[-1]) * rate
    speed = alpha(dcutoff) * dx + (1 - alpha(dcutoff)) * speed
    a = alpha(mincutoff + beta * abs(speed))
    output.append(a * values[k] + (1 - a) * output[-1])
  return np.array(output)


def test_along_one_axis_it_is_the_algorithm_of_the_paper():
  times = np.random.default_rng(1).uniform(0.01, 0.08, 60).cumsum()  # of a variable frame rate
  points = _walk()
  points[..., 1] = 7.0
  options = {"min_cutoff": 0.7, "beta": 3.0, "derivative_cutoff": 1.3}

  filtered = _run(points, times, **options)

  for k in range(points.shape[1]):
    expected = _algorithm_1(points[:, k, 0], times, mincutoff=0.7, beta=3.0 / SIZE, dcutoff=1.3)
    np.testing.assert_allclose(filtered[:, k, 0], expected, rtol=1e-12)
  assert (filtered[..., 1] == 7).all()


def test_without_beta_it_is_the_low_pass_filter_of_first_order():
  points = _walk()
  alpha = 1 / (1 + 2 * np.pi * 1.5 / RATE)  # weight of the past

  filtered = _run(points, min_cutoff=1.5, beta=0.0)

  start = points[0] * alpha
  expected, _ = scipy.signal.lfilter([1 - alpha], [1, -alpha], points, axis=0, zi=start[None])
  np.testing.assert_allclose(filtered, expected, rtol=1e-12)


@pytest.mark.parametrize("speed", [0.05, 0.5, 2.0])
def test_its_lag_in_even_motion_solves_the_equation_of_the_filter(speed):
  """Lag L = 1 / (2 pi f), f = min + beta speed (1 + L rate): it is the slower, the more it lags."""
  times = np.arange(600) / RATE
  points = np.zeros((600, 1, 2))
  points[:, 0] = speed * SIZE * times[:, None] * [0.6, 0.8]

  behind = np.linalg.norm(points - _run(points, min_cutoff=1.0, beta=20.0), axis=-1)[-1, 0]

  a, b = 2 * np.pi * 20 * speed * RATE, 2 * np.pi * (1 + 20 * speed)
  lag = (np.sqrt(b * b + 4 * a) - b) / (2 * a)
  assert behind / (speed * SIZE) == pytest.approx(lag, rel=1e-3)


def test_the_jitter_of_a_face_at_rest_is_that_of_filtered_noise_and_below_a_fourth():
  """A low-pass filter with weight a multiplies steps of white noise by a / sqrt(2 - a)."""
  still = smoothing_table.measure(noise=0.2, speed=0.0)
  alpha = 1 / (1 + smoothing_table.RATE / (2 * np.pi))

  assert still[0] == pytest.approx(np.sqrt(np.pi) * 0.2, rel=0.01)
  assert still[1] / still[0] == pytest.approx(alpha / np.sqrt(2 - alpha), rel=0.4)
  assert still[1] / still[0] > alpha / np.sqrt(2 - alpha)  # noise looks like speed
  assert still[1] < still[0] / 4


def test_the_table_has_a_row_for_each_noise_and_speed():
  rows = smoothing_table.table().splitlines()

  assert len(rows) == 2 + len(smoothing_table.NOISE) * len(smoothing_table.SPEEDS)
  lags = [float(row.split("|")[4]) for row in rows[3:8]]
  assert lags == sorted(lags, reverse=True) and lags[-1] > 0


def test_a_face_at_rest_stays_where_it_is():
  points = np.repeat(_walk(1), 30, 0)

  np.testing.assert_array_equal(_run(points), points)


def test_moving_or_enlarging_the_image_moves_and_enlarges_the_result():
  points = _walk()

  shift = np.array([1000.0, -30.0])
  moved = _run(points + shift)
  enlarged = _run(3 * points, size=3 * SIZE)

  np.testing.assert_allclose(moved, _run(points) + shift, atol=1e-9)
  np.testing.assert_allclose(enlarged, 3 * _run(points), atol=1e-9)


def test_turning_the_image_turns_the_result():
  points = _walk()
  turn = np.array([[0.6, 0.8], [-0.8, 0.6]])

  np.testing.assert_allclose(_run(points @ turn), _run(points) @ turn, atol=1e-9)


def test_the_same_movement_at_another_frame_rate_is_smoothed_alike():
  times = np.arange(0, 2, 1 / 120)
  points = SIZE * np.sin(2 * times)[:, None, None] * np.ones((1, 2, 2))

  often, seldom = _run(points, times), _run(points[::4], times[::4])

  np.testing.assert_allclose(often[::4], seldom, atol=0.03 * SIZE)


def test_a_landmark_that_was_missing_starts_anew_and_no_other_notices():
  points = _walk()
  points[20:25, 3] = np.nan

  filtered = _run(points)

  assert np.isnan(filtered[20:25, 3]).all()
  np.testing.assert_allclose(filtered[25:, 3], _run(points[25:])[:, 3], rtol=1e-12)
  others = [0, 1, 2, 4]
  np.testing.assert_allclose(filtered[:, others], _run(points[:, others]), rtol=1e-12)
