"""Paints eyes, brows, mouth and nose, each on its window of the texture.

All work in place on a float canvas (3, h, w), sRGB 0..255, whose texels lie at the chart positions
`xy` (h, w, 2).
"""

import cv2
import numpy as np

from tfds_builders.synthetic_faces.brushes import darken, filled, mix
from tfds_builders.synthetic_faces.head import head_model
from tfds_builders.synthetic_faces.landmark_curves import (
  BROW_INNER,
  EYE_INNER,
  EYE_OUTER,
  IRIS_RADIUS,
  MOUTH_CORNER,
  FaceCurves,
)
from tfds_builders.synthetic_faces.look import Look
from tfds_builders.synthetic_faces.texels import DETAIL, windows
from tfds_builders.synthetic_faces.tube import smoothstep

_EYE_SOFT = 0.006  # width of an edge, chart units
_MOUTH_SOFT = 0.007
_NUM_BROW_HAIRS = 170


def paint_eye(
  key: np.random.Generator,
  canvas: np.ndarray,
  xy: np.ndarray,
  curves: FaceCurves,
  look: Look,
  *,
  side: int,
) -> None:
  """Paints one eye; `side` 0 is the left one in the image."""
  sign = 1 if side else -1
  x, y = xy[..., 0] * sign, xy[..., 1]
  t = (x - EYE_INNER[0]) / (EYE_OUTER[0] - EYE_INNER[0])
  along = np.clip(t, 0, 1)
  _, upper, lower = curves.lids(side, along)

  _paint_lid_folds(canvas, y, t, look, upper=upper, lower=lower)
  opening = np.clip(np.minimum(y - upper, lower - y) / _EYE_SOFT + 0.5, 0, 1) * (t > 0) * (t < 1)
  centre = curves.iris(side) * (sign, 1)
  eye = _eyeball(key, canvas, x, y, look, t=t, upper=upper, centre=centre, sign=sign)
  mix(canvas, eye, opening)

  # Rims and lashes.
  within = smoothstep(-0.02, 0.03, t) * (1 - smoothstep(0.97, 1.02, t))
  rim = np.exp(-(((y - lower - 0.004) / 0.005) ** 2))
  mix(canvas, np.minimum(look.skin * (1.02, 0.80, 0.78), 255), 0.6 * within * rim)
  dark = look.brows * 0.22
  lash = 0.004 + 0.009 * along**0.7 * (0.6 + 0.6 * look.lashes)
  lash = lash * (1 - 0.5 * smoothstep(0.85, 1.0, along))
  above = np.clip((lash - np.abs(y - upper + lash * 0.35)) / _EYE_SOFT + 0.5, 0, 1)
  mix(canvas, dark, 0.92 * within * above)
  below = np.exp(-(((y - lower - 0.001) / 0.0055) ** 2))
  mix(canvas, dark, (0.35 + 0.35 * look.lashes) * within * along**0.6 * below)
  if look.hood > 0:
    _paint_hood(canvas, x, y, look)


def _paint_hood(canvas: np.ndarray, x: np.ndarray, y: np.ndarray, look: Look) -> None:
  """The fold that runs on outwards and down from the outer corner, where the upper lid overlaps.

  Args:
    canvas: (3, h, w) to paint on.
    x: (h, w) chart position, as if the eye were the right one.
    y: (h, w) chart position.
    look: says how long the fold is, and how dark.
  """
  beyond = (x - EYE_OUTER[0]) / look.hood
  line = EYE_OUTER[1] + 0.4 * (x - EYE_OUTER[0])
  fold = np.exp(-(((y - line) / 0.008) ** 2)) * smoothstep(-0.15, 0.1, beyond)
  darken(canvas, 0.85 * fold * (1 - smoothstep(0.3, 1.0, beyond)), (0.35, 0.26, 0.24))


