"""`annotations.json`: COCO's key-point format.

`images`, and `annotations` with `keypoints` x, y, v and perhaps `bbox`. COCO counts key-points in
pixels from 0, so that a whole number is a pixel's centre, and measures boxes from the image's
corner, half a pixel further up and left: the key-point (0, 0) and the box corner (0.5, 0.5) are one
place. Tools that measure key-points from the corner too say `origin: 0.5` in the mark-up file.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax.errors import InputError
from fal_jax.landmarks import Markup
from tfds_builders.common.text import read_text
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation

_CORNER = 0.5  # what COCO's boxes call the centre of the first pixel


def read_coco(
  path: Path, *, markup: Markup, origin: float, findings: list[Finding]
) -> list[Annotation]:
  """Reads the faces of a COCO file.

  The one place where its convention becomes ours: `origin` is subtracted from landmarks, a half
  from boxes, which become x0, y0, x1, y1. Visibility 0 is "not annotated", 1 "annotated but
  hidden", 2 "visible".

  Args:
    path: the file.
    markup: the mark-up.
    origin: 0, 0.5 or 1.
    findings: what is wrong with single annotations is added here.

  Returns:
    The faces in the order of the file.

  Raises:
    InputError: it is not JSON of this format, or orders its landmarks otherwise than the mark-up.
  """
  content = _load(path)
  _check_order(path, content.get("categories") or [], markup.names)
  images = _images_by_id(path, content["images"])

  annotations = []
  for row, face in enumerate(content["annotations"]):
    where = f"{path.name}, annotations[{row}]"
    image = _image_of(face, images)
    if image is None:
      findings.append(Finding(where, "no image has its image_id"))
      continue

    if face.get("iscrowd") == 1:
      findings.append(Finding(where, "iscrowd is 1: not a single face, left out", "note"))
      continue

    try:
      landmarks, visible = _landmarks(face.get("keypoints"), markup.num, origin)
      box = _box(face.get("bbox"))
    except InputError as error:
      findings.append(Finding(where, str(error)))
      annotations.append(Annotation(where, image["file_name"], None))
      continue
    if np.isnan(landmarks).all():
      findings.append(Finding(where, "no landmark is annotated, left out", "note"))
      continue

    width, height = image.get("width"), image.get("height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    annotations.append(
      Annotation(where, image["file_name"], landmarks, box=box, visible=visible, size=size)
    )
  return annotations


def _load(path: Path) -> dict[str, Any]:
  """The file's content, checked to have its lists."""

  def refuse(constant: str) -> None:
    raise InputError(
      f"{path} holds the number {constant}; mark landmarks that are not annotated by v = 0."
    )

  try:
    content = json.loads(read_text(path), parse_constant=refuse)
  except InputError:
    raise
  except (ValueError, RecursionError) as error:
    raise InputError(f"{path} is not valid JSON ({error}): export it again.") from error

  sections = content if isinstance(content, dict) else {}
  lists = ("annotations", "images")
  if missing := [name for name in lists if not isinstance(sections.get(name), list)]:
    raise InputError(f"{path} is not a COCO file, it has no list {' and no list '.join(missing)}.")
  if not isinstance(sections.get("categories") or [], list):
    raise InputError(f"{path}: categories is not a list.")
  return sections


def _check_order(path: Path, categories: Sequence[Any], names: Iterable[str]) -> None:
  """Refuses a file that names the landmarks of the mark-up in another order."""
  expected = list(names)
  for category in categories:
    order = category.get("keypoints") if isinstance(category, dict) else None
    if not isinstance(order, list) or order == expected:
      continue

    if sorted(map(str, order)) == sorted(expected):
      raise InputError(
        f"{path}: the key-point order differs from that of the mark-up file's landmarks: {order}."
      )


def _images_by_id(path: Path, rows: Sequence[Any]) -> dict[int | str, dict[str, Any]]:
  images: dict[int | str, dict[str, Any]] = {}
  for row, image in enumerate(rows):
    if not (
      isinstance(image, dict)
      and isinstance(image.get("file_name"), str)
      and isinstance(image.get("id"), int | str)
    ):
      raise InputError(
        f"{path}: images[{row}] is {str(image)[:80]}, expected an id and a file_name."
      )

    if image["id"] in images:
      raise InputError(f"{path}: the id {image['id']!r} belongs to two images.")
    images[image["id"]] = image
  return images


def _image_of(face: Any, images: dict[int | str, dict[str, Any]]) -> dict[str, Any] | None:
  """The image that a face names, if it names one."""
  identifier = face.get("image_id") if isinstance(face, dict) else None
  return images.get(identifier) if isinstance(identifier, int | str) else None


def _landmarks(keypoints: Any, num_landmarks: int, origin: float) -> tuple[np.ndarray, np.ndarray]:
  """x, y, v of each landmark to (K, 2) float64, image px, and (K,) bool, visible."""
  values = _floats(keypoints)
  if values is None or len(values) != 3 * num_landmarks:
    got = f"{str(keypoints)[:60]}" if values is None else f"{len(values)} numbers"
    raise InputError(
      f"its keypoints are {got}, expected x, y, v of {num_landmarks} landmarks, "
      f"{3 * num_landmarks} numbers"
    )

  table = values.reshape(num_landmarks, 3)
  visibility = table[:, 2]
  if wrong := sorted(set(visibility[~np.isin(visibility, (0, 1, 2))].tolist())):
    raise InputError(f"the visibility of a landmark is {wrong[0]:g}, expected 0, 1 or 2")
  return np.where(visibility[:, None] > 0, table[:, :2] - origin, np.nan), visibility == 2


def _box(bbox: Any) -> np.ndarray | None:
  """x, y, width, height from the corner to (4,) float64 x0, y0, x1, y1, image px."""
  if bbox is None or bbox == []:
    return None

  values = _floats(bbox)
  if values is None or len(values) != 4 or not (values[2:] > 0).all():
    raise InputError(
      f"its bbox is {str(bbox)[:60]}, expected x, y, width, height with width and height above 0"
    )
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
