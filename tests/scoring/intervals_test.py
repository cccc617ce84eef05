"""Bootstrap intervals: against theory, against a plain loop, and what groups change."""

import numpy as np
import pytest

from fal_jax import metrics
from fal_jax.errors import InputError
from fal_jax.scoring import intervals


def test_the_interval_of_a_mean_is_that_of_theory():
  values = np.random.default_rng(0).normal(4, 2, (2000, 1))
  half = 1.96 * values.std() / np.sqrt(2000)

  low, high = intervals.bootstrap(values, seed=1)[0]

  assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
  assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution():
  failed = np.zeros((100, 1))
  failed[:10] = 100

  low, high = intervals.bootstrap(failed, seed=0, resamples=20_000)[0]

  assert (low, high) == (5, 16)  # 2.5 and 97.5 % of a binomial with n = 100, p = 0.1


def test_it_is_what_a_plain_loop_over_drawn_faces_finds():
  """The metric itself on each draw; with other random numbers, so equal only up to their noise."""
  errors = np.random.default_rng(2).gamma(4, 1, 300)
  rng = np.random.default_rng(3)
  areas = [metrics.auc(errors[rng.integers(0, 300, 300)], 8) for _ in range(8000)]

  ends = intervals.bootstrap(np.maximum(0, 1 - errors / 8)[:, None], seed=0, resamples=8000)[0]

  np.testing.assert_allclose(ends, np.quantile(areas, [0.025, 0.975]), atol=0.03 * np.ptp(areas))


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
  values = np.random.default_rng(0).gamma(4, 1, (50, 2))

  first = intervals.bootstrap(values, seed=0)

  np.testing.assert_array_equal(intervals.bootstrap(values, seed=0), first)
  assert (intervals.bootstrap(values, seed=1) != first).any()
  np.testing.assert_allclose(intervals.bootstrap(10 * values, seed=0), 10 * first)


def test_blocks_change_nothing(monkeypatch):
  values = np.random.default_rng(0).gamma(4, 1, (50, 2))
  whole = intervals.bootstrap(values, seed=0, resamples=99)
  monkeypatch.setattr(intervals, "_BLOCK", 500)

  np.testing.assert_array_equal(intervals.bootstrap(values, seed=0, resamples=99), whole)


def test_frames_of_a_video_are_drawn_together():
  """Ten videos of a hundred equal frames are ten values, not a thousand."""
  means = np.random.default_rng(0).normal(4, 1, 10)
  frames = np.repeat(means, 100)[:, None]
  videos = np.repeat([f"v{i}" for i in range(10)], 100)

  grouped = intervals.bootstrap(frames, seed=0, groups=list(videos))

  np.testing.assert_allclose(grouped, intervals.bootstrap(means[:, None], seed=0), rtol=1e-12)
  assert np.ptp(grouped) > 5 * np.ptp(intervals.bootstrap(frames, seed=0))


def test_long_groups_weigh_more():
  """Two videos of 1 and 3 frames: drawn twice, the mean is a, b, or (a + 3 b) / 4."""
  values, videos = [[0.0], [4.0], [4.0], [4.0]], ["a", "b", "b", "b"]

  low, high = intervals.bootstrap(values, seed=0, groups=videos, level=0.4)[0]

  assert (low, high) == (3, 3)


def test_the_interval_of_one_face_has_no_width():
  np.testing.assert_array_equal(intervals.bootstrap([[3.0]], seed=0), [[3, 3]])


@pytest.mark.parametrize(
  ("values", "options", "answer"),
  [
    (np.zeros((0, 1)), {}, r"shape \(0, 1\)"),
    ([1.0, 2.0, 3.0], {}, r"shape \(3,\)"),
    ([[np.nan]], {}, "finite"),
    ([[1.0], [2.0]], {"groups": ["a"]}, r"groups have shape \(1,\), expected \(2,\)"),
    ([[1.0]], {"level": 1}, "level=1"),
  ],
)
def test_wrong_arguments_are_refused(values, options, answer):
  with pytest.raises(InputError, match=answer):
    intervals.bootstrap(values, seed=0, **options)