def _paint_lid_folds(
  canvas: np.ndarray,
  y: np.ndarray,
  t: np.ndarray,
  look: Look,
  *,
  upper: np.ndarray,
  lower: np.ndarray,
) -> None:
  """Fold of the upper lid, soft shadow under the brow, fold below the eye.

  Args:
    canvas: (3, h, w) to paint on.
    y: (h, w) chart position.
    t: (h, w) position along the eye, 0 at the inner corner .. 1 at the outer one.
    look: says how old.
    upper: (h, w) height of the upper lid, chart units.
    lower: (h, w) height of the lower lid.
  """
  along = np.clip(t, 0, 1)
  arch = np.sin(np.pi * np.clip(0.12 + 0.8 * along, 0, 1))
  fold = np.minimum(upper, EYE_INNER[1] - 0.025) - 0.034 * arch
  span = smoothstep(-0.06, 0.12, t) * (1 - smoothstep(0.95, 1.15, t))

  darken(canvas, 0.55 * span * np.exp(-(((y - fold) / 0.010) ** 2)), (0.45, 0.33, 0.30))
  shadow = 0.30 * span * np.exp(-((np.clip(fold - y, 0, None) / 0.045) ** 2)) * (y < fold)
  darken(canvas, shadow, (0.60, 0.48, 0.45))
  bag = (0.18 + 0.3 * look.age) * span * np.exp(-(((y - lower - 0.045) / 0.014) ** 2))
  darken(canvas, bag, (0.62, 0.50, 0.48))


def _eyeball(
  key: np.random.Generator,
  canvas: np.ndarray,
  x: np.ndarray,
  y: np.ndarray,
  look: Look,
  *,
  t: np.ndarray,
  upper: np.ndarray,
  centre: np.ndarray,
  sign: int,
) -> np.ndarray:
  """White, iris, pupil and reflections, as if the lids were wide open.

  Args:
    key: generator.
    canvas: (3, h, w), only for its shape.
    x: (h, w) chart position, as if the eye were the right one.
    y: (h, w) chart position.
    look: colour of the iris, direction of the light.
    t: (h, w) position along the eye, see `_paint_lid_folds`.
    upper: (h, w) height of the upper lid, which throws a shadow.
    centre: (2,) of the iris, chart units, as if the eye were the right one.
    sign: 1 for the right eye in the image, -1 for the left one.

  Returns:
    (3, h, w) float32.
  """
  eye = filled((208, 200, 195), canvas)
  r = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
  darken(eye, np.clip(np.abs(x - 0.352) / 0.16, 0, 1) ** 2 * 0.55, (0.72, 0.58, 0.55))
  mix(eye, (196, 118, 108), np.clip(1 - t / 0.10, 0, 1) * 0.9)

  angle = np.arctan2(y - centre[1], x - centre[0])
  fibres = 0.10 * np.sin(angle * 23 + key.uniform(0, 6)) * np.sin(angle * 11 + key.uniform(0, 6))
  bright = 0.75 + 0.55 * np.clip(r / IRIS_RADIUS, 0, 1) + fibres
  iris = bright * (1 - 0.65 * smoothstep(0.80, 1.0, r / IRIS_RADIUS))
  mix(eye, look.iris[:, None, None] * iris, np.clip((IRIS_RADIUS - r) / _EYE_SOFT + 0.5, 0, 1))
  mix(eye, (14, 11, 11), np.clip((IRIS_RADIUS * 0.43 - r) / _EYE_SOFT + 0.5, 0, 1))
  shadow = np.exp(-((np.clip(y - upper, 0, None) / 0.022) ** 2)) * 0.62
  darken(eye, shadow, (0.38, 0.32, 0.32))

  # The lamp, and its weak reflection on the other side of the iris.
  spot = (centre[0] + sign * look.light[0] * 0.026, centre[1] + look.light[1] * 0.026)
  from_spot = np.sqrt((x - spot[0]) ** 2 + (y - spot[1]) ** 2)
  mix(eye, (255, 255, 252), np.clip((0.0135 - from_spot) / _EYE_SOFT + 0.5, 0, 1))
  squared = (x - 2 * centre[0] + spot[0]) ** 2 + (y - 2 * centre[1] + spot[1]) ** 2
  mix(eye, (235, 235, 240), 0.25 * np.exp(-squared / 0.0001))
  return eye


