"""The featureless head: one smooth tube from the crown to the neck, and the grid that covers it.

Model frame: x to the right and y downwards as the viewer of a frontal face sees them, z towards the
viewer; the unit is the distance between the outer eye corners, the origin lies midway between them.
"""

import numpy as np

# Around the head; column 60 is the mid-line of the face, the first and the last meet at the back.
COLUMNS = 121
EAR_DEGREES = 86  # angle from the mid-line at which the ears are rooted
JAW_EDGE = 13.3  # section at which the face turns into the underside of the jaw

# Rows of key cross-sections from the crown to the base of the neck: height and depth of the
# mid-line in front, height, half-width and depth at the side, height and depth of the mid-line at
# the back.
SECTIONS = np.array(
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


def hermite(values: np.ndarray, at: np.ndarray) -> np.ndarray:
  """Evaluates the Catmull-Rom curve through some values.

  Args:
    values: (N, D).
    at: (...,) parameters in 0..N-1.

  Returns:
    (..., D) float64.
  """
  values = np.asarray(values, np.float64)
  # What np.gradient computes, which takes ten times as long on tables as short as these.
  slopes = np.empty_like(values)
  slopes[1:-1] = (values[2:] - values[:-2]) / 2
  slopes[0], slopes[-1] = values[1] - values[0], values[-1] - values[-2]

  i = np.clip(np.floor(at).astype(int), 0, len(values) - 2)
  t = (np.asarray(at) - i)[..., None]
  return (
    (2 * t**3 - 3 * t**2 + 1) * values[i]
    + (t**3 - 2 * t**2 + t) * slopes[i]
    + (3 * t**2 - 2 * t**3) * values[i + 1]
    + (t**3 - t**2) * slopes[i + 1]
  )


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
  """0 below `low`, 1 above `high`, smooth between; the shape of `x`."""
  t = np.clip((x - low) / (high - low), 0.0, 1.0)
  return t * t * (3 - 2 * t)


def tube(angle: np.ndarray, section: np.ndarray) -> np.ndarray:
  """Points of the featureless head.

  Args:
    angle: (...,) from the mid-line, radians.
    section: (...,) number of the section, 0..18, fractional.

  Returns:
    (..., 3) float64, model frame.
  """
  y0, z0, ys, a, zs, yb, zb = np.moveaxis(hermite(SECTIONS, section), -1, 0)
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
  at = np.interp(angle, np.pi * (0.58 * s + 0.42 * s**3), s)
  return at * (COLUMNS - 1) / 2 + (COLUMNS - 1) / 2


def row_sections() -> np.ndarray:
  """(R,) section number of every row of the grid.

  Rows are about 0.02 apart on the face, 0.05 on the skull and 0.08 on the neck.
  """
  fine = np.linspace(0, len(SECTIONS) - 1, 6000)
  front = tube(np.zeros_like(fine), fine)

  step = np.linalg.norm(np.diff(front, axis=0), axis=1)
  spacing = np.interp(
    fine[1:], [0, 4, 5, 8, 9, 13.5, 15, 18], [0.07, 0.05, 0.022, 0.018, 0.02, 0.02, 0.04, 0.12]
  )

  count = np.concatenate([[0], np.cumsum(step / spacing)])
  return np.interp(np.linspace(0, count[-1], round(count[-1]) + 1), count, fine)
