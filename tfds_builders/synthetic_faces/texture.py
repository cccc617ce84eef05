"""Paints skin, eyes, brows, lips, hair and clothes on the joint grid's texture."""

import functools
from collections.abc import Callable

import cv2
import numpy as np

from tfds_builders.synthetic_faces import body
from tfds_builders.synthetic_faces.brushes import noise
from tfds_builders.synthetic_faces.complexion import coarse_colours, coarse_masks
from tfds_builders.synthetic_faces.features import paint_brow, paint_eye, paint_mouth, paint_nose
from tfds_builders.synthetic_faces.hair import HairStyle
from tfds_builders.synthetic_faces.head import head_model
from tfds_builders.synthetic_faces.landmark_curves import FaceCurves
from tfds_builders.synthetic_faces.look import Look
from tfds_builders.synthetic_faces.texels import DETAIL, texel_chart, windows
from tfds_builders.synthetic_faces.tube import COLUMNS, smoothstep


def paint(
  key: np.random.Generator, look: Look, curves: FaceCurves, expression: dict[str, float]
) -> np.ndarray:
  """Paints the whole texture.

  Args:
    key: generator.
    look: colours and marks.
    curves: where the features are.
    expression: coefficients of the head's bases.

  Returns:
    (R * DETAIL, C * DETAIL, 3) uint8 sRGB: texel (x, y) lies at grid position (x, y) / DETAIL.
  """
  coarse = coarse_colours(key, look, expression)
  # cv2.resize shifts by two texels; nothing on the coarse map is that sharp.
  small = cv2.merge(list(np.clip(coarse, 0, 255).astype(np.uint8)))
  texture = np.asarray(cv2.resize(small, (COLUMNS * DETAIL, body.layout().rows * DETAIL)))
  _paint_pores(key, texture, look)
  if look.beard > 0 or look.moustache > 0:
    _paint_beard(key, texture, look)

  eye = functools.partial(paint_eye, key, curves=curves, look=look)
  brow = functools.partial(paint_brow, key, curves=curves, look=look)
  features: tuple[tuple[str, Callable[[np.ndarray, np.ndarray], None]], ...] = (
    ("nose", functools.partial(paint_nose, look=look)),
    ("mouth", functools.partial(paint_mouth, key, curves=curves, look=look)),
    ("eye_left", functools.partial(eye, side=0)),
    ("eye_right", functools.partial(eye, side=1)),
    ("brow_left", functools.partial(brow, side=0)),
    ("brow_right", functools.partial(brow, side=1)),
  )
  chart = texel_chart()
  for name, draw in features:
    window = windows()[name]
    canvas = np.ascontiguousarray(texture[window].transpose(2, 0, 1), np.float32)
    draw(canvas, chart[window])
    texture[window] = np.clip(canvas, 0, 255).transpose(1, 2, 0)

  _paint_hair(key, texture, look)
  return texture


def _paint_pores(key: np.random.Generator, texture: np.ndarray, look: Look) -> None:
  """Grain of the skin, and freckles, in place on the uint8 texture."""
  model = head_model()
  rows = slice(0, model.shape[0] * DETAIL)
  face = texture[rows, COLUMNS * DETAIL // 5 : -COLUMNS * DETAIL // 5]
  pores = noise(key, "pores", face.shape[:2])
  grain = pores * np.float32(3.0 + 4.0 * look.age)

  if look.freckles > 0:
    spots = noise(key, "blotches", face.shape[:2]) + 0.7 * cv2.GaussianBlur(pores, (0, 0), 1.5) * 4
    sections = np.repeat(model.sections, DETAIL)[:, None]
    on_face = smoothstep(4.5, 6.0, sections) * (1 - smoothstep(8.5, 11.0, sections))
    freckles = (smoothstep(1.5, 2.1, spots) * on_face).astype(np.float32)
    grain = grain - freckles * np.float32(30 * look.freckles)

  # Saturating additions of the bright and the dark part: several times faster than going through a
  # wider type.
  bright = cv2.convertScaleAbs(np.maximum(grain, 0))
  dark = cv2.convertScaleAbs(np.minimum(grain, 0))
  cv2.subtract(cv2.add(face, cv2.merge([bright] * 3)), cv2.merge([dark] * 3), dst=face)


def _paint_beard(key: np.random.Generator, texture: np.ndarray, look: Look) -> None:
  """Darkens chin, cheeks and upper lip with single hairs, in place on the uint8 texture."""
  masks, rows = coarse_masks(), head_model().shape[0]
  first = int(rows * 0.25)
  mask = np.maximum(masks["beard"] * look.beard, masks["moustache"] * look.moustache)[first:]
  mask = cv2.resize(mask, None, fx=DETAIL, fy=DETAIL)
  target = texture[first * DETAIL : rows * DETAIL]

  grain = noise(key, "curls", mask.shape)
  pores = noise(key, "pores", mask.shape)
  alpha = np.clip(mask * (0.95 + 0.08 * grain) + 0.5 * pores * mask * (1 - mask), 0, 0.92)
  colour = look.hair * (0.85 + 0.14 * grain + 0.10 * pores)[..., None]
  target[:] = np.clip(target + alpha[..., None] * (colour - target), 0, 255).astype(np.uint8)


def _paint_hair(key: np.random.Generator, texture: np.ndarray, look: Look) -> None:
  """Strands and the parting of the hair, weave on the clothes; in place on the uint8 texture."""
  parts = body.layout()
  target = texture[parts.hair.start * DETAIL : parts.hair.stop * DETAIL]
  is_curly = look.curl > 0.5
  grain = noise(key, "curls" if is_curly else "strands", target.shape[:2])

  # Light hair shows less contrast between its strands than dark hair, curls less than straight
  # strands.
  contrast = (0.24 - 0.10 * float(look.hair.mean()) / 255) * (0.7 if is_curly else 1.0)
  gain = 1 + contrast * grain
  if look.parting_at >= 0:
    beside = np.abs(np.arange(target.shape[1]) / DETAIL - look.parting_at)
    fade = smoothstep(1.0, 0.4, np.linspace(0, 1, target.shape[0]))
    line = np.exp(-((beside / 0.5) ** 2))[None, :] * fade[:, None]
    gain = gain * (1 - 0.5 * line)
  target[:] = np.clip(target * gain[..., None], 0, 255)

  cloth = texture[parts.torso.start * DETAIL : parts.torso.stop * DETAIL]
  cloth[:] = np.clip(cloth * (1 + 0.06 * noise(key, "pores", cloth.shape[:2]))[..., None], 0, 255)


def hair_opacity(key: np.random.Generator, style: HairStyle) -> np.ndarray:
  """Where the sheet of hair ends or has gaps.

  Args:
    key: generator; no numbers are taken for a bald head.
    style: the hair style.

  Returns:
    (R * DETAIL, C * DETAIL) uint8, 0 there, 255 elsewhere and on all other parts.
  """
  parts = body.layout()
  opacity = np.full((parts.rows * DETAIL, COLUMNS * DETAIL), 255, np.uint8)
  hair = opacity[parts.hair.start * DETAIL : parts.hair.stop * DETAIL]
  if style.bald:
    hair[:] = 0
    return opacity

  grain = noise(key, "curls" if style.curl > 0.5 else "strands", (hair.shape[0], hair.shape[1]))
  from_end = np.linspace(1, 0, hair.shape[0], dtype=np.float32)[:, None]
  hair[from_end < style.ragged * (0.9 + 0.7 * grain)] = 0
  return opacity
