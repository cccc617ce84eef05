"""Paints skin, eyes, brows, lips, hair and clothes on the joint grid's texture."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from tfds_builders.synthetic_faces import body
from tfds_builders.synthetic_faces.brushes import darken, filled, mix, noise, soft_line
from tfds_builders.synthetic_faces.head import COLUMNS, bump, column_angle, head_model, smoothstep
from tfds_builders.synthetic_faces.landmark_curves import (
  EYE_INNER,
  EYE_OUTER,
  IRIS_RADIUS,
  MOUTH_CORNER,
  FaceCurves,
)

DETAIL = 4  # texels per cell of the grid; a texel is about 0.006 model units wide on the face
# From very fair to very dark, sRGB; close to the Monk skin tone scale.
SKIN_TONES = np.array(
  [
    [246, 218, 203],
    [240, 205, 184],
    [232, 190, 162],
    [219, 170, 138],
    [200, 148, 114],
    [176, 124, 90],
    [148, 99, 68],
    [118, 75, 51],
    [90, 56, 40],
    [66, 42, 33],
  ],
  np.float32,
)


@dataclass(frozen=True)
class Look:
  """Colours and marks of one person; colours are sRGB 0..255.

  Attributes:
    skin: (3,) colour.
    redness: -1..1, blood in cheeks, nose and ears.
    freckles: 0..1.
    age: 0..1, depth of folds.
    lips: (3,) colour.
    iris: (3,) colour.
    hair: (3,) colour.
    brows: (3,) colour.
    brow_density: 0..1.
    beard: 0..1 how much of the skin the beard covers.
    moustache: 0..1.
    lashes: 0..1, 1 for make-up.
    clothes: (3,) colour.
    parting_at: column of the grid where the hair is parted, or -1.
    curl: 0 straight .. 1 curly hair.
    light: (2,) direction to the light in the picture, for the reflection in the eyes.
  """

  skin: np.ndarray
  redness: float
  freckles: float
  age: float
  lips: np.ndarray
  iris: np.ndarray
  hair: np.ndarray
  brows: np.ndarray
  brow_density: float
  beard: float
  moustache: float
  lashes: float
  clothes: np.ndarray
  parting_at: float
  curl: float
  light: tuple[float, float]


@functools.cache
def _texel_chart() -> np.ndarray:
  """(H, W, 2) float32 chart positions of the head's texels."""
  chart = head_model().chart
  rows = np.minimum(np.arange(chart.shape[0] * DETAIL) / DETAIL, chart.shape[0] - 1.001)
  columns = np.minimum(np.arange(COLUMNS * DETAIL) / DETAIL, COLUMNS - 1.001)
  i, j = rows.astype(int), columns.astype(int)
  fy, fx = (rows - i)[:, None, None], (columns - j)[None, :, None]
  across = chart[:, j] * (1 - fx) + chart[:, j + 1] * fx
  return (across[i] * (1 - fy) + across[i + 1] * fy).astype(np.float32)


