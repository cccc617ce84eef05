"""Light on the joint grid: diffuse with a soft terminator, gloss, and a shadow map."""

from dataclasses import dataclass

import cv2
import numpy as np

from tfds_builders.synthetic_faces import body
from tfds_builders.synthetic_faces.camera import turn
from tfds_builders.synthetic_faces.raster import Raster
from tfds_builders.synthetic_faces.texels import DETAIL

_ROWS, _WIDTH = 24, 512  # of the blocks that are shaded at a time
_LINEAR = ((np.arange(256) / 255.0) ** 2).astype(np.float32)


@dataclass(frozen=True)
class Light:
  """One lamp and the light of the surroundings, linear colours.

  Attributes:
    direction: (3,) unit vector to the lamp, camera frame (x right, y down, z to the camera).
    lamp: (3,) its colour.
    above: (3,) light from above.
    below: (3,) light from below.
    rim: (3,) direction to a second, weaker lamp.
    rim_colour: (3,) its colour.
    softness: 0 hard .. 1 overcast: how much the lamp reaches around and into shadow.
  """

  direction: np.ndarray
  lamp: np.ndarray
  above: np.ndarray
  below: np.ndarray
  rim: np.ndarray
  rim_colour: np.ndarray
  softness: float


def shadow(placed: np.ndarray, direction: np.ndarray, skip: np.ndarray) -> np.ndarray:
  """How much each vertex lies in the shadow of others.

  Args:
    placed: (R, C, 3) vertices, camera frame.
    direction: (3,) unit vector to the lamp.
    skip: (R,) bool rows that throw no shadow.

  Returns:
    (R, C) float32 in 0..1.
  """
  # What the lamp sees, on a coarse raster.
  side = np.cross(direction, [0.0, 1.0, 0.0])
  side /= np.linalg.norm(side)
  up = np.cross(side, direction)
  seen = turn(placed, np.stack([side, up, direction]))
  size, cell = 112, 0.036  # px, model units per px

  column = np.clip(((seen[..., 0] + 2.0) / cell).astype(np.int32), 0, size - 1)
  row = np.clip(((seen[..., 1] + 2.0) / cell).astype(np.int32), 0, size - 1)
  nearest = np.full(size * size, -9.0, np.float32)
  index = row * size + column
  np.maximum.at(nearest, index[~skip].ravel(), seen[~skip][..., 2].ravel())
  raster = nearest.reshape(size, size)
  closed = np.asarray(cv2.morphologyEx(raster, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))

  behind = closed.ravel()[index] - seen[..., 2]
  return cv2.GaussianBlur(np.clip((behind - 0.07) / 0.06, 0, 1), (0, 0), 1.6)


def shade(
  raster: Raster,
  texture: np.ndarray,
  normals: np.ndarray,
  shadows: np.ndarray,
  light: Light,
  *,
  gloss: float,
) -> np.ndarray:
  """Colours the pixels that show something.

  Args:
    raster: what is seen, N pixels.
    texture: uint8 sRGB, see `texture.paint`.
    normals: (R, C, 3) float32, camera frame.
    shadows: (R, C) float32 from `shadow`.
    light: lamps.
    gloss: strength of the reflection on skin.

  Returns:
    (N, 3) float32, sRGB 0..255 and more where it is over-exposed.
  """
  field = np.concatenate([normals, shadows[..., None]], -1)
  count = len(raster.pixel)
  colours = np.empty((count, 3), np.float32)

  # In blocks that fit the processor's cache.
  for start in range(0, count, _ROWS * _WIDTH):
    part = slice(start, min(start + _ROWS * _WIDTH, count))
    n = part.stop - part.start
    # cv2.remap takes images, not lists: fold the list into rows.
    grid = np.resize(raster.grid[part], (-(-n // _WIDTH), _WIDTH, 2))
    column = np.ascontiguousarray(grid[..., 0])
    row = np.ascontiguousarray(grid[..., 1])

    albedo = cv2.remap(texture, column * DETAIL, row * DETAIL, cv2.INTER_LINEAR).reshape(-1, 3)[:n]
    surface = cv2.remap(field, column, row, cv2.INTER_LINEAR).reshape(-1, 4)[:n]
    colours[part] = _lit(
      albedo, surface, raster.reverse[part], raster.grid[part, 1], light, gloss=gloss
    )
  return colours


def _lit(
  albedo: np.ndarray,
  surface: np.ndarray,
  reverse: np.ndarray,
  row: np.ndarray,
  light: Light,
  *,
  gloss: float,
) -> np.ndarray:
  """The light that points reflect.

  Args:
    albedo: (n, 3) uint8 sRGB.
    surface: (n, 4) float32, normal in the camera frame, not of unit length, and shadow.
    reverse: (n,) bool, seen from behind.
    row: (n,) float32 on the joint grid: hair and clothes shine less than skin.
    light: lamps.
    gloss: strength of the reflection on skin.

  Returns:
    (n, 3) float32 sRGB.
  """
  # Colours and coordinates are the outer axis here: NumPy is slow on an inner axis of three.
  nx, ny, nz, dark = np.ascontiguousarray(surface.T)
  length = np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-6))
  normal = np.stack([nx, ny, nz]) * (np.where(reverse, np.float32(-1), np.float32(1)) / length)
  bright = 1 - dark * np.float32(1 - 0.65 * light.softness)

  # How far each point faces the lamp, the mirror direction and the rim light.
  half = light.direction + np.array([0, 0, 1.0])
  axes = np.stack([light.direction, half / np.linalg.norm(half), light.rim]).astype(np.float32)
  nx, ny, nz = normal
  facing, shine, rim = (nx * a[0] + ny * a[1] + nz * a[2] for a in axes)
  behind = np.clip(rim, 0, None) ** 2

  # Gloss: of skin, of hair, none of clothes. Powers are slow: they are taken where they count.
  parts = body.layout()
  ends = np.array([parts.ears.stop, parts.hair.stop], np.float32)
  kind = np.searchsorted(ends, row, side="right")
  glossy = np.flatnonzero((shine > 0) & (kind < 2))
  broad = shine[glossy] ** 8
  gain = np.array([gloss, 0.5 * gloss], np.float32)[kind[glossy]]
  reflected = np.zeros_like(shine)
  reflected[glossy] = (
    (np.float32(0.10) * broad + np.float32(0.30) * broad**4) * gain * bright[glossy]
  )

  # Blood scatters red light around the terminator: each colour gets its own wrap.
  colours = np.empty((len(albedo), 3), np.float32)
  for c, scatter in enumerate((0.30, 0.16, 0.12)):
    wrap = scatter + 0.25 * light.softness
    energy = np.clip(facing * np.float32(1 / (1 + wrap)) + np.float32(wrap / (1 + wrap)), 0, None)
    energy *= bright * light.lamp[c]
    energy += ny * ((light.below[c] - light.above[c]) / 2) + (light.above[c] + light.below[c]) / 2
    energy += behind * light.rim_colour[c]
    energy *= _LINEAR[albedo[:, c]]
    energy += reflected * light.lamp[c]
    colours[:, c] = np.sqrt(energy) * np.float32(255)
  return colours
