"""Jitter in closed form: nothing for what does not tremble, the known number for what does."""

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


def test_what_stays_where_it_is_beside_a_moving_face_does_not_tremble():
  true = _video()
  offset = np.random.default_rng(1).normal(
    0, 9, (1, 68, 2)
  )  # another for each landmark, the same in all frames
  assert _jitter(true + offset, true)["mean"] == pytest.approx(0, abs=1e-9)


def test_a_prediction_that_jumps_to_and_fro_trembles_by_twice_its_shift():
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
  assert _jitter(true + noise, true)["mean"] == pytest.approx(
    100 * np.sqrt(np.pi) * 2 / NORM, rel=5e-3
  )


def test_it_is_the_mean_over_videos_whatever_their_length_and_the_order_of_frames():
  true = np.concatenate([_video(4), _video(16, 1)])
  pred = true.copy()
  pred[[1, 3]] += [5, 0]  # each of the three steps of the short video is a jump of 5 px
  videos, frames = ["a"] * 4 + ["b"] * 16, np.r_[:4, :16]
  expected = {"a": 100 * 5 / NORM, "b": 0.0}
  found = _jitter(pred, true, videos, frames)
  assert found["videos"] == pytest.approx(expected, abs=1e-9) and found["mean"] == pytest.approx(
    5, abs=1e-9
  )
  order = np.random.default_rng(0).permutation(20)
  shuffled = _jitter(pred[order], true[order], [videos[i] for i in order], frames[order])
  assert shuffled["videos"] == pytest.approx(expected, abs=1e-9)


def test_gaps_are_not_bridged_and_a_stride_is_said():
  true = _video(5)
  pred = true + np.array([0, 0, 0, 1, 1])[:, None, None] * [
    30.0,
    0,
  ]  # jumps where frames are missing
  found = _jitter(pred, true, frames=[0, 5, 10, 40, 45])
  assert (found["mean"], found["frames_apart"]) == (pytest.approx(0, abs=1e-9), 5)
  lonely = _jitter(
    np.concatenate([pred, pred[:1]]),
    np.concatenate([true, true[:1]]),
    ["v"] * 5 + ["w"],
    [0, 5, 10, 40, 45, 7],
  )
  assert lonely["left_out"] == ["w"]
  assert _jitter(pred[:1], true[:1])["mean"] is None


def test_the_normaliser_is_the_mean_of_both_frames_and_missing_landmarks_do_not_count():
  true = _video(2)
  pred = true.copy()
  pred[1] += [6, 8]
  assert _jitter(pred, true, norm=np.array([40.0, 60.0]))["mean"] == pytest.approx(
    100 * 10 / 50, abs=1e-9
  )
  true[0, :60] = np.nan
  pred[0, 5], pred[1, 10] = np.nan, [1e6, 1e6]  # neither is annotated in both frames
  assert _jitter(pred, true)["mean"] == pytest.approx(100 * 10 / NORM, abs=1e-9)


def test_a_frame_given_twice_and_columns_of_other_lengths_are_refused():
  true = _video(3)
  with pytest.raises(InputError, match="frame 1 of video v occurs twice"):
    _jitter(true, true, frames=[0, 1, 1])
  with pytest.raises(InputError, match="2 videos and 3 frames for 3 faces"):
    _jitter(true, true, videos=["v", "v"])
