"""Hair as one sheet from the crown to its ends, in further rows below the grid of the head."""

from dataclasses import dataclass

import cv2
import numpy as np

from tfds_builders.synthetic_faces.head import head_model
from tfds_builders.synthetic_faces.tube import COLUMNS, column_angle, smoothstep

HAIR_ROWS = 40
_SKULL_CENTRE = np.array([0.0, -0.35, -0.80], np.float32)

# The section at which hair ends, by angle from the mid-line: forehead, temple, sideburn, above the
# ear, nape.
# fmt: off
_ANGLES = [0, 30, 50, 64, 72, 80, 86, 108, 122, 150, 180]
_ENDS = [3.6, 3.65, 4.1, 5.2, 6.6, 6.9, 5.2, 5.2, 8.2, 10.0, 10.4]
# fmt: on


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


def _column_degrees() -> np.ndarray:
  """(COLUMNS,) angle from the mid-line of the face, degrees, on either side."""
  return np.degrees(np.abs(column_angle(np.arange(COLUMNS))))


def _hangs(style: HairStyle) -> np.ndarray:
  """(COLUMNS,) 1 where long hair hangs down, 0 where it ends on the head."""
  curtain = smoothstep(style.curtain - 8, style.curtain + 4, _column_degrees())
  return curtain * (style.length > 0.6)


def hair_end(style: HairStyle) -> np.ndarray:
  """(COLUMNS,) the section of the head at which hair ends or stops lying on the skull."""
  angle = _column_degrees()
  end = np.interp(angle, _ANGLES, _ENDS)
  if style.hairline >= 0:
    end += style.hairline * smoothstep(62, 35, angle)
  else:
    end += style.hairline * smoothstep(75, 50, angle)

  hangs = _hangs(style)
  return end * (1 - hangs) + np.minimum(end, 6.3) * hangs


def hair(style: HairStyle, head: np.ndarray, relief: np.ndarray) -> np.ndarray:
  """The vertices of the hair.

  Args:
    style: the style.
    head: (R, C, 3) float32 vertices of the head below, model frame.
    relief: (HAIR_ROWS, COLUMNS) noise of about unit variance that makes locks.

  Returns:
    (HAIR_ROWS, COLUMNS, 3) float32, model frame.
  """
  model = head_model()
  angle = _column_degrees()
  hangs = _hangs(style)
  on_head = hair_end(style)
  t = np.linspace(0, 1, HAIR_ROWS)[:, None]
  split = 1 - 0.52 * hangs  # this part of a lock lies on the skull, the rest hangs

  # Where each point of a lock lies on the skull.
  section = 0.02 + on_head * np.minimum(t / split, 1.0)
  row = np.interp(section, model.sections, np.arange(model.shape[0]))
  i = np.clip(row.astype(int), 0, model.shape[0] - 2)
  f = (row - i).astype(np.float32)[..., None]
  columns = np.arange(COLUMNS)
  base = head[i, columns] * (1 - f) + head[i + 1, columns] * f

  # How far above the skull.
  outward = base - _SKULL_CENTRE
  outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
  lift = style.volume * (1 - 0.75 * smoothstep(0.55, 1.0, t) * (1 - hangs)) + 0.012
  lift = lift + style.quiff * np.exp(-((angle / 40) ** 2)) * np.exp(-(((t - 0.8) / 0.25) ** 2))
  lift = lift * (1 + (0.10 + 0.22 * style.curl) * relief)
  points = base + outward * lift[..., None].astype(np.float32)

  # The rest hangs down, swaying a little.
  fall = np.clip((t - split) / (1 - split + 1e-6), 0, 1) * hangs
  points[..., 1] += (fall * np.clip(style.length - points[-1:, :, 1], 0, None)).astype(np.float32)
  sway = (0.05 * relief * fall + 0.05 * np.sin(fall * 5.0) * fall).astype(np.float32)
  points[..., [0, 2]] += outward[..., [0, 2]] * sway[..., None]
  return points


def locks_relief(key: np.random.Generator, curl: float) -> np.ndarray:
  """(HAIR_ROWS, COLUMNS) float32 noise for `hair`: vertical locks, or curls."""
  shape = (4, 28) if curl < 0.4 else (14, 48)
  coarse = key.standard_normal(shape, dtype=np.float32)
  noise = cv2.resize(coarse, (COLUMNS, HAIR_ROWS), interpolation=cv2.INTER_CUBIC)
  return np.clip(noise, -2, 2)
