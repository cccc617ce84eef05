"""Jitter in closed form: none for a steady prediction, the known amount for others."""

import numpy as np
import pytest

from fal_jax.errors import InputError
from fal_jax.scoring import jitter

NORM = 50.0


def _video(frames: int = 20, seed: int = 0) -> np.ndarray:
  """(T, 68, 2) a face that wanders."""
  rng = np.random.default_rng(seed)
  return rng.uniform(0, 200, (1, 68, 2)) + rng.normal(0, 5, (frames, 1, 2)).cumsum(0)


def _jitter(pred, true, videos=None, frames=None, norm=None):
  norm = np.full(len(true), NORM) if norm is None else norm
  frames = range(len(true)) if frames is None else frames
  return jitter.jitter(pred, true, norm, videos=videos or ["v"] * len(true), frames=frames)


def test_a_constant_offset_beside_a_moving_face_is_not_jitter():
  true = _video()
  # Another for each landmark, the same in all frames.
  offset = np.random.default_rng(1).normal(0, 9, (1, 68, 2))

  assert _jitter(true + offset, true)["mean"] == pytest.approx(0, abs=1e-9)


def test_a_prediction_that_jumps_to_and_fro_costs_twice_its_shift():
  true = _video()
  shift = np.where(np.arange(20) % 2, 1, -1)[:, None, None] * np.array([3.0, 4.0])

  assert _jitter(true + shift, true)["mean"] == pytest.approx(100 * 2 * 5 / NORM, abs=1e-9)


def test_a_drift_costs_its_speed():
  true = _video()
  drift = np.arange(20)[:, None, None] * np.array([0.3, 0.4])

  assert _jitter(true + drift, true)["mean"] == pytest.approx(100 * 0.5 / NORM, abs=1e-9)


def test_white_noise_costs_the_root_of_pi_times_its_deviation():
  true = _video(3000)
  noise = np.random.default_rng(2).normal(0, 2, true.shape)
  expected = 100 * np.sqrt(np.pi) * 2 / NORM

  assert _jitter(true + noise, true)["mean"] == pytest.approx(expected, rel=5e-3)


def test_it_is_the_mean_over_videos_whatever_their_length_and_order():
  true = np.concatenate([_video(4), _video(16, 1)])
  pred = true.copy()
  pred[[1, 3]] += [5, 0]  # each of the three steps of the short video is a jump of 5 px
  videos, frames = ["a"] * 4 + ["b"] * 16, np.r_[:4, :16]
  expected = {"a": 100 * 5 / NORM, "b": 0.0}
  order = np.random.default_rng(0).permutation(20)

  result = _jitter(pred, true, videos, frames)
  shuffled = _jitter(pred[order], true[order], [videos[row] for row in order], frames[order])

  assert result["videos"] == pytest.approx(expected, abs=1e-9)
  assert result["mean"] == pytest.approx(5, abs=1e-9)
  assert shuffled["videos"] == pytest.approx(expected, abs=1e-9)


def test_gaps_are_not_bridged_and_the_stride_is_reported():
  true = _video(5)
  # Jumps where frames are missing.
  pred = true + np.array([0, 0, 0, 1, 1])[:, None, None] * [30.0, 0]

  result = _jitter(pred, true, frames=[0, 5, 10, 40, 45])

  assert result["mean"] == pytest.approx(0, abs=1e-9)
  assert result["frames_apart"] == 5


def test_a_video_without_a_pair_of_frames_is_left_out():
  true = _video(5)

  result = _jitter(true, true, ["v", "v", "v", "v", "w"], [0, 5, 10, 15, 7])
  alone = _jitter(true[:1], true[:1])

  assert result["left_out"] == ["w"]
  assert alone["mean"] is None


def test_the_normaliser_is_the_mean_of_both_frames():
  true = _video(2)
  pred = true.copy()
  pred[1] += [6, 8]

  result = _jitter(pred, true, norm=np.array([40.0, 60.0]))

  assert result["mean"] == pytest.approx(100 * 10 / 50, abs=1e-9)


def test_landmarks_that_are_not_annotated_in_both_frames_do_not_count():
  true = _video(2)
  pred = true.copy()
  pred[1] += [6, 8]
  true[0, :60] = np.nan
  pred[0, 5] = np.nan
  pred[1, 10] = [1e6, 1e6]

  assert _jitter(pred, true)["mean"] == pytest.approx(100 * 10 / NORM, abs=1e-9)


def test_a_frame_given_twice_and_columns_of_other_lengths_are_refused():
  true = _video(3)

  with pytest.raises(InputError, match="frame 1 of video v occurs twice"):
    _jitter(true, true, frames=[0, 1, 1])
  with pytest.raises(InputError, match="2 videos and 3 frames for 3 faces"):
    _jitter(true, true, videos=["v", "v"])
