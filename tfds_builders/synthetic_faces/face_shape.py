"""What makes a face of the tube: the mean relief, and the linear bases of identity and expression.

Seen from the front without perspective, a point of the mean head drawn at chart position (x, y)
appears at (x, y); the numbers are chosen so that this agrees with the average proportions of
annotated photographs.
"""

from collections.abc import Callable

import numpy as np

from tfds_builders.synthetic_faces.tube import smoothstep

_JAW_HINGE = np.array([0.10, -0.72])  # y, z of the axis the jaw opens about


def bump(xy: np.ndarray, centre: tuple[float, float], sigma: tuple[float, float]) -> np.ndarray:
  """A Gaussian hill of height 1 in chart coordinates: (..., 2) -> (...,)."""
  dx = (xy[..., 0] - centre[0]) / sigma[0]
  dy = (xy[..., 1] - centre[1]) / sigma[1]
  return np.exp(-0.5 * (dx**2 + dy**2))


def bump_pair(
  xy: np.ndarray, centre: tuple[float, float], sigma: tuple[float, float]
) -> np.ndarray:
  """A `bump` and its mirror image on the other half of the face."""
  return bump(xy, centre, sigma) + bump(xy, (-centre[0], centre[1]), sigma)


def relief(xy: np.ndarray, front: np.ndarray) -> np.ndarray:
  """The displacement that turns the tube into the mean face.

  Args:
    xy: (R, C, 2) chart positions.
    front: (R, C) 1 on the face, 0 on the back of the head.

  Returns:
    (R, C, 3) float64, model units.
  """
  x, y = xy[..., 0], xy[..., 1]

  # Eye sockets, eyeballs behind the lids, brow ridge, cheeks.
  z = -0.085 * bump_pair(xy, (0.32, 0.0), (0.17, 0.10))
  z += 0.055 * bump_pair(xy, (0.352, 0.0), (0.10, 0.065))
  z += 0.045 * bump_pair(xy, (0.33, -0.19), (0.24, 0.055))
  cheek = 0.05 * bump_pair(xy, (0.45, 0.30), (0.17, 0.15))
  z += cheek - 0.03 * bump_pair(xy, (0.52, 0.66), (0.14, 0.16))

  # The nose: its ridge, its wings and the nostrils.
  ridge = np.interp(
    y,
    [-0.25, -0.05, 0.10, 0.25, 0.38, 0.43, 0.47, 0.51, 0.55, 0.60],
    [0.0, 0.045, 0.105, 0.19, 0.275, 0.29, 0.26, 0.15, 0.045, 0.0],
  )
  width = np.interp(y, [-0.25, 0.0, 0.25, 0.42, 0.5, 0.6], [0.12, 0.085, 0.092, 0.105, 0.105, 0.09])
  z += ridge * np.exp(-(np.abs(x / width) ** 2.2) * 0.6)
  z += 0.09 * bump_pair(xy, (0.118, 0.452), (0.042, 0.045))
  z -= 0.03 * bump_pair(xy, (0.185, 0.47), (0.022, 0.06))
  z -= 0.05 * bump_pair(xy, (0.068, 0.512), (0.028, 0.018))

  # Upper lip and philtrum, then the red of both lips and the line between them.
  lip_roll = 0.045 * bump(xy, (0, 0.68), (0.20, 0.07))
  z += lip_roll - 0.012 * bump(xy, (0, 0.61), (0.022, 0.05))
  lip = np.clip(1 - (x / 0.30) ** 2, 0, None)
  upper = 0.045 * np.exp(-(((y - 0.712) / 0.026) ** 2))
  lower = 0.05 * np.exp(-(((y - 0.805) / 0.036) ** 2))
  z += lip * (upper + lower)
  z -= 0.03 * lip * np.exp(-(((y - 0.753) / 0.012) ** 2))
  z -= 0.03 * bump_pair(xy, (0.315, 0.74), (0.03, 0.04))

  # Chin and temples.
  fold = 0.045 * bump(xy, (0, 0.93), (0.16, 0.045))
  z -= fold - 0.075 * bump(xy, (0, 1.10), (0.15, 0.085))
  z -= 0.04 * bump_pair(xy, (0.72, -0.30), (0.12, 0.16))

  displacement = np.zeros((*xy.shape[:-1], 3))
  displacement[..., 2] = z
  displacement[..., 1] = 0.022 * bump(xy, (0, 0.47), (0.09, 0.035))  # the nose tip hangs over
  return displacement * front[..., None]


def bases(xy: np.ndarray, points: np.ndarray, front: np.ndarray) -> dict[str, np.ndarray]:
  """The linear bases of identity and expression.

  Args:
    xy: (R, C, 2) chart positions.
    points: (R, C, 3) mean head, model frame.
    front: (R, C) 1 on the face, 0 on the back of the head.

  Returns:
    Name -> (R, C, 3) displacement for a coefficient of 1, about one standard deviation.
  """
  return _identity(xy, points, front) | _expression(xy, points, front)


