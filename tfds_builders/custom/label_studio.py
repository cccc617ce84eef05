"""label-studio's JSON and JSON-MIN exports, one file for all images.

Key-points (`keypointlabels`) are in per cent of the image's width and height, measured from its
corner, so that the centre of the first of 100 columns is at 0.5 %: in pixels `origin: 0.5`. Of
several annotations of an image that created last is taken, of those that were not cancelled.

In JSON the key-points that are nested below a rectangle (`parentID`) are one face and the rectangle
is its box; those without one are one face, to which the only rectangle belongs. JSON-MIN does not
say what is nested.

Source: labelstud.io/tags/keypointlabels (percentages) and label_studio_converter/converter.py (the
two exports, the annotation created last, and `completions`, as older versions call them).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fal_jax.errors import InputError
from tfds_builders.common.validate import Finding
from tfds_builders.custom.json_files import finite, shown, size_of
from tfds_builders.custom.named_points import NamedFace, box_of_corners

_LISTS = ("annotations", "completions")
_POINT, _BOX = "keypointlabels", "rectanglelabels"


def is_label_studio(content: Any) -> bool:
  """Whether JSON is one of the two exports."""
  if not isinstance(content, list) or not content or not isinstance(content[0], dict):
    return False
  task = content[0]
  return any(isinstance(task.get(name), list) for name in _LISTS) or "annotation_id" in task


def read_label_studio(
  file: str, content: Sequence[Any], *, origin: float, findings: list[Finding]
) -> list[NamedFace]:
  """Reads the faces of all images.

  The one place where label-studio's convention becomes ours: from per cent to pixels, from which
  `origin`, what the first pixel's centre would be called there, is subtracted.

  Args:
    file: what findings call the file.
    content: for which `is_label_studio`.
    origin: 0, 0.5 or 1.
    findings: what is wrong with single tasks is added here.

  Returns:
    The faces in the order of the tasks.
  """
  faces: list[NamedFace] = []
  for row, task in enumerate(content):
    where = f"{file}, task [{row}]"
    try:
      if not isinstance(task, dict):
        raise InputError(f"it is {shown(task)}, expected a task")
      image = _image_of(task)
    except InputError as error:
      findings.append(Finding(where, str(error)))
      continue

    try:
      regions = _regions(task, where, findings)
      faces += _faces(regions, image, origin, where, findings)
    except InputError as error:
      findings.append(Finding(where, str(error)))
      faces.append(NamedFace(where, image, is_bad=True))
  return faces


def _image_of(task: Mapping[str, Any]) -> str:
  """The name of a task's image: of the tool's own storage, or an address."""
  data = task.get("data", task)
  texts = {
    key: value
    for key, value in (data.items() if isinstance(data, dict) else ())
    if isinstance(value, str) and ("/" in value or "." in value) and not key.endswith("_at")
  }
  name = texts.get("image") or texts.get("img") or (next(iter(texts.values()), ""))
  if not name:
    raise InputError(f"its data are {shown(data)}, expected the address of an image")

  if "/data/local-files/" in name and "?d=" in name:
    return "/" + name.split("?d=", 1)[1].split("&")[0]
  is_address = name.startswith(("http://", "https://"))
  return name.split("?")[0].split("#")[0] if is_address else name


def _regions(
  task: Mapping[str, Any], where: str, findings: list[Finding]
) -> list[Mapping[str, Any]]:
  """Key-points, rectangles, ... of a task, those of JSON-MIN in the form of JSON."""
  name = next((name for name in _LISTS if name in task), None)
  if name is None:
    lists = [value for value in task.values() if isinstance(value, list)]
    values = [value for items in lists for value in items if isinstance(value, dict)]
    kinds = [next((key for key in value if key.endswith("labels")), None) for value in values]
    return [
      {**value, "type": kind, "value": value}
      for kind, value in zip(kinds, values, strict=True)
      if kind
    ]

  annotations = task[name]
  if not isinstance(annotations, list) or not all(isinstance(item, dict) for item in annotations):
    raise InputError(f"its {name} are {shown(annotations)}, expected a list of annotations")
  kept = [item for item in annotations if not (item.get("was_cancelled") or item.get("skipped"))]
  if not kept:
    findings.append(Finding(where, "it has no annotation that was not cancelled", "note"))
    return []
  if len(kept) > 1:
    findings.append(Finding(where, "of several annotations that created last is taken", "note"))

  created = [str(item.get("created_at", "")) for item in kept]
  result = kept[max(range(len(kept)), key=lambda k: (created[k], k))].get("result")
  if not isinstance(result, list) or not all(isinstance(region, dict) for region in result):
    raise InputError(f"its result is {shown(result)}, expected a list of regions")
  return result


def _faces(
  regions: Sequence[Mapping[str, Any]],
  image: str,
  origin: float,
  where: str,
  findings: list[Finding],
) -> list[NamedFace]:
  """The faces of one image."""
  boxes: dict[object, tuple[float, float, float, float]] = {}
  points_of: dict[object, list[tuple[str, float, float]]] = {}
  size = None
  for region in regions:
    kind, value = region.get("type"), region.get("value")
    if kind not in (_POINT, _BOX):
      message = f"regions of the type {shown(kind)} are not read, only {_POINT} and {_BOX}"
      findings.append(Finding(where, message, "note"))
      continue
    if not isinstance(value, dict):
      raise InputError(f"the value of a {kind} is {shown(value)}, expected x, y and a label")

    size = _size(region)
    if kind == _BOX:
      key = region.get("id")
      key = key if isinstance(key, str) else len(boxes)
      if value.get("rotation"):
        findings.append(Finding(where, "its box is rotated, which is not read: no box", "note"))
      else:
        boxes[key] = _box(value, size, origin)
      continue

    labels = value.get(_POINT)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
      raise InputError(f"the labels of a key-point are {shown(labels)}, expected one name")
    parent = region.get("parentID")
    parent = parent if isinstance(parent, str) and parent else None
    point = _pixels(value.get("x"), value.get("y"), size, origin, f"the point {shown(labels[0])}")
    points_of.setdefault(parent, []).append((labels[0], *point))

  if set(points_of) == {None} and len(boxes) == 1:
    boxes = {None: next(iter(boxes.values()))}
  if unused := len(boxes.keys() - points_of.keys()):
    message = f"{unused} boxes without key-points nested below them, not used"
    findings.append(Finding(where, message, "note"))
  return [
    NamedFace(f"{where}, face {number}", image, points, box=boxes.get(key), size=size)
    for number, (key, points) in enumerate(points_of.items())
  ]


def _size(region: Mapping[str, Any]) -> tuple[int, int]:
  """(width, height) of the image, of which the coordinates are per cents."""
  size = size_of(region.get("original_width"), region.get("original_height"))
  if size is None:
    raise InputError(
      "original_width and original_height of a region are "
      f"{shown(region.get('original_width'))} and {shown(region.get('original_height'))}, "
      "expected the image's size, of which the coordinates are per cents"
    )
  if region.get("image_rotation"):
    raise InputError(
      f"image_rotation is {shown(region['image_rotation'])}: the image was turned in the tool, "
      "which is not read; turn the file itself and annotate that"
    )
  return size


def _pixels(x: Any, y: Any, size: tuple[int, int], origin: float, what: str) -> tuple[float, float]:
  """Per cents from the image's corner to x, y in image px."""
  width, height = size
  return finite(x, what) / 100 * width - origin, finite(y, what) / 100 * height - origin


def _box(
  value: Mapping[str, Any], size: tuple[int, int], origin: float
) -> tuple[float, float, float, float]:
  """x0, y0, x1, y1 in image px."""
  x, y, width, height = (finite(value.get(key), f"{key} of a box") for key in _BOX_KEYS)
  corners = [(x, y), (x + width, y + height)]
  return box_of_corners([_pixels(*corner, size, origin, "a box") for corner in corners])


_BOX_KEYS = ("x", "y", "width", "height")
