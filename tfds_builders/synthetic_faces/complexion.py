"""Soft regions of skin on the joint grid: blood, shadow, folds, and where a beard grows."""

import functools

import numpy as np

from tfds_builders.synthetic_faces import body
from tfds_builders.synthetic_faces.brushes import darken, filled, noise, soft_line
from tfds_builders.synthetic_faces.face_shape import bump, bump_pair
from tfds_builders.synthetic_faces.head import head_model
from tfds_builders.synthetic_faces.look import Look
from tfds_builders.synthetic_faces.tube import COLUMNS, column_angle, smoothstep


@functools.cache
def coarse_masks() -> dict[str, np.ndarray]:
  """Soft regions on the head's own grid: name -> (R, C) float32 in 0..1."""
  model = head_model()
  xy = model.chart
  x, y = np.abs(xy[..., 0]), xy[..., 1]

  nasolabial = soft_line(xy, [(0.175, 0.46), (0.26, 0.56), (0.345, 0.70), (0.37, 0.80)], 0.02)
  wrinkles = [
    soft_line(xy, [(0.0, h), (0.3, h - 0.015), (0.45, h + 0.02)], 0.012)
    for h in (-0.36, -0.45, -0.54)
  ]
  cheeks = bump_pair(xy, (0.46, 0.36), (0.16, 0.12))
  under_eye = bump_pair(xy, (0.30, 0.105), (0.10, 0.035))
  socket = bump_pair(xy, (0.33, -0.06), (0.15, 0.055))
  masks = {
    "blush": cheeks + 0.7 * bump(xy, (0, 0.42), (0.12, 0.09)),
    "under_eye": under_eye + 0.8 * bump_pair(xy, (0.225, 0.03), (0.035, 0.05)),
    "socket": socket + bump_pair(xy, (0.17, -0.03), (0.035, 0.09)),
    "folds": nasolabial + 0.5 * soft_line(xy, [(0.33, 0.77), (0.36, 0.90)], 0.02),
    "forehead": np.sum(wrinkles, axis=0),
    "frown": soft_line(xy, [(0.05, -0.20), (0.045, -0.10)], 0.012),
    "under_nose": bump(xy, (0, 0.535), (0.13, 0.022)),
    "under_lip": bump(xy, (0, 0.905), (0.14, 0.03)),
    "corners": bump_pair(xy, (0.31, 0.738), (0.025, 0.022)),
  }

  # Beard: below a line from the sideburns to the corners of the mouth; a moustache between nose and
  # lip.
  edge = np.interp(
    x, [0.0, 0.12, 0.30, 0.45, 0.60, 0.72, 0.80], [0.93, 0.90, 0.80, 0.72, 0.50, 0.12, -0.10]
  )
  beard = np.where(model.front > 0.02, smoothstep(-0.03, 0.07, y - edge), 0)
  sections = model.sections[:, None]
  angle = np.abs(np.degrees(column_angle(np.arange(COLUMNS))))
  masks["beard"] = beard * (1 - smoothstep(14.2, 16.0, sections)) * (1 - smoothstep(80, 92, angle))
  moustache = [(0.0, 0.625), (0.14, 0.645), (0.31, 0.74), (0.33, 0.86)]
  masks["moustache"] = soft_line(xy, moustache, 0.032)

  # The neck lies in the shadow of the chin, the skin behind the ears in that of the ears.
  shadow = smoothstep(13.2, 15.2, sections) * (1 - 0.5 * smoothstep(16.5, 18, sections))
  masks["neck"] = shadow * np.ones_like(x)

  everywhere = ("beard", "neck")
  return {
    name: np.clip(mask * (1 if name in everywhere else model.front), 0, 1).astype(np.float32)
    for name, mask in masks.items()
  }


def coarse_colours(
  key: np.random.Generator, look: Look, expression: dict[str, float]
) -> np.ndarray:
  """The base colours.

  Args:
    key: generator.
    look: colours and marks.
    expression: coefficients of the head's bases; smiles and frowns deepen the folds.

  Returns:
    (3, R, C) float32 sRGB 0..255 on the joint grid.
  """
  masks, parts = coarse_masks(), body.layout()
  canvas = filled(look.skin, np.empty((3, parts.rows, COLUMNS), np.float32))
  face = canvas[:, parts.head]

  # Blood in the cheeks, shadow about the eyes.
  fair = float(np.clip((look.skin.mean() - 60) / 150, 0, 1))
  blood = np.array([1.02, 1 - 0.13 * fair - 0.04, 1 - 0.12 * fair - 0.04], np.float32)
  darken(face, masks["blush"] * (0.6 + 0.5 * look.redness), tuple(blood))
  darken(face, masks["under_eye"] * (0.22 + 0.3 * look.age), (0.72, 0.60, 0.62))
  darken(face, masks["socket"] * 0.30, (0.62, 0.52, 0.50))

  # Folds and wrinkles.
  smile = max(expression.get("smile_left", 0), expression.get("smile_right", 0), 0)
  lift = expression.get("brow_up_left", 0)
  frown = expression.get("frown_left", 0)
  darken(face, masks["folds"] * np.clip(0.10 + 0.35 * look.age + 0.16 * smile, 0, 0.7))
  darken(face, masks["forehead"] * np.clip(0.35 * look.age - 0.05 + 0.12 * lift, 0, 0.5))
  darken(face, masks["frown"] * np.clip(0.25 * look.age + 0.12 * frown, 0, 0.5))

  # Shadow, then blotches.
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
