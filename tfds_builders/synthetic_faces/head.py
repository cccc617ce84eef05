"""A parametric 3-D head: one grid of vertices, linear bases, and a chart to draw on it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from tfds_builders.synthetic_faces.face_shape import bases, relief
from tfds_builders.synthetic_faces.tube import (
  COLUMNS,
  JAW_EDGE,
  SECTIONS,
  angle_column,
  column_angle,
  hermite,
  row_sections,
  smoothstep,
  tube,
)

_LOOKUP_ORIGIN = np.array([-0.82, -0.9])
_LOOKUP_STEP = 0.01


@dataclass(frozen=True)
class HeadModel:
  """The mean head with its bases; made once by `head_model`.

  Attributes:
    mean: (R, C, 3) float32 vertices, model frame.
    chart: (R, C, 2) float32, chart position of every vertex (meaningful on the front half).
    sections: (R,) float64, section number of each row.
    names: names of the bases.
    bases: (len(names), R * C * 3) float32.
    front: (R, C) float32, 1 on the face, 0 on the back of the head.
    lookup: (Y, X, 2) float32 table: column and row of chart positions.
  """

  mean: np.ndarray
  chart: np.ndarray
  sections: np.ndarray
  names: tuple[str, ...]
  bases: np.ndarray
  front: np.ndarray
  lookup: np.ndarray

  @property
  def shape(self) -> tuple[int, int]:
    """Rows and columns of the grid."""
    return self.mean.shape[0], self.mean.shape[1]

  def vertices(self, coefficients: Mapping[str, float]) -> np.ndarray:
    """Vertices (R, C, 3) float32 of a head; bases that `coefficients` does not name count as 0."""
    out = self.mean.reshape(-1).copy()
    # One after the other rather than a matrix product, whose last bits depend on the number of BLAS
    # threads.
    for name, basis in zip(self.names, self.bases, strict=True):
      weight = np.float32(coefficients.get(name, 0.0))
      if weight:
        out += weight * basis
    return out.reshape(self.mean.shape)

  def grid_from_chart(self, xy: np.ndarray) -> np.ndarray:
    """(..., 2) chart positions on the face -> (..., 2) float64 fractional column and row."""
    xy = np.asarray(xy, np.float64)
    table_xy = (xy.reshape(-1, 2) - _LOOKUP_ORIGIN) / _LOOKUP_STEP
    # Bilinear look-up in float64: cv2.remap rounds positions to 1/32 of a cell, which would move
    # landmarks.
    return sample_grid(self.lookup, table_xy).reshape(xy.shape)


def sample_grid(grid: np.ndarray, column_row: np.ndarray) -> np.ndarray:
  """Bilinear values of a grid.

  Args:
    grid: (R, C, D).
    column_row: (N, 2) fractional positions.

  Returns:
    (N, D) float64.
  """
  i, j, fx, fy = _cells(grid, column_row)
  top = grid[i, j] * (1 - fx) + grid[i, j + 1] * fx
  low = grid[i + 1, j] * (1 - fx) + grid[i + 1, j + 1] * fx
  return top * (1 - fy) + low * fy


def sample_triangles(grid: np.ndarray, column_row: np.ndarray) -> np.ndarray:
  """Values on the two flat triangles of each cell, the surface that `raster.rasterise` draws.

  Args:
    grid: (R, C, D).
    column_row: (N, 2) fractional positions.

  Returns:
    (N, D) float64.
  """
  i, j, fx, fy = _cells(grid, column_row)
  offsets = ((0, 0), (0, 1), (1, 0), (1, 1))
  a, b, c, d = (grid[i + di, j + dj].astype(np.float64) for di, dj in offsets)
  upper_left = a + fx * (b - a) + fy * (c - a)
  lower_right = d + (1 - fx) * (c - d) + (1 - fy) * (b - d)
  return np.where(fx + fy <= 1, upper_left, lower_right)


def _cells(
  grid: np.ndarray, column_row: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Row and column, (N,) int, of the cells that hold positions (N, 2); how far in, (N, 1) each."""
  rows, columns = grid.shape[:2]
  j = np.clip(np.floor(column_row[:, 0]).astype(int), 0, columns - 2)
  i = np.clip(np.floor(column_row[:, 1]).astype(int), 0, rows - 2)
  return i, j, (column_row[:, 0] - j)[:, None], (column_row[:, 1] - i)[:, None]


@functools.cache
def head_model() -> HeadModel:
  """Builds the model; takes about half a second, then every call of the process shares it."""
  sections = row_sections()
  angle = column_angle(np.arange(COLUMNS))
  points = tube(*np.broadcast_arrays(angle[None, :], sections[:, None]))
  chart = points[..., :2]

  # Features fade out towards the side of the head and below the edge of the jaw, where chart
  # positions are reused.
  around = smoothstep(0.05, 0.30, np.cos(angle))[None, :]
  front = around * (1 - smoothstep(JAW_EDGE, 15.5, sections))[:, None]
  mean = points + relief(chart, front)
  for k in (0, 1, 2):  # interp1d corners of the nose profile become rounded
    mean[..., k] = cv2.GaussianBlur(mean[..., k], (0, 0), 0.7, borderType=cv2.BORDER_REPLICATE)

  fields = bases(chart, mean, front)
  return HeadModel(
    mean=mean.astype(np.float32),
    chart=chart.astype(np.float32),
    sections=sections,
    names=tuple(fields),
    bases=np.stack([f.reshape(-1) for f in fields.values()]).astype(np.float32),
    front=front.astype(np.float32),
    lookup=_invert_chart(sections),
  )


def _invert_chart(sections: np.ndarray) -> np.ndarray:
  """Where the tube shows each chart position in a frontal view, by bisection.

  Args:
    sections: (R,) section number of each row.

  Returns:
    (Y, X, 2) float32 column and row, for `HeadModel.lookup`.
  """
  x = np.arange(-0.82, 0.8201, _LOOKUP_STEP)
  y = np.arange(-0.9, 1.2451, _LOOKUP_STEP)
  gx, gy = np.meshgrid(x, y)

  def angle(section: np.ndarray) -> np.ndarray:
    return np.arcsin(np.clip(gx / hermite(SECTIONS[:, 3:4], section)[..., 0], -0.999, 0.999))

  low, high = np.full_like(gx, 2.0), np.full_like(gx, JAW_EDGE)
  for _ in range(30):
    middle = (low + high) / 2
    below = tube(angle(middle), middle)[..., 1] < gy
    low, high = np.where(below, middle, low), np.where(below, high, middle)

  rows = np.interp(low, sections, np.arange(len(sections)))
  return np.stack([angle_column(angle(low)), rows], -1).astype(np.float32)
