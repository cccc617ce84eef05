"""The faces that `doctor` shows: the first, the wrong and the oddest of each split, cut from their
photographs.
"""

import html
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from fal_jax import affine, data
from fal_jax.crop import CropRule, crop_from_image, extract
from fal_jax.doctor import shape_plots, stats
from fal_jax.doctor.stats import Split
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.landmarks import Markup

FACES = 12  # of each kind
_TILE = CropRule(size=192, stored_size=192, face=110, box="landmarks")

# What the captions of faces call the flags; the others concern too many faces or cannot be seen.
_CAPTIONS = {
  "unreadable": "header unreadable",
  "empty": "no landmark",
  "no_extent": "no extent",
  "swapped": "left and right exchanged",
  "far_outside": "far outside",
  "box_degenerate": "box degenerate",
  "no_crop": "no crop",
  "repeated": "repeated",
  "renamed": "several names",
  "box_elsewhere": "box elsewhere",
  "small_norm": "small eye distance",
  "odd": "odd shape",
}


def sheets(
  splits: Mapping[str, Split],
  sources: Mapping[str, data.Source],
  markup: Markup,
  *,
  distances: Mapping[str, np.ndarray],
  flags: Mapping[str, Mapping[str, np.ndarray]],
  shown: Sequence[str],
) -> list[str]:
  """Draws the first faces, those with something wrong, and the oddest; only their images are
  decoded.

  Args:
    splits: the faces.
    sources: where their images are.
    markup: the mark-up.
    distances: split -> (N,) distances to the mean shape; NaN, where there is none, counts as the
      oddest.
    flags: split -> flag -> (N,) bool.
    shown: the splits to draw.

  Returns:
    Pieces of HTML.
  """
  left_out = [name for name in splits if name not in shown]
  said = f" {html.escape(', '.join(left_out))}: part of these." if left_out else ""
  parts = [
    '<p class="quiet">The person\'s right is blue, left is orange, white lies between; hollow where annotated as hidden; '
    f"dashed is the dataset's box. Oddest: furthest from the mean face, in percent as above.{said}</p>"
  ]
  for name in shown:
    order = np.argsort(-np.nan_to_num(distances[name], nan=np.inf), kind="stable")
    wrong = np.flatnonzero(
      np.logical_or.reduce([flags[name][flag] for flag in _CAPTIONS if flag != "odd"])
    )
    for title, rows in (
      ("first", np.arange(len(order))),
      ("with something wrong", wrong),
      ("oddest", order),
    ):
      if not len(rows):
        continue
      more = f", {FACES} of {len(rows):,}" if len(rows) > FACES and rows is wrong else ""
      tiles = [
        _tile(
          sources[name], row, splits[name], markup, distance=distances[name][row], flags=flags[name]
        )
        for row in rows[:FACES].tolist()
      ]
      parts.append(
        f'<h3>{html.escape(name)}, {title}{more}</h3><div class="faces">{"".join(tiles)}</div>'
      )
  return parts


def _tile(
  source: data.Source,
  row: int,
  split: Split,
  markup: Markup,
  *,
  distance: float,
  flags: Mapping[str, np.ndarray],
) -> str:
  """One face with its caption; what cannot be drawn is said in its place."""
  points, box = split.landmarks[row], stats.landmark_boxes(split.landmarks[row][None])[0]
  if not np.isfinite(box).all():
    box = np.array([0, 0, *np.maximum(split.sizes[row] - 1, 1)], np.float64)
  centre, half = (
    (box[:2] + box[2:]) / 2,
    max((box[2:] - box[:2]).max() / 2, 4.0),
  )  # 8 px at least: there may be no extent
  crop = crop_from_image(np.concatenate([centre - half, centre + half]), _TILE)
  try:
    pixels = extract(read_image(source[row]["image"], name=split.ids[row]), crop, _TILE.size)
  except InputError as error:
    picture = f'<div class="none">{html.escape(str(error))}</div>'
  else:
    jpeg = cv2.imencode(
      ".jpg", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 85]
    )[1].tobytes()
    corners = affine.apply(crop, split.boxes[row].reshape(2, 2)).reshape(4)
    picture = shape_plots.face(
      jpeg,
      affine.apply(crop, points),
      markup,
      visible=split.visible[row],
      box=corners,
      size=_TILE.size,
    )
  said = ", ".join(caption for flag, caption in _CAPTIONS.items() if flags[flag][row])
  number = "" if np.isnan(distance) else f"{100 * distance:.1f} %"
  return f"<figure>{picture}<figcaption>{html.escape(split.ids[row])}<br>{number} <b>{said}</b></figcaption></figure>"
