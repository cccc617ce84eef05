"""Temporal jitter of predicted landmarks in videos, apart from how far off they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fal_jax import metrics
from fal_jax.errors import InputError


def jitter(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, *, videos: Sequence[str], frames: ArrayLike
) -> dict[str, Any]:
  """Mean change of the error vector from one frame to the next, in percent of the normaliser.

  With r = pred - true, the jitter of a pair of neighbouring frames is the mean over landmarks of
  |r_t - r_(t-1)|, in percent of the mean normaliser of both. The motion of the face cancels, and so
  does a constant offset; white noise of s px per axis in every frame gives sqrt(pi) s px. Pairs are
  averaged within a video, and the result is the mean over videos, so that long ones do not outweigh
  short ones. The jitter of the annotation is part of it: compare networks with each other, not with
  zero.

  Neighbours are frames whose numbers differ by the smallest difference there is (the stride of the
  dataset), so nothing is bridged where broken frames were left out. Compare results of one stride
  only.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated landmarks, same pixels; NaN where not annotated. A landmark counts
      where both frames have it.
    norm: (N,) normalisers, px.
    videos: N names.
    frames: (N,) int numbers of the frames in their videos, in any order.

  Returns:
    `mean` over videos in percent, `frames_apart`, `videos` (percent by name), and `left_out`, names
    of videos without a pair.

  Raises:
    InputError: shapes disagree, a prediction that counts is not finite, or a frame occurs twice.
  """
  pred, true, norm, frames = (np.asarray(array, np.float64) for array in (pred, true, norm, frames))
  metrics.nme(pred, true, norm)  # only to check the arrays
  if frames.shape != norm.shape or len(videos) != len(frames):
    raise InputError(
      f"there are {len(videos)} videos and {frames.size} frames for {len(norm)} faces: give one "
      "video and one frame number per face"
    )

  # Sorted by video and frame, neighbours are next to each other.
  names, member = np.unique(np.asarray(videos), return_inverse=True)
  order = np.lexsort((frames, member))
  steps = np.diff(frames[order])
  same_video = np.diff(member[order]) == 0
  if twice := np.flatnonzero(same_video & (steps == 0)).tolist():
    row = order[twice[0]]
    raise InputError(
      f"frame {frames[row]:g} of video {videos[row]} occurs twice: give each frame once"
    )
  stride = steps[same_video].min() if same_video.any() else 0.0
  pairs = np.flatnonzero(same_video & (steps == stride))

  before, after = order[pairs], order[pairs + 1]
  change = np.linalg.norm((pred - true)[after] - (pred - true)[before], axis=-1)
  known = np.isfinite(change)
  both = (norm[before] + norm[after]) / 2
  valid = known.any(1) & (both >= metrics.MIN_NORM)
  percent = 100 * change.sum(1, where=known)[valid] / known.sum(1)[valid] / both[valid]

  video, counts = np.unique(member[after][valid], return_counts=True)
  means = np.bincount(member[after][valid], percent, minlength=len(names))[video] / counts
  return {
    "mean": float(means.mean()) if len(means) else None,
    "frames_apart": int(stride),
    "videos": dict(zip(names[video].tolist(), means.tolist(), strict=True)),
    "left_out": np.delete(names, video).tolist(),
  }
