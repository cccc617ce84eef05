"""The texture's raster: where its texels lie on the face, and which of them hold which feature."""

import functools

import numpy as np

from tfds_builders.synthetic_faces.head import head_model
from tfds_builders.synthetic_faces.tube import COLUMNS

DETAIL = 4  # texels per cell of the grid; a texel is about 0.006 model units wide on the face

Window = tuple[slice, slice]  # rows and columns of the texture


@functools.cache
def texel_chart() -> np.ndarray:
  """(H, W, 2) float32 chart positions of the head's texels."""
  chart = head_model().chart
  rows = np.minimum(np.arange(chart.shape[0] * DETAIL) / DETAIL, chart.shape[0] - 1.001)
  columns = np.minimum(np.arange(COLUMNS * DETAIL) / DETAIL, COLUMNS - 1.001)
  i, j = rows.astype(int), columns.astype(int)
  fy, fx = (rows - i)[:, None, None], (columns - j)[None, :, None]

  across = chart[:, j] * (1 - fx) + chart[:, j + 1] * fx
  return (across[i] * (1 - fy) + across[i + 1] * fy).astype(np.float32)


@functools.cache
def windows() -> dict[str, Window]:
  """The part of the texture on which each feature is painted."""
  return {
    "eye_left": _window((-0.60, -0.14), (-0.13, 0.13)),
    "eye_right": _window((0.13, -0.14), (0.60, 0.13)),
    "brow_left": _window((-0.68, -0.34), (-0.09, -0.06)),
    "brow_right": _window((0.09, -0.34), (0.68, -0.06)),
    "mouth": _window((-0.34, 0.62), (0.34, 0.93)),
    "nose": _window((-0.22, 0.36), (0.22, 0.68)),
    "beard": _window((-0.80, 0.10), (0.80, 1.24)),
  }


def _window(low: tuple[float, float], high: tuple[float, float]) -> Window:
  """The texels that hold a chart rectangle."""
  corners = np.array([low, high, (low[0], high[1]), (high[0], low[1])])
  grid = head_model().grid_from_chart(corners) * DETAIL
  x0, y0 = np.floor(grid.min(0)).astype(int)
  x1, y1 = np.ceil(grid.max(0)).astype(int) + 1
  return slice(y0, y1), slice(x0, x1)