def paint_brow(
  key: np.random.Generator,
  canvas: np.ndarray,
  xy: np.ndarray,
  curves: FaceCurves,
  look: Look,
  *,
  side: int,
) -> None:
  """Paints one eyebrow of single hairs; `side` 0 is the left one in the image."""
  sign = 1 if side else -1
  at = np.linspace(0, 4, 33)
  upper, lower = curves.brow(at)
  x, y = xy[..., 0] * sign, xy[..., 1]
  top = np.interp(x, upper[::-1, 0], upper[::-1, 1])
  base = np.interp(x, lower[::-1, 0], lower[::-1, 1])
  # The ends fade where a brow of average length has them.
  x_average = x if curves.brow_reach == 1 else BROW_INNER + (x - BROW_INNER) / curves.brow_reach
  within = smoothstep(0.142, 0.19, x_average) * (1 - smoothstep(0.60, 0.636, x_average))
  edge = 0.011
  body = within * smoothstep(-edge, edge, y - top) * (1 - smoothstep(-edge, edge, y - base))

  # Hairs lean outwards, upright at the inner end and flat at the tip; the outer half points down.
  along = key.uniform(0.05, 3.98, _NUM_BROW_HAIRS)
  up, down = curves.brow(along)
  across = key.uniform(0.08, 1.0, _NUM_BROW_HAIRS)[:, None]
  root = up + across * (down - up)
  lean = np.interp(along, [0, 1.5, 3, 4], [0.25, -0.15, -0.55, -1.25])
  reach = key.uniform(0.035, 0.065, _NUM_BROW_HAIRS) * np.interp(along, [0, 1, 4], [0.7, 1, 0.85])
  tip = root + np.stack([np.cos(lean), np.sin(lean)], -1) * reach[:, None]
  tip[:, 1] = np.clip(tip[:, 1], np.interp(tip[:, 0], upper[::-1, 0], upper[::-1, 1]) - 0.006, None)

  # Drawn in sixteenths of a texel.
  rows, columns = windows()["brow_right" if side else "brow_left"]
  origin = np.array([columns.start, rows.start])
  grid = head_model().grid_from_chart(np.stack([root, tip], 1) * (sign, 1))
  texel = (grid * DETAIL - origin) * 16
  strands = np.zeros(canvas.shape[1:], np.float32)
  for (x0, y0), (x1, y1) in np.round(texel).astype(int).tolist():
    cv2.line(strands, (x0, y0), (x1, y1), 1.0, 1, cv2.LINE_8, 4)

  hairs = np.clip(cv2.GaussianBlur(strands, (0, 0), 0.9) * 1.3, 0, 1)
  hairs = hairs * np.clip(body * 1.8 + 0.15, 0, 1)
  alpha = np.clip(look.brow_density * (0.55 * body + 0.75 * hairs), 0, 0.96)
  mix(canvas, look.brows, alpha.astype(np.float32))


