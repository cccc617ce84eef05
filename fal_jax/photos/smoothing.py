"""The 1 euro filter for landmarks of a video: steady where a face rests, prompt where it moves.

Source: Casiez, Roussel and Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy Input
in Interactive Systems", CHI 2012, Algorithm 1.
"""

import dataclasses

import numpy as np

# What they cost in lag and save in jitter: `python -m fal_jax.photos.smoothing_table`.
MIN_CUTOFF = 1.0  # Hz, of a landmark at rest
BETA = 20.0  # Hz more for each face size per second
DERIVATIVE_CUTOFF = 1.0  # Hz, of the speed itself; the paper's value


@dataclasses.dataclass(frozen=True)
class Smoothed:
  """A face's landmarks after the filter, which is all that it remembers.

  Attributes:
    points: (K, 2) float64, image px; NaN where the frame has none.
    velocity: (K, 2) float64, face sizes per second, low-passed.
    seconds: the time of the frame.
  """

  points: np.ndarray
  velocity: np.ndarray
  seconds: float


def smooth(
  points: np.ndarray,
  previous: Smoothed | None,
  *,
  seconds: float,
  size: float,
  min_cutoff: float = MIN_CUTOFF,
  beta: float = BETA,
  derivative_cutoff: float = DERIVATIVE_CUTOFF,
) -> Smoothed:
  """Filters the landmarks of one face in one frame.

  Deviation: the speed of a landmark is the length of its velocity, not one for each axis, so that a
  turned camera changes nothing; and it is measured in face sizes, so that the constants mean the
  same at every resolution.

  Args:
    points: (K, 2) landmarks, image px; NaN where there is none.
    previous: what this function returned for the frame before; None for the first one. A landmark
      that was NaN there starts anew.
    seconds: time of the frame, later than that of the one before.
    size: sqrt(w h) of the face's box, px.
    min_cutoff: Hz, the cutoff frequency at rest: lower is steadier.
    beta: Hz per (face size per second): higher follows a movement sooner.
    derivative_cutoff: Hz, the cutoff frequency of the velocity.

  Returns:
    (K, 2) landmarks with what the next frame needs.
  """
  points = np.asarray(points, np.float64)
  if previous is None:
    return Smoothed(points, np.zeros_like(points), seconds)
  step = seconds - previous.seconds

  def weight(cutoff: np.ndarray | float) -> np.ndarray | float:
    """Of the new value, in a low-pass filter of first order with this cutoff frequency in Hz."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))

  # Against the filtered point, as in the paper: a point that lags behind counts as faster.
  velocity = (points - previous.points) / size / step
  velocity = previous.velocity + weight(derivative_cutoff) * (velocity - previous.velocity)
  speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
  filtered = previous.points + weight(min_cutoff + beta * speed) * (points - previous.points)

  continues = np.isfinite(filtered)
  return Smoothed(
    np.where(continues, filtered, points), np.where(continues, velocity, 0.0), seconds
  )