@functools.cache
def _coarse_masks() -> dict[str, np.ndarray]:
  """Soft regions on the head's own grid, (R, C) float32."""
  model = head_model()
  xy, front = model.chart, model.front
  x, y = np.abs(xy[..., 0]), xy[..., 1]

  def both(centre: tuple[float, float], sigma: tuple[float, float]) -> np.ndarray:
    return bump(xy, centre, sigma) + bump(xy, (-centre[0], centre[1]), sigma)

  nasolabial = soft_line(xy, [(0.175, 0.46), (0.26, 0.56), (0.345, 0.70), (0.37, 0.80)], 0.02)
  wrinkles = [
    soft_line(xy, [(0.0, h), (0.3, h - 0.015), (0.45, h + 0.02)], 0.012)
    for h in (-0.36, -0.45, -0.54)
  ]
  masks = {
    "blush": both((0.46, 0.36), (0.16, 0.12)) + 0.7 * bump(xy, (0, 0.42), (0.12, 0.09)),
    "under_eye": both((0.30, 0.105), (0.10, 0.035)) + 0.8 * both((0.225, 0.03), (0.035, 0.05)),
    "socket": both((0.33, -0.06), (0.15, 0.055)) + both((0.17, -0.03), (0.035, 0.09)),
    "folds": nasolabial + 0.5 * soft_line(xy, [(0.33, 0.77), (0.36, 0.90)], 0.02),
    "forehead": np.sum(wrinkles, axis=0),
    "frown": soft_line(xy, [(0.05, -0.20), (0.045, -0.10)], 0.012),
    "under_nose": bump(xy, (0, 0.535), (0.13, 0.022)),
    "under_lip": bump(xy, (0, 0.905), (0.14, 0.03)),
    "corners": both((0.31, 0.738), (0.025, 0.022)),
  }
  # Beard: below a line from the sideburns to the corners of the mouth; a moustache between nose and
  # lip.
  edge = np.interp(
    x, [0.0, 0.12, 0.30, 0.45, 0.60, 0.72, 0.80], [0.93, 0.90, 0.80, 0.72, 0.50, 0.12, -0.10]
  )
  beard = smoothstep(-0.03, 0.07, y - edge)
  sections = model.sections[:, None]
  angle = np.abs(np.degrees(column_angle(np.arange(COLUMNS))))
  masks["beard"] = (
    np.where(front > 0.02, beard, 0)
    * (1 - smoothstep(14.2, 16.0, sections))
    * (1 - smoothstep(80, 92, angle))
  )
  masks["moustache"] = soft_line(
    xy, [(0.0, 0.625), (0.14, 0.645), (0.31, 0.74), (0.33, 0.86)], 0.032
  )
  # The neck lies in the shadow of the chin, the skin behind the ears in that of the ears.
  masks["neck"] = (
    smoothstep(13.2, 15.2, sections) * (1 - 0.5 * smoothstep(16.5, 18, sections)) * np.ones_like(x)
  )
  everywhere = ("beard", "neck")
  return {
    name: np.clip(mask * (1 if name in everywhere else front), 0, 1).astype(np.float32)
    for name, mask in masks.items()
  }


def _coarse_colours(
  look: Look, expression: dict[str, float], key: np.random.Generator
) -> np.ndarray:
  """(3, R, C) float32 base colours on the joint grid."""
  masks, parts = _coarse_masks(), body.layout()
  canvas = filled(look.skin, np.empty((3, parts.rows, COLUMNS), np.float32))
  face = canvas[:, parts.head]
  fair = float(np.clip((look.skin.mean() - 60) / 150, 0, 1))
  blood = np.array([1.02, 1 - 0.13 * fair - 0.04, 1 - 0.12 * fair - 0.04], np.float32)
  darken(face, masks["blush"] * (0.6 + 0.5 * look.redness), tuple(blood))
  darken(face, masks["under_eye"] * (0.22 + 0.3 * look.age), (0.72, 0.60, 0.62))
  darken(face, masks["socket"] * 0.30, (0.62, 0.52, 0.50))
  smile = max(expression.get("smile_left", 0), expression.get("smile_right", 0), 0)
  darken(face, masks["folds"] * np.clip(0.10 + 0.35 * look.age + 0.16 * smile, 0, 0.7))
  darken(
    face,
    masks["forehead"]
    * np.clip(0.35 * look.age - 0.05 + 0.12 * expression.get("brow_up_left", 0), 0, 0.5),
  )
  darken(
    face, masks["frown"] * np.clip(0.25 * look.age + 0.12 * expression.get("frown_left", 0), 0, 0.5)
  )
  darken(face, masks["under_nose"] * 0.40)
  darken(face, masks["under_lip"] * 0.28)
  darken(face, masks["corners"] * 0.40)
  darken(face, masks["neck"] * 0.45)
  blotch = noise(key, "blotches", (face.shape[1] * 2, COLUMNS * 2))[::2, ::2]
  darken(face, blotch, (1.015, 1.024, 1.024))
  ear = canvas[:, parts.ears]
  ear *= np.array([1.0, 0.90, 0.88], np.float32)[:, None, None]
  rho = np.linspace(0, 1, body.EAR_ROWS, dtype=np.float32)[:, None]
  hollow = 0.75 * np.exp(-((rho / 0.33) ** 2)) + 0.35 * np.exp(-(((rho - 0.72) / 0.08) ** 2))
  darken(ear, hollow, (0.45, 0.32, 0.30))
  canvas[:, parts.hair] = look.hair[:, None, None]
  canvas[:, parts.torso] = look.clothes[:, None, None]
  canvas[:, parts.torso.start : parts.torso.start + 3] *= 0.8
  return canvas