def paint_mouth(
  key: np.random.Generator, canvas: np.ndarray, xy: np.ndarray, curves: FaceCurves, look: Look
) -> None:
  """Paints lips, teeth and the inside of the mouth."""
  x, y = xy[..., 0], xy[..., 1]
  at = np.linspace(0, 6, 61)
  upper, lower = curves.mouth_outer(at)
  top = np.interp(x, upper[:, 0], upper[:, 1])
  bottom = np.interp(x, lower[:, 0], lower[:, 1])
  inner_top, inner_bottom = curves.mouth_inner(x)
  middle = (inner_top + inner_bottom) / 2

  # The red: darker towards the line between the lips, streaked, with a sheen on the lower lip.
  within = np.abs(x) < MOUTH_CORNER[0] + 0.004
  red = np.clip(np.minimum(y - top, bottom - y) / _MOUTH_SOFT + 0.6, 0, 1) * within
  lips = filled(look.lips, canvas)
  on_upper = y < middle
  upper_depth = (y - top) / np.maximum(inner_top - top, 1e-3)
  lower_depth = (bottom - y) / np.maximum(bottom - inner_bottom, 1e-3)
  depth = np.where(on_upper, upper_depth, lower_depth)
  lips *= np.where(on_upper, 0.86 - 0.16 * depth, 1.06 - 0.12 * depth).astype(np.float32)
  streak = np.sin(x * 210 + 2 * np.sin(x * 37 + key.uniform(0, 6))) * 0.025
  lips *= 1 + streak
  sheen = np.exp(-((x / 0.10) ** 2) - ((y - (inner_bottom + bottom) / 2) / 0.016) ** 2)
  mix(lips, np.minimum(look.lips * 1.25 + 25, 255), 0.35 * sheen)
  mix(canvas, lips, red * 0.93)

  # A light rim above the cupid's bow.
  rim = np.exp(-(((y - top + 0.012) / 0.007) ** 2) - (x / 0.12) ** 2)
  mix(canvas, np.minimum(look.skin * 1.12 + 6, 255), 0.35 * rim)
  if curves.parting > 0.02:
    _paint_inside(canvas, x, y, inner_top, inner_bottom)

  # The line between the lips: open lips still meet in the corners.
  shut = 1 - smoothstep(0.0, 0.25, np.asarray(curves.parting))
  seam = np.exp(-(((y - middle) / 0.0065) ** 2)) * (1 - smoothstep(0.285, 0.305, np.abs(x)))
  meeting = np.maximum(shut, smoothstep(0.24, 0.275, np.abs(x)))
  mix(canvas, look.lips * 0.30, (0.35 + 0.5 * shut) * (0.15 + 0.85 * meeting) * seam)


def _paint_inside(
  canvas: np.ndarray, x: np.ndarray, y: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> None:
  """Tongue and teeth between parted lips, whose inner edges are `top` and `bottom` (h, w)."""
  opening = np.clip(np.minimum(y - top, bottom - y) / (_MOUTH_SOFT * 0.5) + 0.5, 0, 1)
  inside = opening * (np.abs(x) < 0.262)
  mouth = filled((62, 20, 22), canvas)
  part = (y - top) / np.maximum(bottom - top, 1e-3)
  mix(mouth, (158, 72, 72), 0.8 * smoothstep(0.62, 0.85, part) * np.exp(-((x / 0.13) ** 2)))

  teeth = (1 - smoothstep(0.30, 0.38, part)) * (1 - smoothstep(0.15, 0.24, np.abs(x)))
  gaps = 1 - 0.25 * np.abs(np.sin(np.pi * x / 0.042)) ** 14
  mix(mouth, np.array([232, 224, 208])[:, None, None] * gaps, 0.9 * teeth)
  darken(mouth, np.clip(np.abs(x) / 0.26, 0, 1) ** 2, (0.4, 0.3, 0.3))
  mix(canvas, mouth, inside)


def paint_nose(canvas: np.ndarray, xy: np.ndarray, look: Look) -> None:
  """Paints nostrils, the creases beside the wings and the philtrum."""
  x, y = np.abs(xy[..., 0]), xy[..., 1]
  slope = (y - look.nostrils) - 0.25 * (0.068 - x)
  hole = ((x - 0.070) / 0.040) ** 2 + (slope / 0.0165) ** 2
  darken(canvas, np.clip(1.25 - hole, 0, 1) ** 0.8 * 0.92, (0.16, 0.09, 0.08))

  ring = np.sqrt(((x - 0.112) / 0.055) ** 2 + ((y - 0.458) / 0.055) ** 2)
  behind = smoothstep(-0.3, 0.5, (x - 0.112) / 0.055 + 0.2 * (0.458 - y) / 0.055)
  crease = np.exp(-(((ring - 1.0) / 0.14) ** 2)) * behind
  darken(canvas, crease * 0.48)

  ridge = 0.25 * np.exp(-(((x - 0.022) / 0.010) ** 2))
  darken(canvas, ridge * smoothstep(0.55, 0.60, y) * (1 - smoothstep(0.63, 0.67, y)))
