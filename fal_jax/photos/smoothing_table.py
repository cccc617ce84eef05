"""python -m fal_jax.photos.smoothing_table: what --smooth costs in lag and saves in jitter.

A made-up face with white noise in every frame: at rest for the jitter, in even motion for the lag.
The noise is about that of the shipped networks on a photograph with the noise of a camera.
"""

import numpy as np

from fal_jax.landmarks import tight_boxes
from fal_jax.output import markdown
from fal_jax.photos.smoothing import Smoothed, smooth
from fal_jax.scoring import jitter

RATE = 30.0  # frames/s
SECONDS = 10.0
SETTLED = 2.0  # s, after which the filter no longer remembers its start
SIZE = 100.0  # px, of the face
NOISE = 0.2, 0.5  # percent of the face size, per axis
SPEEDS = 0.0, 0.02, 0.1, 0.5, 1.0, 2.0  # face sizes per second
LANDMARKS = 68


def smooth_all(points: np.ndarray, *, rate: float = RATE, size: float = SIZE) -> np.ndarray:
  """Filters all frames (T, K, 2) px of one face; returns (T, K, 2)."""
  state: Smoothed | None = None
  filtered = []
  for number, frame in enumerate(points):
    state = smooth(frame, state, seconds=number / rate, size=size)
    filtered.append(state.points)
  return np.array(filtered)


def face(speed: float) -> np.ndarray:
  """(T, K, 2) px: where the landmarks of a face are that moves by `speed` to the right."""
  shape = np.random.default_rng(0).uniform(0, 1, (LANDMARKS, 2))
  x0, y0, x1, y1 = tight_boxes(shape[None])[0]
  shape *= SIZE / np.sqrt((x1 - x0) * (y1 - y0))
  moved = speed * SIZE * np.arange(int(RATE * SECONDS)) / RATE
  return shape + moved[:, None, None] * np.array([1.0, 0.0])


def measure(*, noise: float, speed: float) -> tuple[float, float, float]:
  """One row of the table.

  Args:
    noise: percent of the face size.
    speed: face sizes per second.

  Returns:
    The jitter of the noisy and of the filtered landmarks, percent of the face size, and how far the
    latter lag behind, percent of the face size.
  """
  true = face(speed)
  noisy = true + np.random.default_rng(1).normal(0, noise / 100 * SIZE, true.shape)
  filtered = smooth_all(noisy)

  settled = slice(int(SETTLED * RATE), None)
  frames = np.arange(len(true))[settled]
  norm = np.full(len(frames), SIZE)

  def percent(points: np.ndarray) -> float:
    videos = ["video"] * len(frames)
    result = jitter.jitter(points[settled], true[settled], norm, videos=videos, frames=frames)
    return result["mean"]

  behind = 100 * float((true - filtered)[settled, :, 0].mean()) / SIZE
  return percent(noisy), percent(filtered), behind


def table() -> str:
  """All rows, as Markdown."""
  rows = []
  for noise in NOISE:
    for speed in SPEEDS:
      before, after, behind = measure(noise=noise, speed=speed)
      lag = f"{1000 * behind / 100 / speed:.0f}" if speed else ""
      cells = f"{before:.2f}", f"{after:.2f}", lag, f"{behind:.2f}" if speed else ""
      rows.append([f"{noise:g} %, {speed:g}", *cells])
  head = ["noise, speed (face sizes/s)", "jitter, %", "smoothed, %", "lag, ms", "lag, % of face"]
  return markdown.table(head, rows)


if __name__ == "__main__":
  print(table())