def _eye(
  canvas: np.ndarray,
  xy: np.ndarray,
  curves: FaceCurves,
  look: Look,
  key: np.random.Generator,
  *,
  side: int,
) -> None:
  """Paints one eye in place; `xy` are the chart positions of the canvas."""
  sign = 1 if side else -1
  x, y = xy[..., 0] * sign, xy[..., 1]
  t = (x - EYE_INNER[0]) / (EYE_OUTER[0] - EYE_INNER[0])
  soft = 0.006
  _, upper, lower = curves.lids(side, np.clip(t, 0, 1))
  along = np.clip(t, 0, 1)
  within = smoothstep(-0.02, 0.03, t) * (1 - smoothstep(0.97, 1.02, t))
  # Fold of the upper lid, fold below the eye, soft shadow under the brow.
  fold = np.minimum(upper, EYE_INNER[1] - 0.025) - 0.034 * np.sin(
    np.pi * np.clip(0.12 + 0.8 * along, 0, 1)
  )
  span = smoothstep(-0.06, 0.12, t) * (1 - smoothstep(0.95, 1.15, t))
  darken(canvas, 0.55 * span * np.exp(-(((y - fold) / 0.010) ** 2)), (0.45, 0.33, 0.30))
  darken(
    canvas,
    0.30 * span * np.exp(-((np.clip(fold - y, 0, None) / 0.045) ** 2)) * (y < fold),
    (0.60, 0.48, 0.45),
  )
  darken(
    canvas,
    (0.18 + 0.3 * look.age) * span * np.exp(-(((y - lower - 0.045) / 0.014) ** 2)),
    (0.62, 0.50, 0.48),
  )
  opening = np.clip(np.minimum(y - upper, lower - y) / soft + 0.5, 0, 1) * (t > 0) * (t < 1)
  eye = filled((208, 200, 195), canvas)
  centre = curves.iris(side) * (sign, 1)
  r = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
  darken(eye, np.clip(np.abs(x - 0.352) / 0.16, 0, 1) ** 2 * 0.55, (0.72, 0.58, 0.55))
  mix(eye, (196, 118, 108), np.clip(1 - t / 0.10, 0, 1) * 0.9)
  angle = np.arctan2(y - centre[1], x - centre[0])
  fibres = 0.10 * np.sin(angle * 23 + key.uniform(0, 6)) * np.sin(angle * 11 + key.uniform(0, 6))
  iris = (0.75 + 0.55 * np.clip(r / IRIS_RADIUS, 0, 1) + fibres) * (
    1 - 0.65 * smoothstep(0.80, 1.0, r / IRIS_RADIUS)
  )
  mix(eye, look.iris[:, None, None] * iris, np.clip((IRIS_RADIUS - r) / soft + 0.5, 0, 1))
  mix(eye, (14, 11, 11), np.clip((IRIS_RADIUS * 0.43 - r) / soft + 0.5, 0, 1))
  darken(eye, np.exp(-((np.clip(y - upper, 0, None) / 0.022) ** 2)) * 0.62, (0.38, 0.32, 0.32))
  spot = (centre[0] + sign * look.light[0] * 0.026, centre[1] + look.light[1] * 0.026)
  mix(
    eye,
    (255, 255, 252),
    np.clip((0.0135 - np.sqrt((x - spot[0]) ** 2 + (y - spot[1]) ** 2)) / soft + 0.5, 0, 1),
  )
  mix(
    eye,
    (235, 235, 240),
    0.25
    * np.exp(-((x - 2 * centre[0] + spot[0]) ** 2 + (y - 2 * centre[1] + spot[1]) ** 2) / 0.0001),
  )
  mix(canvas, eye, opening)
  # Rims and lashes.
  mix(
    canvas,
    np.minimum(look.skin * (1.02, 0.80, 0.78), 255),
    0.6 * within * np.exp(-(((y - lower - 0.004) / 0.005) ** 2)),
  )
  dark = look.brows * 0.22
  lash = (0.004 + 0.009 * along**0.7 * (0.6 + 0.6 * look.lashes)) * (
    1 - 0.5 * smoothstep(0.85, 1.0, along)
  )
  mix(
    canvas,
    dark,
    (0.92 * within * np.clip((lash - np.abs(y - upper + lash * 0.35)) / soft + 0.5, 0, 1)),
  )
  mix(
    canvas,
    dark,
    (0.35 + 0.35 * look.lashes)
    * within
    * along**0.6
    * np.exp(-(((y - lower - 0.001) / 0.0055) ** 2)),
  )


