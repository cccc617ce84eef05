"""labelme's JSON, one file per image, as versions 3 to 6 and X-AnyLabeling write it.

A point is a shape of the type `point` whose label is the landmark's name. Shapes with one
`group_id` are one face, those without any are one face too, and a rectangle in the group is its
box. Where several are, it is that labelled `face` or `box`.

labelme measures clicks from the corner of the image, so that the centre of the first pixel is at
(0.5, 0.5): `origin: 0.5`.

Source: labelme 5 and 6, labelme/_label_file.py and _widgets/canvas.py (window to image px).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fal_jax.errors import InputError
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import beside
from tfds_builders.custom.json_files import point, shown, size_of
from tfds_builders.custom.named_points import NamedFace, box_of_corners
from tfds_builders.custom.names import normalised

_BOX_LABELS = ("face", "box")


def is_labelme(content: Any) -> bool:
  """Whether JSON is labelme's."""
  return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def read_labelme(
  root: Path, file: Path, content: Mapping[str, Any], *, origin: float, findings: list[Finding]
) -> list[NamedFace]:
  """Reads the faces of one image.

  The one place where labelme's convention becomes ours: `origin`, what it calls the centre of the
  first pixel, is subtracted.

  Args:
    root: the dataset's folder.
    file: where the content is from.
    content: for which `is_labelme`.
    origin: 0, 0.5 or 1.
    findings: what is wrong with it is added here.

  Returns:
    The faces in the order of their first shapes.
  """
  where = file.relative_to(root).as_posix()
  name, shapes = content["imagePath"], content["shapes"]
  if not isinstance(name, str) or not isinstance(shapes, list):
    message = f"imagePath is {shown(name)}, shapes are {shown(shapes)}: expected a text and a list"
    findings.append(Finding(where, message))
    return []

  image = beside(root, file, name)
  sides = content.get("imageWidth"), content.get("imageHeight")
  size = size_of(*sides)
  if size is None and None not in sides:
    message = f"imageWidth and imageHeight are {shown(sides[0])} and {shown(sides[1])}"
    findings.append(Finding(where, f"{message}, expected the image's size"))
    return [NamedFace(where, image, is_bad=True)]
  groups: dict[object, list[dict[str, Any]]] = {}
  for row, shape in enumerate(shapes):
    group = shape.get("group_id") if isinstance(shape, dict) else None
    if not isinstance(shape, dict) or not isinstance(group, int | str | None):
      message = f"shapes[{row}] is {shown(shape)}, expected a label, points and a group_id or none"
      findings.append(Finding(where, message))
      return [NamedFace(where, image, is_bad=True)]
    groups.setdefault(group, []).append(shape)

  faces = []
  for group, members in groups.items():
    place = where if group is None else f"{where}, group_id {shown(group)}"
    try:
      points, box = _face(members, origin, place, findings)
    except InputError as error:
      findings.append(Finding(place, str(error)))
      faces.append(NamedFace(place, image, is_bad=True))
      continue
    if points:
      faces.append(NamedFace(place, image, points, box=box, size=size))
    elif box:
      findings.append(Finding(place, "a box without points in its group, not used", "note"))
  return faces


def _face(
  shapes: Sequence[Mapping[str, Any]], origin: float, where: str, findings: list[Finding]
) -> tuple[list[tuple[str, float, float]], tuple[float, float, float, float] | None]:
  """Points and box of the shapes of one group."""
  points: list[tuple[str, float, float]] = []
  boxes: list[tuple[str, tuple[float, float, float, float]]] = []
  for shape in shapes:
    label, kind = shape.get("label"), shape.get("shape_type")
    if not isinstance(label, str):
      raise InputError(f"the label of a shape is {shown(label)}, expected a text")
    if kind not in ("point", "rectangle"):
      message = f"shapes of the type {shown(kind)} are not read, only point and rectangle"
      findings.append(Finding(where, message, "note"))
      continue

    corners = shape.get("points")
    numbers = (1,) if kind == "point" else (2, 4)  # X-AnyLabeling writes all corners
    if not isinstance(corners, list) or len(corners) not in numbers:
      raise InputError(
        f"the points of the {kind} {shown(label)} are {shown(corners)}, "
        f"expected {' or '.join(map(str, numbers))}"
      )
    places = [point(corner, f"a point of {shown(label)}") for corner in corners]
    places = [(x - origin, y - origin) for x, y in places]
    if kind == "point":
      points.append((label, *places[0]))
    else:
      boxes.append((label, box_of_corners(places)))

  if len(boxes) > 1:
    boxes = [box for box in boxes if normalised(box[0]) in _BOX_LABELS] or boxes
  if len(boxes) > 1 and points:
    raise InputError(
      f"{len(boxes)} rectangles belong to these points: give each face a group_id of its own, "
      "or label the right one `face`"
    )
  return points, boxes[0][1] if boxes else None
