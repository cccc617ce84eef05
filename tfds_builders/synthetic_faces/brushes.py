"""Brushes: soft lines, mixing, and noise shared by all faces."""

import functools
import itertools
from collections.abc import Sequence

import cv2
import numpy as np


@functools.cache
def _tiles() -> dict[str, np.ndarray]:
  """Noise shared by all faces, made once from a fixed seed; each face takes a part of it."""
  key = np.random.default_rng(20211)
  height, width = 760, 1460
  fine = key.standard_normal((height, width)).astype(np.float32)
  pores = fine - cv2.GaussianBlur(fine, (0, 0), 1.6)

  def octaves(*parts: tuple[int, int, float]) -> np.ndarray:
    """Sum of smooth noises with this spacing down and across and this strength."""
    total = np.zeros((height, width), np.float32)
    for down, across, strength in parts:
      small = key.standard_normal((height // down, width // across)).astype(np.float32)
      smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
      total += np.float32(strength) * smooth
    return total

  return {
    "pores": pores,
    "blotches": octaves((6, 6, 0.6), (18, 18, 0.6), (50, 50, 0.6)),
    "strands": octaves((60, 2, 0.54), (90, 5, 0.62), (150, 14, 0.54)),
    "curls": octaves((3, 3, 0.55), (7, 7, 0.82)),
  }


def noise(key: np.random.Generator, name: str, shape: tuple[int, int]) -> np.ndarray:
  """A random part of the noise shared by all faces.

  Args:
    key: generator.
    name: "pores", "blotches", "strands" or "curls".
    shape: h, w of the part.

  Returns:
    (h, w) float32 of about unit variance; a view that must not be written to.
  """
  tile = _tiles()[name]
  y = key.integers(0, tile.shape[0] - shape[0])
  x = key.integers(0, tile.shape[1] - shape[1])
  return tile[y : y + shape[0], x : x + shape[1]]


def mix(canvas: np.ndarray, colour: Sequence[float] | np.ndarray, alpha: np.ndarray) -> None:
  """Paints over a float canvas (3, h, w) in place.

  Args:
    canvas: (3, h, w) float.
    colour: (3,) or (3, h, w), sRGB 0..255.
    alpha: (h, w) in 0..1.
  """
  for channel, value in zip(canvas, colour, strict=True):
    channel += alpha * (value - channel)


def darken(
  canvas: np.ndarray, alpha: np.ndarray, tint: tuple[float, float, float] = (0.55, 0.40, 0.35)
) -> None:
  """Darkens a float canvas in place towards its own colour times `tint`.

  Args:
    canvas: (3, h, w) float.
    alpha: (h, w) in 0..1.
    tint: factors of red, green and blue where alpha is 1.
  """
  for channel, value in zip(canvas, tint, strict=True):
    channel *= 1 - alpha * np.float32(1 - value)


def filled(colour: Sequence[float] | np.ndarray, like: np.ndarray) -> np.ndarray:
  """A canvas (3, h, w) float32 of one colour (3,), of the shape of `like`."""
  return np.asarray(colour, np.float32)[:, None, None] + np.zeros_like(like)


def soft_line(xy: np.ndarray, points: list[tuple[float, float]], width: float) -> np.ndarray:
  """A soft line through points, mirrored on both halves.

  Args:
    xy: (..., 2) chart positions.
    points: points of the line, on the right half.
    width: standard deviation, chart units.

  Returns:
    (...,) 1 on the line, Gaussian beside it.
  """
  x, y = np.abs(xy[..., 0]), xy[..., 1]
  best = np.full(x.shape, 9.0, np.float32)
  for (x0, y0), (x1, y1) in itertools.pairwise(points):
    dx, dy = x1 - x0, y1 - y0
    # The nearest point of this segment.
    t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    best = np.minimum(best, (x - x0 - t * dx) ** 2 + (y - y0 - t * dy) ** 2)
  return np.exp(-best / (2 * width * width))