def _brow(
  canvas: np.ndarray,
  xy: np.ndarray,
  curves: FaceCurves,
  look: Look,
  key: np.random.Generator,
  *,
  side: int,
) -> None:
  """Paints one eyebrow of single hairs in place."""
  rows, columns = _windows()["brow_right" if side else "brow_left"]
  origin = np.array([columns.start, rows.start])
  sign = 1 if side else -1
  at = np.linspace(0, 4, 33)
  upper, lower = curves.brow(at)
  x, y = xy[..., 0] * sign, xy[..., 1]
  top = np.interp(x, upper[::-1, 0], upper[::-1, 1])
  base = np.interp(x, lower[::-1, 0], lower[::-1, 1])
  within = smoothstep(0.142, 0.19, x) * (1 - smoothstep(0.60, 0.636, x))
  edge = 0.011
  body_alpha = within * smoothstep(-edge, edge, y - top) * (1 - smoothstep(-edge, edge, y - base))
  height, width = canvas.shape[1:]
  strands = np.zeros((height, width), np.float32)
  along = key.uniform(0.05, 3.98, 170)
  up, down = curves.brow(along)
  across = key.uniform(0.08, 1.0, 170)[:, None]
  root = up + across * (down - up)
  # Hairs lean outwards, upright at the inner end and flat at the tip; the outer half points down.
  lean = np.interp(along, [0, 1.5, 3, 4], [0.25, -0.15, -0.55, -1.25])
  reach = key.uniform(0.035, 0.065, 170) * np.interp(along, [0, 1, 4], [0.7, 1, 0.85])
  tip = root + np.stack([np.cos(lean), np.sin(lean)], -1) * reach[:, None]
  tip[:, 1] = np.clip(tip[:, 1], np.interp(tip[:, 0], upper[::-1, 0], upper[::-1, 1]) - 0.006, None)
  texel = (
    head_model().grid_from_chart(np.stack([root, tip], 1) * (sign, 1)) * DETAIL - origin
  ) * 16
  for (x0, y0), (x1, y1) in np.round(texel).astype(int).tolist():
    cv2.line(strands, (x0, y0), (x1, y1), 1.0, 1, cv2.LINE_8, 4)
  hairs = np.clip(cv2.GaussianBlur(strands, (0, 0), 0.9) * 1.3, 0, 1) * np.clip(
    body_alpha * 1.8 + 0.15, 0, 1
  )
  mix(
    canvas,
    look.brows,
    np.clip(look.brow_density * (0.55 * body_alpha + 0.75 * hairs), 0, 0.96).astype(np.float32),
  )


def _mouth(
  canvas: np.ndarray, xy: np.ndarray, curves: FaceCurves, look: Look, key: np.random.Generator
) -> None:
  """Paints lips, teeth and the inside of the mouth in place."""
  x, y = xy[..., 0], xy[..., 1]
  soft = 0.007
  at = np.linspace(0, 6, 61)
  upper, lower = curves.mouth_outer(at)
  top = np.interp(x, upper[:, 0], upper[:, 1])
  bottom = np.interp(x, lower[:, 0], lower[:, 1])
  inner_top, inner_bottom = curves.mouth_inner(x)
  within = np.abs(x) < MOUTH_CORNER[0] + 0.004
  red = np.clip(np.minimum(y - top, bottom - y) / soft + 0.6, 0, 1) * within
  lips = filled(look.lips, canvas)
  middle = (inner_top + inner_bottom) / 2
  on_upper = y < middle
  upper_depth, lower_depth = (
    (y - top) / np.maximum(inner_top - top, 1e-3),
    (bottom - y) / np.maximum(bottom - inner_bottom, 1e-3),
  )
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
  gap = inner_bottom - inner_top
  if curves.parting > 0.02:
    inside = np.clip(np.minimum(y - inner_top, inner_bottom - y) / (soft * 0.5) + 0.5, 0, 1) * (
      np.abs(x) < 0.262
    )
    mouth = filled((62, 20, 22), canvas)
    part = (y - inner_top) / np.maximum(gap, 1e-3)
    mix(mouth, (158, 72, 72), 0.8 * smoothstep(0.62, 0.85, part) * np.exp(-((x / 0.13) ** 2)))
    teeth = (1 - smoothstep(0.30, 0.38, part)) * (1 - smoothstep(0.15, 0.24, np.abs(x)))
    mix(
      mouth,
      np.array([232, 224, 208])[:, None, None]
      * (1 - 0.25 * np.abs(np.sin(np.pi * x / 0.042)) ** 14),
      0.9 * teeth,
    )
    darken(mouth, np.clip(np.abs(x) / 0.26, 0, 1) ** 2, (0.4, 0.3, 0.3))
    mix(canvas, mouth, inside)
  shut = 1 - smoothstep(0.0, 0.25, np.asarray(curves.parting))
  seam = np.exp(-(((y - middle) / 0.0065) ** 2)) * (1 - smoothstep(0.285, 0.305, np.abs(x)))
  # Open lips still meet in the corners.
  meeting = np.maximum(shut, smoothstep(0.24, 0.275, np.abs(x)))
  mix(canvas, look.lips * 0.30, (0.35 + 0.5 * shut) * (0.15 + 0.85 * meeting) * seam)


