"""`annotations.json`: COCO's key-point format.

`images`, and `annotations` with `keypoints` x, y, v and perhaps `bbox`. COCO counts key-points in
pixels from 0, so that a whole number is a pixel's centre, and measures boxes from the image's
corner, half a pixel further up and left: the key-point (0, 0) and the box corner (0.5, 0.5) are one
place. Tools that measure key-points from the corner too say `origin: 0.5` in the mark-up file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax.errors import InputError, cut
from fal_jax.landmarks import Markup
from fal_jax.parsing import limits, plain_json
from tfds_builders.common.text import check_size, read_text
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation
from tfds_builders.custom.categories import category_of, choose, read_categories
from tfds_builders.custom.json_files import shown

_CORNER = 0.5  # what COCO's boxes call the centre of the first pixel


def read_coco(
  path: Path,
  *,
  markup: Markup,
  origin: float,
  findings: list[Finding],
  categories: Sequence[str] = (),
) -> list[Annotation]:
  """Reads the faces of a COCO file.

  The one place where its convention becomes ours: `origin` is subtracted from landmarks, a half
  from boxes, which become x0, y0, x1, y1. Visibility 0 is "not annotated", 1 "annotated but
  hidden", 2 "visible"; where a file holds scores instead, all above 0 are "visible".

  Args:
    path: the file.
    markup: the mark-up.
    origin: 0, 0.5 or 1.
    findings: what is wrong with single annotations is added here, and what was left out.
    categories: names or ids of those whose annotations are taken; by default `categories.choose`
      finds the one.

  Returns:
    The faces in the order of the file, each with the mark-up's order of landmarks.

  Raises:
    InputError: it is not JSON of this format, or does not tell which annotations are the mark-up's.
  """
  content = _load(path)
  images = _images_by_id(path, content["images"])
  faces = content["annotations"]
  try:
    known = read_categories(content.get("categories") or [], faces)
    orders = choose(known, markup=markup, wanted=categories, file=path.name, findings=findings)
  except InputError as error:
    raise InputError(f"{path}: {error}") from error
  scores = _holds_scores(faces)
  if scores:
    message = "visibilities are scores from 0 to 1: those above 0 count as annotated and visible"
    findings.append(Finding(path.name, message, "note"))

  annotations = []
  for row, face in enumerate(faces):
    where = f"{path.name}, annotations[{row}]"
    category = category_of(face, known) if isinstance(face, dict) else None
    if category and category.id not in orders:
      findings.append(Finding(where, f"of the category {category}, not used", "note"))
      continue

    image = _image_of(face, images)
    if image is None:
      findings.append(Finding(where, "no image has its image_id"))
      continue
    if category is None:
      message = f"its category_id {shown(face.get('category_id'))} is none of the categories'"
      findings.append(Finding(where, message))
      continue
    if left_out := _why_left_out(face):
      findings.append(Finding(where, f"{left_out}, left out", "note"))
      continue

    try:
      landmarks, visible = _landmarks(
        face.get("keypoints"), orders[category.id], origin, scores=scores
      )
      box = _box(face.get("bbox"))
    except InputError as error:
      findings.append(Finding(where, str(error)))
      annotations.append(Annotation(where, image["file_name"], None))
      continue
    if box is None and face.get("bbox"):
      findings.append(Finding(where, "its bbox has no area: taken for none", "note"))

    width, height = image.get("width"), image.get("height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    annotations.append(
      Annotation(where, image["file_name"], landmarks, box=box, visible=visible, size=size)
    )
  return annotations


def _why_left_out(face: dict[str, Any]) -> str | None:
  """Why a valid annotation is not a face with landmarks, as trackers and crowds have them."""
  if face.get("iscrowd") == 1:
    return "iscrowd is 1: not a single face"
  values = face.get("keypoints")
  # A face that claims to have some, and has none, is damaged.
  if not values and face.get("num_keypoints") in (None, 0):
    return "it has no key-points"
  floats = _floats(values)
  if floats is not None and len(floats) and not len(floats) % 3 and not floats[2::3].any():
    return "no landmark is annotated"
  return None


def _holds_scores(faces: Sequence[Any]) -> bool:
  """Whether the third number of key-points is a score, as predictions have it: 0.93."""
  for face in faces:
    values = _floats(face.get("keypoints")) if isinstance(face, dict) else None
    if values is not None and ((values[2::3] > 0) & (values[2::3] < 1)).any():
      return True
  return False


def _load(path: Path) -> dict[str, Any]:
  """The file's content, checked to have its lists."""

  def refuse(constant: str) -> None:
    raise InputError(
      f"{path} holds the number {constant}; mark landmarks that are not annotated by v = 0."
    )

  try:
    check_size(path, limits.MAX_JSON_BYTES)
    content = plain_json.loads(read_text(path), parse_constant=refuse)
  except InputError:
    raise
  except ValueError as error:
    raise InputError(f"{path} is not valid JSON ({cut(str(error))}): export it again.") from error

  sections = content if isinstance(content, dict) else {}
  lists = ("annotations", "images")
  if missing := [name for name in lists if not isinstance(sections.get(name), list)]:
    raise InputError(f"{path} is not a COCO file, it has no list {' and no list '.join(missing)}.")
  if not isinstance(sections.get("categories") or [], list):
    raise InputError(f"{path}: categories is not a list.")
  return sections


