"""The joint grid: the head, and below it in further rows ears, hair and shoulders."""

import functools
from dataclasses import dataclass

import numpy as np

from tfds_builders.synthetic_faces.hair import HAIR_ROWS
from tfds_builders.synthetic_faces.head import head_model
from tfds_builders.synthetic_faces.tube import (
  COLUMNS,
  EAR_DEGREES,
  column_angle,
  hermite,
  smoothstep,
)

EAR_ROWS = 14
TORSO_ROWS = 14

# The first half of an ear row is the left ear, the second the right one; the column between is a
# seam.
_HALF = COLUMNS // 2

# Half-width, height at the side, height in front, depth.
_SHOULDERS = np.array(
  [
    [0.50, 1.50, 1.62, 0.40],
    [0.54, 1.58, 1.70, 0.44],
    [0.75, 1.72, 1.86, 0.52],
    [1.25, 1.90, 2.05, 0.62],
    [1.70, 2.10, 2.30, 0.68],
    [1.92, 2.45, 2.70, 0.72],
    [2.02, 3.10, 3.20, 0.75],
    [2.05, 4.60, 4.60, 0.78],
  ]
)


@dataclass(frozen=True)
class Layout:
  """Where each part lies on the joint grid.

  Attributes:
    head: rows of the head.
    ears: rows of the ears.
    hair: rows of the hair.
    torso: rows of neck-line and shoulders.
    rows: R, of all parts together.
    cells: (R - 1, COLUMNS - 1) bool, whether a cell belongs to a part.
    two_sided: (R,) bool, whether a row is also seen from behind.
  """

  head: slice
  ears: slice
  hair: slice
  torso: slice
  rows: int
  cells: np.ndarray
  two_sided: np.ndarray


@functools.cache
def layout() -> Layout:
  """The joint grid: head, ears, hair, shoulders from top to bottom."""
  ends = np.cumsum([head_model().shape[0], EAR_ROWS, HAIR_ROWS, TORSO_ROWS])
  starts = [0, *ends[:-1]]
  rows = int(ends[-1])
  head, ears, hair, torso = (slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True))

  cells = np.ones((rows - 1, COLUMNS - 1), bool)
  cells[ends[:-1] - 1] = False
  cells[ears, _HALF - 1 : _HALF + 1] = False
  two_sided = np.zeros(rows, bool)
  two_sided[ears] = True
  two_sided[hair] = True
  return Layout(head, ears, hair, torso, rows=rows, cells=cells, two_sided=two_sided)


def ears(size: float, flare: float, head: np.ndarray) -> np.ndarray:
  """The vertices of both ears.

  Args:
    size: 1 is average.
    flare: angle between ear and skull in radians.
    head: (R, C, 3) vertices of the head they sit on, model frame.

  Returns:
    (EAR_ROWS, COLUMNS, 3) float32, model frame.
  """
  model = head_model()
  phi = np.linspace(0, 2 * np.pi, _HALF)[None, :]
  rho = np.linspace(0, 1, EAR_ROWS)[:, None]

  # A disc about the ear's middle: backwards, downwards, and out of its plane.
  low = np.clip(np.sin(phi), 0, 1)  # 1 at the lobe
  back = 0.20 + rho * np.cos(phi) * 0.20 * (1 - 0.38 * low)
  down = rho * np.sin(phi) * 0.33
  up = 1 - smoothstep(0.1, 0.25, down)
  rim = np.exp(-(((rho - 0.87) / 0.09) ** 2))
  inner_rim = np.exp(-(((rho - 0.52) / 0.12) ** 2)) * (np.cos(phi) > -0.3)
  hollow = 0.07 * np.exp(-((rho / 0.38) ** 2))
  height = 0.035 * up * (rim + inner_rim) - hollow - 0.05 * smoothstep(0.9, 1.0, rho)

  out = np.zeros((EAR_ROWS, COLUMNS, 3), np.float32)
  row = int(np.searchsorted(model.sections, 7.2))
  for sign, columns in ((-1, slice(0, _HALF)), (1, slice(_HALF + 1, None))):
    at = sign * np.radians(EAR_DEGREES)
    column = int(np.argmin(np.abs(column_angle(np.arange(COLUMNS)) - at)))
    root = head[row, column] + np.array([-sign * 0.035, 0.02, 0.0], np.float32)
    outward = np.array([sign * np.cos(flare), 0, np.sin(flare)])
    rearward = np.array([sign * np.sin(flare), -0.12, -np.cos(flare)])
    upright = np.array([-sign * 0.05, 1.0, 0.12])
    out[:, columns] = root + size * (
      back[..., None] * rearward + down[..., None] * upright + height[..., None] * outward
    )
  out[:, _HALF] = out[:, _HALF - 1]
  return out