def _nose(canvas: np.ndarray, xy: np.ndarray) -> None:
  """Paints nostrils and the creases beside the wings in place."""
  x, y = np.abs(xy[..., 0]), xy[..., 1]
  slope = (y - 0.513) - 0.25 * (0.068 - x)
  hole = ((x - 0.070) / 0.040) ** 2 + (slope / 0.0165) ** 2
  darken(canvas, np.clip(1.25 - hole, 0, 1) ** 0.8 * 0.92, (0.16, 0.09, 0.08))
  ring = np.sqrt(((x - 0.112) / 0.055) ** 2 + ((y - 0.458) / 0.055) ** 2)
  crease = np.exp(-(((ring - 1.0) / 0.14) ** 2)) * smoothstep(
    -0.3, 0.5, (x - 0.112) / 0.055 + 0.2 * (0.458 - y) / 0.055
  )
  darken(canvas, crease * 0.48)
  darken(
    canvas,
    0.25
    * np.exp(-(((x - 0.022) / 0.010) ** 2))
    * smoothstep(0.55, 0.60, y)
    * (1 - smoothstep(0.63, 0.67, y)),
  )


def _window(low: tuple[float, float], high: tuple[float, float]) -> tuple[slice, slice]:
  """Rows and columns of the texture that hold the chart rectangle."""
  grid = (
    head_model().grid_from_chart(np.array([low, high, (low[0], high[1]), (high[0], low[1])]))
    * DETAIL
  )
  x0, y0 = np.floor(grid.min(0)).astype(int)
  x1, y1 = np.ceil(grid.max(0)).astype(int) + 1
  return slice(y0, y1), slice(x0, x1)


@functools.cache
def _windows() -> dict[str, tuple[slice, slice]]:
  return {
    "eye_left": _window((-0.60, -0.14), (-0.13, 0.13)),
    "eye_right": _window((0.13, -0.14), (0.60, 0.13)),
    "brow_left": _window((-0.68, -0.34), (-0.09, -0.06)),
    "brow_right": _window((0.09, -0.34), (0.68, -0.06)),
    "mouth": _window((-0.34, 0.62), (0.34, 0.93)),
    "nose": _window((-0.22, 0.36), (0.22, 0.68)),
    "beard": _window((-0.80, 0.10), (0.80, 1.24)),
  }


def _beard(texture: np.ndarray, look: Look, key: np.random.Generator) -> None:
  """Darkens chin, cheeks and upper lip with single hairs, in place on the uint8 texture."""
  masks, rows = _coarse_masks(), head_model().shape[0]
  first = int(rows * 0.25)
  mask = np.maximum(masks["beard"] * look.beard, masks["moustache"] * look.moustache)[first:]
  mask = cv2.resize(mask, None, fx=DETAIL, fy=DETAIL)
  target = texture[first * DETAIL : rows * DETAIL]
  grain = noise(key, "curls", mask.shape)
  pores = noise(key, "pores", mask.shape)
  alpha = np.clip(mask * (0.95 + 0.08 * grain) + 0.5 * pores * mask * (1 - mask), 0, 0.92)
  colour = look.hair * (0.85 + 0.14 * grain + 0.10 * pores)[..., None]
  target[:] = np.clip(target + alpha[..., None] * (colour - target), 0, 255).astype(np.uint8)


