"""A parametric 3-D head: one grid of vertices, linear bases for identity and expression, and a
chart to draw on it.

Model frame: x to the right and y downwards as the viewer of a frontal face sees them, z towards the
viewer; the unit is the distance between the outer eye corners, the origin lies midway between them.
Seen from the front without perspective, a point of the mean head drawn at chart position (x, y)
appears at (x, y); the shape numbers below are chosen so that this agrees with the average
proportions of annotated photographs.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

# around the head; column 60 is the mid-line of the face, the first and the last meet at the back
COLUMNS = 121
# Rows of key cross-sections from the crown to the base of the neck: height and depth of the
# mid-line in front, height, half-width and depth at the side, height and depth of the mid-line at
# the back.
_SECTIONS = np.array(
  [
    [-1.30, -0.78, -1.30, 0.01, -0.80, -1.30, -0.82],
    [-1.26, -0.42, -1.26, 0.38, -0.80, -1.26, -1.22],
    [-1.10, -0.08, -1.13, 0.64, -0.80, -1.10, -1.58],
    [-0.85, 0.12, -0.90, 0.79, -0.80, -0.85, -1.80],
    [-0.55, 0.22, -0.60, 0.84, -0.79, -0.55, -1.88],
    [-0.25, 0.245, -0.30, 0.83, -0.77, -0.25, -1.86],
    [0.00, 0.19, -0.05, 0.805, -0.74, 0.05, -1.80],
    [0.25, 0.18, 0.15, 0.79, -0.71, 0.30, -1.66],
    [0.50, 0.20, 0.36, 0.765, -0.67, 0.52, -1.50],
    [0.72, 0.225, 0.50, 0.735, -0.63, 0.68, -1.34],
    [0.92, 0.19, 0.61, 0.705, -0.59, 0.80, -1.22],
    [1.09, 0.19, 0.69, 0.675, -0.56, 0.90, -1.14],
    [1.19, 0.15, 0.74, 0.645, -0.54, 0.96, -1.10],
    [1.235, 0.05, 0.79, 0.60, -0.54, 1.00, -1.08],
    [1.245, -0.08, 0.84, 0.555, -0.55, 1.06, -1.06],
    [1.255, -0.24, 0.91, 0.52, -0.57, 1.12, -1.06],
    [1.36, -0.36, 1.05, 0.49, -0.62, 1.22, -1.08],
    [1.62, -0.40, 1.40, 0.48, -0.70, 1.50, -1.12],
    [2.40, -0.30, 2.30, 0.56, -0.76, 2.20, -1.22],
  ]
)
JAW_EDGE = 13.3  # section at which the face turns into the underside of the jaw
_JAW_HINGE = np.array([0.10, -0.72])  # y, z of the axis the jaw opens about


def hermite(values: np.ndarray, at: np.ndarray) -> np.ndarray:
  """Evaluates the Catmull-Rom curve through `values` (N, D) at parameters `at` (...,) in 0..N-1;
  returns (..., D).
  """
  values = np.asarray(values, np.float64)
  slopes = np.gradient(values, axis=0)
  i = np.clip(np.floor(at).astype(int), 0, len(values) - 2)
  t = (np.asarray(at) - i)[..., None]
  return (
    (2 * t**3 - 3 * t**2 + 1) * values[i]
    + (t**3 - 2 * t**2 + t) * slopes[i]
    + (3 * t**2 - 2 * t**3) * values[i + 1]
    + (t**3 - t**2) * slopes[i + 1]
  )


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
  """0 below `low`, 1 above `high`, smooth between."""
  t = np.clip((x - low) / (high - low), 0.0, 1.0)
  return t * t * (3 - 2 * t)


def tube(angle: np.ndarray, section: np.ndarray) -> np.ndarray:
  """Points (..., 3) of the featureless head at an angle from the mid-line (radians) and a section
  number (0..18).
  """
  y0, z0, ys, a, zs, yb, zb = np.moveaxis(hermite(_SECTIONS, section), -1, 0)
  c = np.cos(angle)
  front = np.clip(c, 0, None)
  back = np.clip(-c, 0, None)
  x = a * np.sin(angle)
  y = ys + (y0 - ys) * front**1.5 + (yb - ys) * back**1.5
  z = zs + (z0 - zs) * front + (zb - zs) * back
  return np.stack([x, y, z], -1)


def column_angle(column: np.ndarray) -> np.ndarray:
  """Angle from the mid-line of a (fractional) column: the face gets most of the columns."""
  s = (np.asarray(column, np.float64) - (COLUMNS - 1) / 2) / ((COLUMNS - 1) / 2)
  return np.pi * (0.58 * s + 0.42 * s**3)


def angle_column(angle: np.ndarray) -> np.ndarray:
  """Inverse of `column_angle`."""
  s = np.linspace(-1, 1, 4001)
  return (
    np.interp(angle, np.pi * (0.58 * s + 0.42 * s**3), s) * (COLUMNS - 1) / 2 + (COLUMNS - 1) / 2
  )


def _row_sections() -> np.ndarray:
  """Section number of every row: about 0.02 apart on the face, 0.05 on the skull and 0.08 on the
  neck.
  """
  fine = np.linspace(0, len(_SECTIONS) - 1, 6000)
  front = tube(np.zeros_like(fine), fine)
  step = np.linalg.norm(np.diff(front, axis=0), axis=1)
  spacing = np.interp(
    fine[1:], [0, 4, 5, 8, 9, 13.5, 15, 18], [0.07, 0.05, 0.022, 0.018, 0.02, 0.02, 0.04, 0.12]
  )
  count = np.concatenate([[0], np.cumsum(step / spacing)])
  return np.interp(np.linspace(0, count[-1], round(count[-1]) + 1), count, fine)


def bump(xy: np.ndarray, centre: tuple[float, float], sigma: tuple[float, float]) -> np.ndarray:
  """A Gaussian hill of height 1 in chart coordinates."""
  return np.exp(
    -0.5 * (((xy[..., 0] - centre[0]) / sigma[0]) ** 2 + ((xy[..., 1] - centre[1]) / sigma[1]) ** 2)
  )


def _pair(xy: np.ndarray, centre: tuple[float, float], sigma: tuple[float, float]) -> np.ndarray:
  return bump(xy, centre, sigma) + bump(xy, (-centre[0], centre[1]), sigma)


def _relief(xy: np.ndarray, front: np.ndarray) -> np.ndarray:
  """Displacement (R, C, 3) that turns the tube into the mean face."""
  x, y = xy[..., 0], xy[..., 1]
  z = -0.085 * _pair(xy, (0.32, 0.0), (0.17, 0.10))  # eye sockets
  z += 0.055 * _pair(xy, (0.352, 0.0), (0.10, 0.065))  # eyeballs behind the lids
  z += 0.045 * _pair(xy, (0.33, -0.19), (0.24, 0.055))  # brow ridge
  z += 0.05 * _pair(xy, (0.45, 0.30), (0.17, 0.15)) - 0.03 * _pair(
    xy, (0.52, 0.66), (0.14, 0.16)
  )  # cheeks
  ridge = np.interp(
    y,
    [-0.25, -0.05, 0.10, 0.25, 0.38, 0.43, 0.47, 0.51, 0.55, 0.60],
    [0.0, 0.045, 0.105, 0.19, 0.275, 0.29, 0.26, 0.15, 0.045, 0.0],
  )
  width = np.interp(y, [-0.25, 0.0, 0.25, 0.42, 0.5, 0.6], [0.12, 0.085, 0.092, 0.105, 0.105, 0.09])
  z += ridge * np.exp(-(np.abs(x / width) ** 2.2) * 0.6)
  z += 0.09 * _pair(xy, (0.118, 0.452), (0.042, 0.045))  # nose wings
  z -= 0.03 * _pair(xy, (0.185, 0.47), (0.022, 0.06))
  z -= 0.05 * _pair(xy, (0.068, 0.512), (0.028, 0.018))  # nostrils
  z += 0.045 * bump(xy, (0, 0.68), (0.20, 0.07)) - 0.012 * bump(
    xy, (0, 0.61), (0.022, 0.05)
  )  # upper lip, philtrum
  lip = np.clip(1 - (x / 0.30) ** 2, 0, None)
  z += lip * (
    0.045 * np.exp(-(((y - 0.712) / 0.026) ** 2)) + 0.05 * np.exp(-(((y - 0.805) / 0.036) ** 2))
  )
  z -= 0.03 * lip * np.exp(-(((y - 0.753) / 0.012) ** 2))
  z -= 0.03 * _pair(xy, (0.315, 0.74), (0.03, 0.04))
  z -= 0.045 * bump(xy, (0, 0.93), (0.16, 0.045)) - 0.075 * bump(
    xy, (0, 1.10), (0.15, 0.085)
  )  # chin
  z -= 0.04 * _pair(xy, (0.72, -0.30), (0.12, 0.16))  # temples
  moved = np.zeros((*xy.shape[:-1], 3))
  moved[..., 2] = z
  moved[..., 1] = 0.022 * bump(xy, (0, 0.47), (0.09, 0.035))  # the nose tip hangs over
  return moved * front[..., None]


def _fields(xy: np.ndarray, points: np.ndarray, front: np.ndarray) -> dict[str, np.ndarray]:
  """The linear bases: name -> displacement (R, C, 3) for a coefficient of 1 (about one standard
  deviation).
  """
  x, y = xy[..., 0], xy[..., 1]
  px, py, pz = np.moveaxis(points, -1, 0)
  zero = np.zeros_like(x)
  side = np.tanh(x / 0.05)

  def field(dx: np.ndarray = zero, dy: np.ndarray = zero, dz: np.ndarray = zero) -> np.ndarray:
    return np.stack([dx, dy, dz], -1)

  skull = 1 - smoothstep(1.3, 1.9, py)
  lower = smoothstep(0.35, 1.0, py) * skull
  nose = bump(xy, (0, 0.44), (0.13, 0.12)) * front
  eyes = _pair(xy, (0.352, 0.005), (0.15, 0.09)) * front
  brows = _pair(xy, (0.36, -0.19), (0.22, 0.07)) * front
  mouth = bump(xy, (0, 0.745), (0.24, 0.085)) * front
  from_eye = x - 0.352 * side
  fields = {
    "width": field(dx=0.05 * px * skull),
    "height": field(dy=0.05 * np.clip(py, 0, None) * skull),
    "skull": field(dy=0.05 * np.clip(py + 0.2, None, 0)),
    "depth": field(dz=0.05 * pz * skull),
    "jaw": field(dx=0.075 * px * lower),
    "chin": field(dy=0.05 * smoothstep(0.88, 1.2, py) * skull * (pz > -0.5)),
    "chin_width": field(dx=0.035 * side * _pair(xy, (0.25, 1.08), (0.16, 0.14)) * front),
    "chin_depth": field(dz=0.05 * bump(xy, (0, 1.12), (0.22, 0.16)) * front),
    "cheekbones": field(
      dx=0.03 * side * _pair(xy, (0.70, 0.20), (0.16, 0.20)) * front,
      dz=0.02 * _pair(xy, (0.5, 0.25), (0.16, 0.15)) * front,
    ),
    "cheeks": field(
      dx=0.035 * side * _pair(xy, (0.60, 0.65), (0.16, 0.22)) * front,
      dz=0.035 * _pair(xy, (0.42, 0.58), (0.18, 0.20)) * front,
    ),
    "forehead": field(dz=0.05 * bump(xy, (0, -0.55), (0.5, 0.2)) * front),
    "nose_length": field(dy=0.025 * nose),
    "nose_width": field(dx=0.13 * x * bump(xy, (0, 0.46), (0.17, 0.09)) * front),
    "nose_height": field(dz=0.05 * bump(xy, (0, 0.40), (0.08, 0.13)) * front),
    "nose_bridge": field(dz=0.025 * bump(xy, (0, 0.16), (0.07, 0.10)) * front),
    "nose_side": field(dx=0.012 * nose),
    "eye_distance": field(dx=0.013 * side * eyes),
    "eye_size": field(dx=0.05 * from_eye * eyes, dy=0.06 * y * eyes),
    "eye_tilt": field(dy=-0.06 * from_eye * side * eyes),
    "eye_height": field(dy=0.012 * eyes),
    "eye_depth": field(dz=-0.02 * eyes),
    "brow_height": field(dy=-0.018 * brows),
    "brow_ridge": field(dz=0.02 * brows),
    "mouth_width": field(dx=0.07 * x * mouth),
    "mouth_height": field(dy=0.018 * mouth),
    "mouth_side": field(dx=0.012 * mouth),
    "lips": field(dy=0.16 * (y - 0.752) * bump(xy, (0, 0.752), (0.22, 0.06)) * front),
    "lips_depth": field(dz=0.025 * bump(xy, (0, 0.755), (0.17, 0.06)) * front),
    "lopsided": field(dx=0.012 * lower * (pz > -0.6)),
  }
  # The jaw turns about the hinge; the mask is 0 above the line between the lips, 1 below it and
  # blurs beyond the corners.
  line = 0.752 - 0.018 * np.clip(np.abs(x) / 0.3, 0, 1) ** 2
  blur = 0.028 + 0.30 * smoothstep(0.23, 0.62, np.abs(x))
  centre = line + 0.10 * smoothstep(0.25, 0.6, np.abs(x))
  jaw = (
    smoothstep(-1, 1, (y - centre) / blur)
    * (1 - smoothstep(1.27, 1.6, py))
    * smoothstep(-0.75, -0.2, pz)
  )
  inside = np.clip(1 - (x / 0.27) ** 2, 0, None) * np.exp(-(((y - line) / 0.022) ** 2)) * front
  fields["jaw_open"] = field(
    dy=jaw * (pz - _JAW_HINGE[1]), dz=-jaw * 0.6 * (py - _JAW_HINGE[0]) - 0.7 * inside
  )
  for name, sign in (("left", -1), ("right", 1)):  # sides of the picture
    corner = bump(xy, (sign * 0.30, 0.735), (0.11, 0.085)) * front
    cheek = bump(xy, (sign * 0.42, 0.40), (0.14, 0.13)) * front
    brow = bump(xy, (sign * 0.36, -0.21), (0.20, 0.085)) * front
    fields[f"smile_{name}"] = field(
      sign * 0.05 * corner, -0.065 * corner - 0.03 * cheek, -0.035 * corner + 0.03 * cheek
    )
    fields[f"brow_up_{name}"] = field(dy=-0.055 * brow)
    inner = bump(xy, (sign * 0.17, -0.16), (0.10, 0.07)) * front
    fields[f"frown_{name}"] = field(dx=-sign * 0.02 * inner, dy=0.04 * inner, dz=0.01 * inner)
  fields["pucker"] = field(
    dx=-0.22 * x * bump(xy, (0, 0.75), (0.26, 0.12)) * front,
    dz=0.06 * bump(xy, (0, 0.755), (0.14, 0.09)) * front,
  )
  return fields


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
    """Vertices (R, C, 3) float32 of the head with these coefficients; bases not named count as 0."""
    out = self.mean.reshape(-1).copy()
    # One after the other rather than a matrix product, whose last bits depend on the number of BLAS
    # threads.
    for name, basis in zip(self.names, self.bases, strict=True):
      weight = np.float32(coefficients.get(name, 0.0))
      if weight:
        out += weight * basis
    return out.reshape(self.mean.shape)

  def grid_from_chart(self, xy: np.ndarray) -> np.ndarray:
    """(..., 2) chart positions on the face -> (..., 2) fractional column and row."""
    xy = np.asarray(xy, np.float64)
    flat = xy.reshape(-1, 2)
    table_xy = (flat - _LOOKUP_ORIGIN) / _LOOKUP_STEP
    # Bilinear look-up in float64: cv2.remap rounds positions to 1/32 of a cell, which would move
    # landmarks.
    return sample_grid(self.lookup, table_xy).reshape(xy.shape)


def sample_grid(grid: np.ndarray, column_row: np.ndarray) -> np.ndarray:
  """Bilinear values (N, D) float64 of `grid` (R, C, D) at fractional (column, row) positions (N,
  2).
  """
  rows, columns = grid.shape[:2]
  j = np.clip(np.floor(column_row[:, 0]).astype(int), 0, columns - 2)
  i = np.clip(np.floor(column_row[:, 1]).astype(int), 0, rows - 2)
  fx = (column_row[:, 0] - j)[:, None]
  fy = (column_row[:, 1] - i)[:, None]
  top = grid[i, j] * (1 - fx) + grid[i, j + 1] * fx
  low = grid[i + 1, j] * (1 - fx) + grid[i + 1, j + 1] * fx
  return top * (1 - fy) + low * fy


def sample_triangles(grid: np.ndarray, column_row: np.ndarray) -> np.ndarray:
  """Values (N, D) float64 on the two flat triangles of each cell, the surface that is drawn; see
  `raster.rasterise`.
  """
  rows, columns = grid.shape[:2]
  j = np.clip(np.floor(column_row[:, 0]).astype(int), 0, columns - 2)
  i = np.clip(np.floor(column_row[:, 1]).astype(int), 0, rows - 2)
  fx = (column_row[:, 0] - j)[:, None]
  fy = (column_row[:, 1] - i)[:, None]
  a, b, c, d = (
    grid[i + di, j + dj].astype(np.float64) for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1))
  )
  return np.where(
    fx + fy <= 1, a + fx * (b - a) + fy * (c - a), d + (1 - fx) * (c - d) + (1 - fy) * (b - d)
  )


_LOOKUP_ORIGIN = np.array([-0.82, -0.9])
_LOOKUP_STEP = 0.01


def _invert_chart(sections: np.ndarray) -> np.ndarray:
  """Table (Y, X, 2) float32: the column and row at which the tube shows chart position (x, y) in a
  frontal view.
  """
  x = np.arange(-0.82, 0.8201, _LOOKUP_STEP)
  y = np.arange(-0.9, 1.2451, _LOOKUP_STEP)
  gx, gy = np.meshgrid(x, y)
  low, high = np.full_like(gx, 2.0), np.full_like(gx, JAW_EDGE)

  def angle(section: np.ndarray) -> np.ndarray:
    return np.arcsin(np.clip(gx / hermite(_SECTIONS[:, 3:4], section)[..., 0], -0.999, 0.999))

  for _ in range(30):
    middle = (low + high) / 2
    below = tube(angle(middle), middle)[..., 1] < gy
    low, high = np.where(below, middle, low), np.where(below, high, middle)
  rows = np.interp(low, sections, np.arange(len(sections)))
  return np.stack([angle_column(angle(low)), rows], -1).astype(np.float32)


@functools.cache
def head_model() -> HeadModel:
  """Builds the model; takes about half a second, then every call of the process shares it."""
  sections = _row_sections()
  angle = column_angle(np.arange(COLUMNS))
  points = tube(*np.broadcast_arrays(angle[None, :], sections[:, None]))
  chart = points[..., :2]
  # Features fade out towards the side of the head and below the edge of the jaw, where chart
  # positions are reused.
  front = (
    smoothstep(0.05, 0.30, np.cos(angle))[None, :]
    * (1 - smoothstep(JAW_EDGE, 15.5, sections))[:, None]
  )
  mean = points + _relief(chart, front)
  for k in (0, 1, 2):  # interp1d corners of the nose profile become rounded
    mean[..., k] = cv2.GaussianBlur(mean[..., k], (0, 0), 0.7, borderType=cv2.BORDER_REPLICATE)
  fields = _fields(chart, mean, front)
  return HeadModel(
    mean=mean.astype(np.float32),
    chart=chart.astype(np.float32),
    sections=sections,
    names=tuple(fields),
    bases=np.stack([f.reshape(-1) for f in fields.values()]).astype(np.float32),
    front=front.astype(np.float32),
    lookup=_invert_chart(sections),
  )
