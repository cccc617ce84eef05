"""The camera: one projection for vertices and landmarks."""

from dataclasses import dataclass, replace

import numpy as np

NECK = np.array([0.0, 0.95, -0.75])  # the point of the model frame that head and body turn about


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
  """(3, 3) rotation from radians.

  Positive angles turn the face to the image's right, upwards, and clockwise.
  """
  cy, sy = np.cos(yaw), np.sin(yaw)
  cp, sp = np.cos(pitch), np.sin(pitch)
  cr, sr = np.cos(roll), np.sin(roll)

  about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
  about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
  about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
  return about_z @ about_x @ about_y


def turn(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Multiplies points (..., 3) by a (3, 3) matrix in their dtype.

  Without BLAS, whose threads may change the last bits.
  """
  x, y, z = (points[..., k].copy() for k in range(3))
  m = matrix.astype(points.dtype)
  return np.stack([x * m[k, 0] + y * m[k, 1] + z * m[k, 2] for k in range(3)], -1)


@dataclass(frozen=True)
class Camera:
  """A pinhole camera in front of a turned head.

  Attributes:
    head: (3, 3) rotation of the head.
    body: (3, 3) rotation of the shoulders.
    distance: from the neck to the camera, model units.
    scale: image px per model unit at the distance of the neck.
    offset: (2,) image px, pixel-centre, where the neck appears.
  """

  head: np.ndarray
  body: np.ndarray
  distance: float
  scale: float = 1.0
  offset: tuple[float, float] = (0.0, 0.0)

  def place(self, points: np.ndarray, bend: np.ndarray | float = 0.0) -> np.ndarray:
    """Moves points to the camera frame: the same axes with the origin at the neck.

    Args:
      points: (..., 3) model frame.
      bend: (...,) 0 for what moves with the head .. 1 for what moves with the body.

    Returns:
      (..., 3) camera frame.
    """
    centred = points - NECK.astype(points.dtype)
    turned = turn(centred, self.head)
    if np.isscalar(bend):
      return turned
    return turned + np.asarray(bend, points.dtype)[..., None] * turn(centred, self.body - self.head)

  def project(self, placed: np.ndarray) -> np.ndarray:
    """Camera frame (..., 3) -> image px (..., 2)."""
    magnify = self.scale * self.distance / (self.distance - placed[..., 2:3])
    return placed[..., :2] * magnify + np.asarray(self.offset, placed.dtype)

  def depth(self, placed: np.ndarray) -> np.ndarray:
    """Camera frame (..., 3) -> distance along the optical axis (...,), model units."""
    return self.distance - placed[..., 2]

  def framed(self, points: np.ndarray, centre: np.ndarray, extent: float) -> "Camera":
    """The same view, moved so that some points fill a box.

    Args:
      points: (N, 2) px of this camera.
      centre: (2,) of the box around them, image px.
      extent: larger side of that box, px.

    Returns:
      The moved camera.
    """
    low, high = points.min(0), points.max(0)
    grow = extent / float((high - low).max())
    middle = (low + high) / 2
    offset = (np.asarray(self.offset) - middle) * grow + centre
    return replace(self, scale=self.scale * grow, offset=(float(offset[0]), float(offset[1])))