def _images_by_id(path: Path, rows: Sequence[Any]) -> dict[int | str, dict[str, Any]]:
  images: dict[int | str, dict[str, Any]] = {}
  for row, image in enumerate(rows):
    if not (
      isinstance(image, dict)
      and isinstance(image.get("file_name"), str)
      and isinstance(image.get("id"), int | str)
    ):
      raise InputError(f"{path}: images[{row}] is {shown(image)}, expected an id and a file_name.")

    if image["id"] in images:
      raise InputError(f"{path}: the id {shown(image['id'])} belongs to two images.")
    images[image["id"]] = image
  return images


def _image_of(face: Any, images: dict[int | str, dict[str, Any]]) -> dict[str, Any] | None:
  """The image that a face names, if it names one."""
  identifier = face.get("image_id") if isinstance(face, dict) else None
  return images.get(identifier) if isinstance(identifier, int | str) else None


def _landmarks(
  keypoints: Any, order: np.ndarray, origin: float, *, scores: bool
) -> tuple[np.ndarray, np.ndarray]:
  """x, y, v of each key-point to landmarks.

  Args:
    keypoints: 3 K numbers.
    order: (K,) int, the key-point that is each landmark.
    origin: what the file calls the centre of the first pixel.
    scores: whether v is a score from 0 to 1.

  Returns:
    (K, 2) float64, image px, and (K,) bool, visible.
  """
  num = len(order)
  values = _floats(keypoints)
  if values is None or len(values) != 3 * num:
    got = shown(keypoints) if values is None else f"{len(values)} numbers"
    raise InputError(
      f"its keypoints are {got}, expected x, y, v of {num} landmarks, {3 * num} numbers"
    )

  table = values.reshape(num, 3)[order]
  visibility = table[:, 2]
  valid = np.isin(visibility, (0, 1, 2)) | (scores & (visibility > 0) & (visibility < 1))
  if wrong := sorted(set(visibility[~valid].tolist())):
    raise InputError(f"the visibility of a landmark is {wrong[0]:g}, expected 0, 1 or 2")
  landmarks = np.where(visibility[:, None] > 0, table[:, :2] - origin, np.nan)
  return landmarks, visibility > (0 if scores else 1)


def _box(bbox: Any) -> np.ndarray | None:
  """x, y, width, height from the corner to (4,) float64 x0, y0, x1, y1, image px.

  None for one without area: exporters write zeros where there is no box, or one tight around a
  single key-point.
  """
  if bbox is None or bbox == []:
    return None

  values = _floats(bbox)
  if values is None or len(values) != 4 or not (values[2:] >= 0).all():
    raise InputError(
      f"its bbox is {shown(bbox)}, expected x, y, width, height with width and height above 0"
    )
  if not values[2:].all():
    return None
  return np.concatenate([values[:2], values[:2] + values[2:]]) - _CORNER


def _floats(values: Any) -> np.ndarray | None:
  """Finite numbers as float64; None if they are not."""
  if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
    return None
  try:
    floats = np.array([float(value) for value in values])
  except OverflowError:  # an integer of hundreds of digits
    return None
  return floats if np.isfinite(floats).all() else None