def paint(
  look: Look, curves: FaceCurves, expression: dict[str, float], key: np.random.Generator
) -> np.ndarray:
  """The whole texture, (R * DETAIL, C * DETAIL, 3) uint8 sRGB: texel (x, y) lies at grid position
  (x, y) / DETAIL.
  """
  parts, chart, windows = body.layout(), _texel_chart(), _windows()
  coarse = _coarse_colours(look, expression, key)
  # cv2.resize shifts by two texels; nothing on the coarse map is that sharp.
  small = cv2.merge(list(np.clip(coarse, 0, 255).astype(np.uint8)))
  texture = np.asarray(cv2.resize(small, (COLUMNS * DETAIL, parts.rows * DETAIL)))
  face_rows = slice(0, head_model().shape[0] * DETAIL)
  face = texture[face_rows, COLUMNS * DETAIL // 5 : -COLUMNS * DETAIL // 5]
  pores = noise(key, "pores", face.shape[:2])
  grain = pores * np.float32(3.0 + 4.0 * look.age)
  if look.freckles > 0:
    spots = noise(key, "blotches", face.shape[:2]) + 0.7 * cv2.GaussianBlur(pores, (0, 0), 1.5) * 4
    sections = np.repeat(head_model().sections, DETAIL)[:, None]
    on_face = smoothstep(4.5, 6.0, sections) * (1 - smoothstep(8.5, 11.0, sections))
    grain = grain - (smoothstep(1.5, 2.1, spots) * on_face).astype(np.float32) * np.float32(
      30 * look.freckles
    )
  # Saturating additions of the bright and the dark part: several times faster than going through a
  # wider type.
  bright, dark = (
    cv2.convertScaleAbs(np.maximum(grain, 0)),
    cv2.convertScaleAbs(np.minimum(grain, 0)),
  )
  cv2.subtract(cv2.add(face, cv2.merge([bright] * 3)), cv2.merge([dark] * 3), dst=face)
  if look.beard > 0 or look.moustache > 0:
    _beard(texture, look, key)
  for name, draw in (
    ("nose", _nose),
    ("mouth", lambda c, xy: _mouth(c, xy, curves, look, key)),
    ("eye_left", lambda c, xy: _eye(c, xy, curves, look, key, side=0)),
    ("eye_right", lambda c, xy: _eye(c, xy, curves, look, key, side=1)),
    ("brow_left", lambda c, xy: _brow(c, xy, curves, look, key, side=0)),
    ("brow_right", lambda c, xy: _brow(c, xy, curves, look, key, side=1)),
  ):
    window = windows[name]
    canvas = np.ascontiguousarray(texture[window].transpose(2, 0, 1), np.float32)
    draw(canvas, chart[window])
    texture[window] = np.clip(canvas, 0, 255).transpose(1, 2, 0)
  _hair(texture, look, key)
  return texture


def _hair(texture: np.ndarray, look: Look, key: np.random.Generator) -> None:
  """Strands on the hair, shadow of stubble on the skull, weave on the clothes; in place."""
  parts = body.layout()
  rows = slice(parts.hair.start * DETAIL, parts.hair.stop * DETAIL)
  target = texture[rows]
  grain = noise(key, "curls" if look.curl > 0.5 else "strands", target.shape[:2])
  # Light hair shows less contrast between its strands than dark hair, curls less than straight
  # strands.
  gain = (
    1 + (0.24 - 0.10 * float(look.hair.mean()) / 255) * (0.7 if look.curl > 0.5 else 1.0) * grain
  )
  if look.parting_at >= 0:
    beside = np.abs(np.arange(target.shape[1]) / DETAIL - look.parting_at)
    line = (
      np.exp(-((beside / 0.5) ** 2))[None, :]
      * smoothstep(1.0, 0.4, np.linspace(0, 1, target.shape[0]))[:, None]
    )
    gain = gain * (1 - 0.5 * line)
  target[:] = np.clip(target * gain[..., None], 0, 255)
  cloth = texture[parts.torso.start * DETAIL : parts.torso.stop * DETAIL]
  cloth[:] = np.clip(cloth * (1 + 0.06 * noise(key, "pores", cloth.shape[:2]))[..., None], 0, 255)


def hair_opacity(style: body.HairStyle, key: np.random.Generator) -> np.ndarray:
  """(R * DETAIL, C * DETAIL) uint8, 0 where the sheet of hair ends or has gaps, 255 elsewhere and
  on all other parts.
  """
  parts = body.layout()
  opacity = np.full((parts.rows * DETAIL, COLUMNS * DETAIL), 255, np.uint8)
  hair = opacity[parts.hair.start * DETAIL : parts.hair.stop * DETAIL]
  if style.bald:
    hair[:] = 0
    return opacity
  height, width = hair.shape
  grain = noise(key, "curls" if style.curl > 0.5 else "strands", (height, width))
  from_end = np.linspace(1, 0, height, dtype=np.float32)[:, None]
  hair[from_end < style.ragged * (0.9 + 0.7 * grain)] = 0
  return opacity