def _fields_like(like: np.ndarray) -> Callable[..., np.ndarray]:
  """A function of dx, dy, dz, each (R, C) or left out, that makes a displacement (R, C, 3)."""
  zero = np.zeros_like(like)

  def field(dx: np.ndarray = zero, dy: np.ndarray = zero, dz: np.ndarray = zero) -> np.ndarray:
    return np.stack([dx, dy, dz], -1)

  return field


def _identity(xy: np.ndarray, points: np.ndarray, front: np.ndarray) -> dict[str, np.ndarray]:
  """What differs between people; arguments and result as in `bases`."""
  x, y = xy[..., 0], xy[..., 1]
  px, py, pz = np.moveaxis(points, -1, 0)
  side = np.tanh(x / 0.05)
  field = _fields_like(x)

  skull = 1 - smoothstep(1.3, 1.9, py)
  lower = smoothstep(0.35, 1.0, py) * skull
  nose = bump(xy, (0, 0.44), (0.13, 0.12)) * front
  eyes = bump_pair(xy, (0.352, 0.005), (0.15, 0.09)) * front
  brows = bump_pair(xy, (0.36, -0.19), (0.22, 0.07)) * front
  mouth = bump(xy, (0, 0.745), (0.24, 0.085)) * front
  from_eye = x - 0.352 * side

  return {
    "width": field(dx=0.05 * px * skull),
    "height": field(dy=0.05 * np.clip(py, 0, None) * skull),
    "skull": field(dy=0.05 * np.clip(py + 0.2, None, 0)),
    "depth": field(dz=0.05 * pz * skull),
    "jaw": field(dx=0.075 * px * lower),
    "chin": field(dy=0.05 * smoothstep(0.88, 1.2, py) * skull * (pz > -0.5)),
    "chin_width": field(dx=0.035 * side * bump_pair(xy, (0.25, 1.08), (0.16, 0.14)) * front),
    "chin_depth": field(dz=0.05 * bump(xy, (0, 1.12), (0.22, 0.16)) * front),
    "cheekbones": field(
      dx=0.03 * side * bump_pair(xy, (0.70, 0.20), (0.16, 0.20)) * front,
      dz=0.02 * bump_pair(xy, (0.5, 0.25), (0.16, 0.15)) * front,
    ),
    "cheeks": field(
      dx=0.035 * side * bump_pair(xy, (0.60, 0.65), (0.16, 0.22)) * front,
      dz=0.035 * bump_pair(xy, (0.42, 0.58), (0.18, 0.20)) * front,
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
    "ears_back": field(dz=-0.18 * np.exp(-(((pz + 0.72) / 0.42) ** 2)) * skull),
  }


def _expression(xy: np.ndarray, points: np.ndarray, front: np.ndarray) -> dict[str, np.ndarray]:
  """What a person does with the face; arguments and result as in `bases`."""
  x, y = xy[..., 0], xy[..., 1]
  _, py, pz = np.moveaxis(points, -1, 0)
  field = _fields_like(x)

  # The jaw turns about the hinge; the mask is 0 above the line between the lips, 1 below it and
  # blurs beyond the corners.
  line = 0.752 - 0.018 * np.clip(np.abs(x) / 0.3, 0, 1) ** 2
  blur = 0.028 + 0.30 * smoothstep(0.23, 0.62, np.abs(x))
  centre = line + 0.10 * smoothstep(0.25, 0.6, np.abs(x))
  below = smoothstep(-1, 1, (y - centre) / blur)
  jaw = below * (1 - smoothstep(1.27, 1.6, py)) * smoothstep(-0.75, -0.2, pz)
  inside = np.clip(1 - (x / 0.27) ** 2, 0, None) * np.exp(-(((y - line) / 0.022) ** 2)) * front
  fields = {
    "jaw_open": field(
      dy=jaw * (pz - _JAW_HINGE[1]), dz=-jaw * 0.6 * (py - _JAW_HINGE[0]) - 0.7 * inside
    )
  }

  for name, sign in (("left", -1), ("right", 1)):  # sides of the image
    corner = bump(xy, (sign * 0.30, 0.735), (0.11, 0.085)) * front
    cheek = bump(xy, (sign * 0.42, 0.40), (0.14, 0.13)) * front
    brow = bump(xy, (sign * 0.36, -0.21), (0.20, 0.085)) * front
    inner = bump(xy, (sign * 0.17, -0.16), (0.10, 0.07)) * front
    fields[f"smile_{name}"] = field(
      sign * 0.05 * corner, -0.065 * corner - 0.03 * cheek, -0.035 * corner + 0.03 * cheek
    )
    fields[f"brow_up_{name}"] = field(dy=-0.055 * brow)
    fields[f"frown_{name}"] = field(dx=-sign * 0.02 * inner, dy=0.04 * inner, dz=0.01 * inner)

  fields["pucker"] = field(
    dx=-0.22 * x * bump(xy, (0, 0.75), (0.26, 0.12)) * front,
    dz=0.06 * bump(xy, (0, 0.755), (0.14, 0.09)) * front,
  )
  return fields
