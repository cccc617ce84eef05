"""The faces that the doctor shows: the first, the wrong and the oddest, cut from their images."""

from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np

from fal_jax import affine, data
from fal_jax.crop import CropRule, crop_from_image, extract
from fal_jax.doctor import shape_plots
from fal_jax.doctor.splits import Split
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.landmarks import Markup, tight_boxes

FACES = 12  # of each kind
_TILE = CropRule(size=192, stored_size=192, face=110, box="landmarks")
_MIN_HALF = 4.0  # image px from the centre of a tile to its face's edge: there may be no extent

# What the captions of faces call the flags; the others concern too many faces or cannot be seen.
_CAPTIONS = {
  "unreadable": "header unreadable",
  "empty": "no landmark",
  "no_extent": "no extent",
  "swapped": "left and right swapped",
  "rolled": "turned",
  "far_outside": "far outside",
  "box_degenerate": "box degenerate",
  "no_crop": "no crop",
  "repeated": "repeated",
  "renamed": "several names",
  "box_elsewhere": "box elsewhere",
  "small_norm": "small eye distance",
  "odd": "odd shape",
}


def draw(
  splits: Mapping[str, Split],
  sources: Mapping[str, data.Source],
  markup: Markup,
  *,
  distances: Mapping[str, np.ndarray],
  flags: Mapping[str, Mapping[str, np.ndarray]],
  shown: Sequence[str],
) -> list[str]:
  """Draws the first faces, those with something wrong, and the oddest.

  Only the images of these are decoded.

  Args:
    splits: the faces.
    sources: where their images are.
    markup: the mark-up.
    distances: split -> (N,) distances to the mean shape, in units of it; NaN, where there is none,
      counts as the oddest.
    flags: split -> flag -> (N,) bool, see `face_flags.flag_faces`.
    shown: the splits to draw.

  Returns:
    Pieces of HTML: a legend, then the faces under their headings.
  """
  left_out = [name for name in splits if name not in shown]
  parts_note = f" {escape(', '.join(left_out))}: part of these." if left_out else ""
  pieces = [
    '<p class="quiet">The person\'s right is blue, left is orange, white lies between; hollow '
    "where annotated as hidden; dashed is the dataset's box. Oddest: furthest from the mean face, "
    f"in percent as above.{parts_note}</p>"
  ]

  for name in shown:
    order = np.argsort(-np.nan_to_num(distances[name], nan=np.inf), kind="stable")
    visible_flags = [flags[name][flag] for flag in _CAPTIONS if flag != "odd"]
    wrong = np.flatnonzero(np.logical_or.reduce(visible_flags))
    groups = {"first": np.arange(len(order)), "with something wrong": wrong, "oddest": order}

    for title, rows in groups.items():
      if not len(rows):
        continue

      more = f", {FACES} of {len(rows):,}" if len(rows) > FACES and rows is wrong else ""
      tiles = "".join(
        _tile(
          sources[name], row, splits[name], markup, distance=distances[name][row], flags=flags[name]
        )
        for row in rows[:FACES].tolist()
      )
      pieces.append(f'<h3>{escape(name)}, {title}{more}</h3><div class="faces">{tiles}</div>')
  return pieces


def _tile(
  source: data.Source,
  row: int,
  split: Split,
  markup: Markup,
  *,
  distance: float,
  flags: Mapping[str, np.ndarray],
) -> str:
  """One face with its caption; if it cannot be drawn, the reason stands in its place.

  Args:
    source: where its image is.
    row: number of the face in the split.
    split: N faces.
    markup: edges and sides.
    distance: its distance to the mean shape, in units of it.
    flags: flag -> (N,) bool.

  Returns:
    A <figure> element.
  """
  crop = crop_from_image(_square(split, row), _TILE)
  landmarks = affine.apply(crop, split.landmarks[row])
  box = affine.apply(crop, split.boxes[row].reshape(2, 2)).reshape(4)
  try:
    pixels = extract(read_image(source[row]["image"], name=split.ids[row]), crop, _TILE.size)
  except InputError as error:
    drawing = f'<div class="none">{escape(str(error))}</div>'
  else:
    visible = split.visible[row]
    drawing = shape_plots.draw_face(
      _jpeg(pixels), landmarks, markup, visible=visible, box=box, size=_TILE.size
    )

  percent = "" if np.isnan(distance) else f"{100 * distance:.1f} %"
  remarks = ", ".join(caption for flag, caption in _CAPTIONS.items() if flags[flag][row])
  caption = f"{escape(split.ids[row])}<br>{percent} <b>{remarks}</b>"
  return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def _square(split: Split, row: int) -> np.ndarray:
  """(4,) image px: the square around a face's landmarks, or around the image if it has none."""
  box = tight_boxes(split.landmarks[row][None])[0]
  if not np.isfinite(box).all():
    box = np.array([0, 0, *np.maximum(split.sizes[row] - 1, 1)], np.float64)

  centre = (box[:2] + box[2:]) / 2
  half = max((box[2:] - box[:2]).max() / 2, _MIN_HALF)
  return np.concatenate([centre - half, centre + half])


def _jpeg(pixels: np.ndarray) -> bytes:
  """Encodes pixels (H, W, 3) uint8, RGB."""
  bgr = np.ascontiguousarray(pixels[..., ::-1])
  return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
