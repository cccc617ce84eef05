"""What surrounds the face: ears, hair and shoulders, as further rows below the grid of the head."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from tfds_builders.synthetic_faces.head import (
  COLUMNS,
  column_angle,
  head_model,
  hermite,
  smoothstep,
)

EAR_ROWS, HAIR_ROWS, TORSO_ROWS = 14, 40, 14
_SKULL_CENTRE = np.array([0.0, -0.35, -0.80], np.float32)
_HALF = (
  COLUMNS // 2
  # the first half of an ear row is the left ear, the second the right one; the column between is a
  # seam
)
_SHOULDERS = np.array(
  [  # half-width, height at the side, height in front, depth
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
class HairStyle:
  """How the hair grows; angles are measured from the mid-line of the face.

  Attributes:
    volume: height of the hair above the skull in model units.
    hairline: lowering of the line over the forehead, in sections of the head (negative: receding).
    length: height y in the model at which long hair ends; below the ears only if above 0.6.
    curtain: angle (degrees) from which long hair hangs down.
    quiff: extra height over the forehead.
    curl: 0 straight .. 1 curly.
    ragged: how uneven the lower end is, as a fraction of the hair's length.
    bald: no hair at all.
  """

  volume: float = 0.07
  hairline: float = 0.0
  length: float = 0.0
  curtain: float = 80.0
  quiff: float = 0.0
  curl: float = 0.0
  ragged: float = 0.05
  bald: bool = False


@dataclass(frozen=True)
class Layout:
  """Where each part lies on the joint grid; all slices are over rows."""

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
  rows = head_model().shape[0]
  ends = np.cumsum([rows, EAR_ROWS, HAIR_ROWS, TORSO_ROWS])
  parts = [slice(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
  cells = np.ones((int(ends[-1]) - 1, COLUMNS - 1), bool)
  cells[ends[:-1] - 1] = False
  cells[parts[1], _HALF - 1 : _HALF + 1] = False
  two_sided = np.zeros(int(ends[-1]), bool)
  two_sided[parts[1]] = two_sided[parts[2]] = True
  head, ears_, hair_, torso_ = parts
  return Layout(head, ears_, hair_, torso_, rows=int(ends[-1]), cells=cells, two_sided=two_sided)


def ears(size: float, flare: float, head: np.ndarray) -> np.ndarray:
  """Vertices (EAR_ROWS, COLUMNS, 3) of both ears.

  Args:
    size: 1 is average.
    flare: angle between ear and skull in radians.
    head: (R, C, 3) vertices of the head they sit on.
  """
  model = head_model()
  phi = np.linspace(0, 2 * np.pi, _HALF)[None, :]
  rho = np.linspace(0, 1, EAR_ROWS)[:, None]
  low = np.clip(np.sin(phi), 0, 1)  # 1 at the lobe
  back = 0.20 + rho * np.cos(phi) * 0.20 * (1 - 0.38 * low)
  down = rho * np.sin(phi) * 0.33
  up = 1 - smoothstep(0.1, 0.25, down)
  rim, inner_rim = (
    np.exp(-(((rho - 0.87) / 0.09) ** 2)),
    np.exp(-(((rho - 0.52) / 0.12) ** 2)) * (np.cos(phi) > -0.3),
  )
  height = (
    0.035 * up * (rim + inner_rim)
    - 0.07 * np.exp(-((rho / 0.38) ** 2))
    - 0.05 * smoothstep(0.9, 1.0, rho)
  )
  out = np.zeros((EAR_ROWS, COLUMNS, 3), np.float32)
  row = int(np.searchsorted(model.sections, 7.2))
  for sign, columns in ((-1, slice(0, _HALF)), (1, slice(_HALF + 1, None))):
    column = int(np.argmin(np.abs(column_angle(np.arange(COLUMNS)) - sign * np.radians(86))))
    root = head[row, column] + np.array([-sign * 0.035, 0.02, 0.0], np.float32)
    outward = np.array([sign * np.cos(flare), 0, np.sin(flare)])
    rearward = np.array([sign * np.sin(flare), -0.12, -np.cos(flare)])
    upright = np.array([-sign * 0.05, 1.0, 0.12])
    out[:, columns] = root + size * (
      back[..., None] * rearward + down[..., None] * upright + height[..., None] * outward
    )
  out[:, _HALF] = out[:, _HALF - 1]
  return out


def _hangs(style: HairStyle) -> np.ndarray:
  """(COLUMNS,) 1 where long hair hangs down, 0 where it ends on the head."""
  angle = np.degrees(np.abs(column_angle(np.arange(COLUMNS))))
  return smoothstep(style.curtain - 8, style.curtain + 4, angle) * (style.length > 0.6)


def hair_end(style: HairStyle) -> np.ndarray:
  """(COLUMNS,) the section of the head at which hair ends or stops lying on the skull."""
  angle = np.degrees(np.abs(column_angle(np.arange(COLUMNS))))
  around = [
    0,
    30,
    50,
    64,
    72,
    80,
    86,
    108,
    122,
    150,
    180,
  ]  # forehead, temple, sideburn, above the ear, nape
  end = np.interp(angle, around, [3.6, 3.65, 4.1, 5.2, 6.6, 6.9, 5.2, 5.2, 8.2, 10.0, 10.4])
  end += style.hairline * (
    smoothstep(62, 35, angle) if style.hairline >= 0 else smoothstep(75, 50, angle)
  )
  hangs = _hangs(style)
  return end * (1 - hangs) + np.minimum(end, 6.3) * hangs


def hair(style: HairStyle, head: np.ndarray, relief: np.ndarray) -> np.ndarray:
  """Vertices (HAIR_ROWS, COLUMNS, 3) of the hair as one sheet from the crown to its ends.

  Args:
    style: the style.
    head: (R, C, 3) vertices of the head below.
    relief: (HAIR_ROWS, COLUMNS) noise of about unit variance that makes locks.
  """
  model = head_model()
  angle = np.degrees(np.abs(column_angle(np.arange(COLUMNS))))
  hangs = _hangs(style)
  on_head = hair_end(style)
  t = np.linspace(0, 1, HAIR_ROWS)[:, None]
  split = 1 - 0.52 * hangs  # this part of a lock lies on the skull, the rest hangs
  section = 0.02 + on_head * np.minimum(t / split, 1.0)
  row = np.interp(section, model.sections, np.arange(model.shape[0]))
  i = np.clip(row.astype(int), 0, model.shape[0] - 2)
  f = (row - i).astype(np.float32)[..., None]
  columns = np.arange(COLUMNS)
  base = head[i, columns] * (1 - f) + head[i + 1, columns] * f
  outward = base - _SKULL_CENTRE
  outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
  lift = style.volume * (1 - 0.75 * smoothstep(0.55, 1.0, t) * (1 - hangs)) + 0.012
  lift = lift + style.quiff * np.exp(-((angle / 40) ** 2)) * np.exp(-(((t - 0.8) / 0.25) ** 2))
  lift = lift * (1 + (0.10 + 0.22 * style.curl) * relief)
  points = base + outward * lift[..., None].astype(np.float32)
  fall = np.clip((t - split) / (1 - split + 1e-6), 0, 1) * hangs
  points[..., 1] += (fall * np.clip(style.length - points[-1:, :, 1], 0, None)).astype(np.float32)
  sway = (0.05 * relief * fall + 0.05 * np.sin(fall * 5.0) * fall).astype(np.float32)
  points[..., [0, 2]] += outward[..., [0, 2]] * sway[..., None]
  return points


@functools.cache
def torso() -> np.ndarray:
  """Vertices (TORSO_ROWS, COLUMNS, 3) of neck-line and shoulders."""
  width, side, front, depth = np.moveaxis(
    hermite(_SHOULDERS, np.linspace(0, len(_SHOULDERS) - 1, TORSO_ROWS)), -1, 0
  )[..., None]
  angle = column_angle(np.arange(COLUMNS))[None, :]
  c = np.cos(angle)
  y = side + (front - side) * np.clip(c, 0, None) ** 2 - 0.1 * np.clip(-c, 0, None)
  return np.stack([width * np.sin(angle), y, -0.74 + depth * c], -1).astype(np.float32)


def assemble(head: np.ndarray, ear: np.ndarray, locks: np.ndarray) -> np.ndarray:
  """All vertices (R, C, 3) float32 on the joint grid."""
  return np.concatenate([head, ear, locks, torso()]).astype(np.float32)


def normals(vertices: np.ndarray) -> np.ndarray:
  """Unit normals (R, C, 3) float32 of the joint grid, computed per patch, pointing out of the head."""
  out = np.empty_like(vertices)
  parts = layout()
  for rows in (parts.head, parts.hair, parts.torso):
    patch = np.concatenate(
      [vertices[rows, -2:-1], vertices[rows], vertices[rows, 1:2]], axis=1
    )  # closed behind
    out[rows] = patch_normals(patch)[:, 1:-1]
  for columns in (slice(0, _HALF), slice(_HALF + 1, None)):
    ear = vertices[parts.ears, columns]
    normal = patch_normals(ear)
    side = np.sign(ear[..., 0].mean())
    out[parts.ears, columns] = normal * np.sign(normal[3, :, 0].mean() * side)
  out[parts.ears, _HALF] = 0
  return out


def patch_normals(patch: np.ndarray) -> np.ndarray:
  """Unit normals (R, C, 3) of one patch by central differences; rows run down and columns to the
  right as seen from outside.
  """
  along = np.empty_like(patch)
  along[:, 1:-1] = patch[:, 2:] - patch[:, :-2]
  along[:, 0], along[:, -1] = patch[:, 1] - patch[:, 0], patch[:, -1] - patch[:, -2]
  down = np.empty_like(patch)
  down[1:-1] = patch[2:] - patch[:-2]
  down[0], down[-1] = patch[1] - patch[0], patch[-1] - patch[-2]
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


def locks_relief(key: np.random.Generator, curl: float) -> np.ndarray:
  """(HAIR_ROWS, COLUMNS) float32 noise for `hair`: vertical locks, or curls."""
  rows, columns = (4, 28) if curl < 0.4 else (14, 48)
  noise = cv2.resize(
    key.standard_normal((rows, columns), dtype=np.float32),
    (COLUMNS, HAIR_ROWS),
    interpolation=cv2.INTER_CUBIC,
  )
  return np.clip(noise, -2, 2)
