"""Contact sheets of faces with annotated and predicted landmarks, by OpenCV and Pillow alone."""

import io
import os
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from fal_jax import landmarks
from fal_jax.errors import InputError
from fal_jax.output.folders import locate, write_atomic

# Green and magenta are distinguishable under every common colour blindness, and neither is a
# colour of skin, lips or hair.
TRUE_RGB = (64, 255, 128)
PRED_RGB = (255, 40, 200)
_PAPER_RGB = (24, 24, 27)
_INK_RGB = (245, 245, 245)

# Landmarks are drawn on a grid this much finer, then averaged: round dots at sub-pixel positions.
_SUPERSAMPLING = 4


def draw_faces(
  path: str | os.PathLike[str],
  images: Sequence[np.ndarray] | np.ndarray,
  true: ArrayLike | None,
  pred: ArrayLike,
  *,
  markup: int | landmarks.Markup,
  titles: Sequence[str],
  columns: int,
  scale: int = 2,
) -> None:
  """Writes a sheet of faces: annotated landmarks in green, predicted ones in magenta with lines.

  Args:
    path: .png or .jpg; its folder is created.
    images: N arrays (H, W, 3) uint8, RGB, all of one size.
    true: (N, K, 2) annotated landmarks, px of the images; NaN where not annotated. None where there
      is no annotation.
    pred: (N, K, 2) predicted landmarks, same pixels.
    markup: the mark-up, or its number of landmarks; it knows the lines.
    titles: N short texts, one over each face, cut where they do not fit.
    columns: faces per row.
    scale: enlargement of the images.

  Raises:
    InputError: if the arguments do not describe the same faces.
  """
  scheme = landmarks.as_markup(markup)
  height, width = _common_size(images)
  pred = np.asarray(pred, np.float64)
  true = np.full_like(pred, np.nan) if true is None else np.asarray(true, np.float64)
  expected = (len(images), scheme.num, 2)
  if pred.shape != expected or true.shape != expected or len(titles) != len(images):
    raise InputError(
      f"pred has shape {pred.shape}, true {true.shape} and there are {len(titles)} titles, "
      f"expected {expected} twice and a title for each of the {len(images)} images"
    )

  # All in px of the sheet: enlarged images with a strip for the title above each, and gaps.
  height = height * scale
  width = width * scale
  gap = 4 * scale
  strip = 11 * scale
  header = strip + 2 * gap
  pitch_x = width + gap
  pitch_y = strip + height + gap
  columns = max(1, min(columns, len(images)))
  rows = -(-len(images) // columns)
  corners = [
    (gap + i % columns * pitch_x, header + i // columns * pitch_y) for i in range(len(images))
  ]

  pixels = np.empty((header + rows * pitch_y, gap + columns * pitch_x, 3), np.uint8)
  pixels[:] = _PAPER_RGB
  for (x, y), image, true_face, pred_face in zip(corners, images, true, pred, strict=True):
    face = _draw_face(image, true_face, pred_face, scheme, scale)
    pixels[y + strip : y + strip + height, x : x + width] = face

  sheet = Image.fromarray(pixels)
  draw = ImageDraw.Draw(sheet)
  font = ImageFont.load_default(size=7.5 * scale)
  legend = [("annotated", TRUE_RGB)] if np.isfinite(true).any() else []
  legend += [("predicted", PRED_RGB)] if np.isfinite(pred).any() else []
  _draw_legend(draw, font, legend, x=gap, y=header / 2, scale=scale)
  for (x, y), title in zip(corners, titles, strict=True):
    text = _cut_front(title, draw, font, width)
    draw.text((x, y + strip / 2), text, fill=_INK_RGB, font=font, anchor="lm")

  file, content = locate(path), io.BytesIO()
  sheet.save(content, Image.registered_extensions()[file.suffix.lower()])
  write_atomic(file, content.getvalue())


def _common_size(images: Sequence[np.ndarray] | np.ndarray) -> tuple[int, int]:
  """Height and width in px of images (H, W, 3) uint8, checked to be all of one shape."""
  shapes = {np.shape(image) for image in images}
  shape = shapes.pop() if len(shapes) == 1 else ()
  if len(shape) != 3 or shape[-1] != 3 or any(image.dtype != np.uint8 for image in images):
    raise InputError(
      "a sheet needs at least one image, all uint8 of one shape (H, W, 3): "
      "crop the faces to one size first"
    )
  return shape[0], shape[1]


def _draw_face(
  image: np.ndarray, true: np.ndarray, pred: np.ndarray, markup: landmarks.Markup, scale: int
) -> np.ndarray:
  """One enlarged face with its landmarks, dark-rimmed so that they show on any background.

  Args:
    image: (H, W, 3) uint8.
    true: (K, 2) annotated landmarks, px of the image; NaN where not annotated.
    pred: (K, 2) predicted landmarks, same pixels.
    markup: the lines.
    scale: enlargement.

  Returns:
    (H * scale, W * scale, 3) uint8.
  """
  fine = scale * _SUPERSAMPLING
  canvas = np.ascontiguousarray(image)
  canvas = cv2.resize(canvas, None, fx=fine, fy=fine, interpolation=cv2.INTER_CUBIC)
  limit = 4 * max(canvas.shape)  # a stray prediction must not overflow the integers of cv2

  def on_canvas(points: np.ndarray) -> np.ndarray:
    """(K, 2) px of the image to (K, 2) int, px of the canvas; 0 where not finite."""
    at = np.clip((points + 0.5) * fine - 0.5, -limit, limit)
    return np.where(np.isfinite(at), np.round(at), 0).astype(int)

  true_known = np.isfinite(true).all(-1)
  pred_known = np.isfinite(pred).all(-1)
  true_at = on_canvas(true)
  pred_at = on_canvas(pred)

  lines = canvas.copy()
  thickness = round(0.6 * fine)
  for a, b in markup.edges:
    if pred_known[a] and pred_known[b]:
      ends = pred_at[a].tolist(), pred_at[b].tolist()
      cv2.line(lines, *ends, PRED_RGB, thickness, cv2.LINE_AA)
  canvas = cv2.addWeighted(lines, 0.6, canvas, 0.4, 0)

  # Dense mark-ups get smaller dots; the annotation lies on top and is smaller, so neither hides the
  # other.
  unit = fine * (0.8 if markup.num > 80 else 1.0)
  predicted = (pred_at[pred_known], PRED_RGB, 1.4)
  annotated = (true_at[true_known], TRUE_RGB, 1.0)
  for at, colour, radius in (predicted, annotated):
    for rim, fill in ((0.35, (0, 0, 0)), (0.0, colour)):
      for point in at.tolist():
        cv2.circle(canvas, point, round((radius + rim) * unit), fill, -1, cv2.LINE_AA)

  shrink = 1 / _SUPERSAMPLING
  return cv2.resize(canvas, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)


def _draw_legend(
  draw: ImageDraw.ImageDraw,
  font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
  entries: Sequence[tuple[str, tuple[int, int, int]]],
  *,
  x: float,
  y: float,
  scale: int,
) -> None:
  """Draws a dot and a word for each entry, from x (px of the sheet) to the right, centred at y."""
  radius = 2.5 * scale
  for word, colour in entries:
    draw.ellipse((x, y - radius, x + 2 * radius, y + radius), fill=colour)
    draw.text((x + 3 * radius, y), word, fill=_INK_RGB, font=font, anchor="lm")
    x += 3 * radius + draw.textlength(word, font=font) + 8 * scale


def _cut_front(
  text: str,
  draw: ImageDraw.ImageDraw,
  font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
  width: int,
) -> str:
  """The text, or as much of its end as fits into `width` px of the sheet.

  Its front is cut, because file names differ at the end, and the error stands there.
  """
  if draw.textlength(text, font=font) <= width:
    return text

  while text and draw.textlength("…" + text, font=font) > width:
    text = text[1:]
  return "…" + text