@functools.cache
def torso() -> np.ndarray:
  """Vertices (TORSO_ROWS, COLUMNS, 3) float32 of neck-line and shoulders, model frame."""
  at = np.linspace(0, len(_SHOULDERS) - 1, TORSO_ROWS)
  width, side, front, depth = np.moveaxis(hermite(_SHOULDERS, at), -1, 0)[..., None]
  angle = column_angle(np.arange(COLUMNS))[None, :]
  c = np.cos(angle)
  y = side + (front - side) * np.clip(c, 0, None) ** 2 - 0.1 * np.clip(-c, 0, None)
  return np.stack([width * np.sin(angle), y, -0.74 + depth * c], -1).astype(np.float32)


def assemble(head: np.ndarray, ear: np.ndarray, locks: np.ndarray) -> np.ndarray:
  """All vertices (R, C, 3) float32 on the joint grid, of those of its parts, (rows, C, 3) each."""
  return np.concatenate([head, ear, locks, torso()]).astype(np.float32)


def normals(vertices: np.ndarray) -> np.ndarray:
  """Unit normals of the joint grid, computed per patch, pointing out of the head.

  Args:
    vertices: (R, C, 3) float32.

  Returns:
    (R, C, 3) float32.
  """
  out = np.empty_like(vertices)
  parts = layout()
  for rows in (parts.head, parts.hair, parts.torso):
    part = vertices[rows]
    closed = np.concatenate([part[:, -2:-1], part, part[:, 1:2]], axis=1)  # behind
    out[rows] = patch_normals(closed)[:, 1:-1]

  for columns in (slice(0, _HALF), slice(_HALF + 1, None)):
    ear = vertices[parts.ears, columns]
    normal = patch_normals(ear)
    side = np.sign(ear[..., 0].mean())
    out[parts.ears, columns] = normal * np.sign(normal[3, :, 0].mean() * side)
  out[parts.ears, _HALF] = 0
  return out


def patch_normals(patch: np.ndarray) -> np.ndarray:
  """Unit normals of one patch by central differences.

  Args:
    patch: (R, C, 3); rows run down and columns to the right as seen from outside.

  Returns:
    (R, C, 3), of the same dtype.
  """
  along = np.empty_like(patch)
  along[:, 1:-1] = patch[:, 2:] - patch[:, :-2]
  along[:, 0] = patch[:, 1] - patch[:, 0]
  along[:, -1] = patch[:, -1] - patch[:, -2]

  down = np.empty_like(patch)
  down[1:-1] = patch[2:] - patch[:-2]
  down[0] = patch[1] - patch[0]
  down[-1] = patch[-1] - patch[-2]

  # x to the right, y down, z to the viewer is a left-handed frame, so this order points outwards.
  normal = np.stack(
    [
      along[..., 2] * down[..., 1] - along[..., 1] * down[..., 2],
      along[..., 0] * down[..., 2] - along[..., 2] * down[..., 0],
      along[..., 1] * down[..., 0] - along[..., 0] * down[..., 1],
    ],
    -1,
  )
  normal *= -1

  length = np.sqrt((normal * normal).sum(-1, keepdims=True))
  return normal / np.maximum(length, 1e-9)
