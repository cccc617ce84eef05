"""--boxes: a file with the boxes of each image.

  CSV   header image,x0,y0,x1,y1, in any order, one face per line; optional columns: id (of the
        face) and score (of what found it).
  JSON  {"a.jpg": [[x0, y0, x1, y1], ...], ...}, or a list of {"image": "a.jpg", "box": [x0, y0, x1,
        y1]} with optional "id" and "score"; or our own predictions.json, for the same boxes again.

Numbers are pixels of the upright image, corners, 0 being the centre of the first pixel. A file made
by someone's detector surrounds more than brows to chin: `fal_jax.detect` has the maps.
"""

import csv
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fal_jax.errors import InputError, cut, join_names
from fal_jax.parsing import limits, plain_json
from fal_jax.photos.options import box_problem
from fal_jax.photos.sources import Item

_COLUMNS = ("image", "x0", "y0", "x1", "y1")
_OPTIONAL = ("id", "score")


class Row(NamedTuple):
  """One face.

  Attributes:
    image: the name that the file gives the image.
    box: x0, y0, x1, y1, image px.
    id: the name that the file gives the face; empty if none.
    score: certainty of what found it.
  """

  image: str
  box: tuple[float, ...]
  id: str = ""
  score: float | None = None


def read(path: str | Path) -> list[Row]:
  """Reads the boxes of a file.

  Args:
    path: a .csv or .json file.

  Returns:
    Its faces, in order.

  Raises:
    InputError: one sentence on what is wrong and where.
  """
  path = Path(path).expanduser()
  try:
    limits.check_size(path, limits.MAX_TEXT_BYTES, what="a list of boxes")
    text = path.read_text(encoding="utf-8-sig")
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
  except UnicodeDecodeError as error:
    raise InputError(f"{path} is not a text in UTF-8: boxes are read from CSV and JSON.") from error

  match path.suffix.lower():
    case ".csv":
      rows = _from_csv(path, text)
    case ".json":
      rows = _from_json(path, text)
    case other:
      raise InputError(f"{path}: boxes are read from .csv and .json files, not from {other!r}.")

  if not rows:
    raise InputError(f"{path} holds no box.")
  _check_ids(path, rows)
  return rows


def match(
  rows: Sequence[Row], items: Sequence[Item], *, name: str
) -> tuple[dict[str, list[Row]], list[str]]:
  """Finds the images that the rows are of.

  An image is meant by its id, or by any end of its path that starts at a folder's name.

  Args:
    rows: of the file.
    items: the images.
    name: of the file, for messages.

  Returns:
    id of an image -> its rows, and a line if some rows are of no image.

  Raises:
    InputError: a name fits several images, or no name fits any.
  """
  ids = {_normal(item.id): item for item in items}
  by_file_name = defaultdict(list)
  for item in items:
    by_file_name[_normal(item.path.name)].append(item)

  matched: dict[str, list[Row]] = defaultdict(list)
  unknown = []
  for row in rows:
    image = _normal(row.image)
    same_name = by_file_name[image.rpartition("/")[2]]
    fits = [
      item for item in same_name if f"/{_normal(os.path.abspath(item.path))}".endswith(f"/{image}")
    ]
    if image in ids:
      fits = [ids[image]]
    if len(fits) > 1:
      raise InputError(
        f"{name}: {row.image} may be {join_names([str(item.path) for item in fits], limit=3)}: "
        "write as much of the path as tells them apart."
      )
    if fits:
      matched[fits[0].id].append(row)
    else:
      unknown.append(row.image)

  names = list(dict.fromkeys(unknown))
  if not matched:
    raise InputError(
      f"{name}: none of its images ({join_names(names, limit=3)}) is among those of --images "
      f"({join_names([item.id for item in items], limit=3)})."
    )
  return matched, [f"{name}: not among --images: {join_names(names)}."] if names else []


def _normal(name: str) -> str:
  """A path with "/" and composed accents: systems and tools write the same name differently."""
  return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")


def _from_csv(path: Path, text: str) -> list[Row]:
  try:
    return _csv_rows(path, text)
  except csv.Error as error:
    raise InputError(f"{path} is not a CSV file ({error}).") from error


def _csv_rows(path: Path, text: str) -> list[Row]:
  reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
  header = [name.strip() for name in reader.fieldnames or []]
  missing = [name for name in _COLUMNS if name not in header]
  unknown = [name for name in header if name not in (*_COLUMNS, *_OPTIONAL)]
  if missing or unknown or len(set(header)) < len(header):
    raise InputError(
      f"{path}: the first line must be {','.join(_COLUMNS)}, and may have "
      f"{' and '.join(_OPTIONAL)}; got {','.join(header)[:80]!r}."
    )

  reader.fieldnames = header
  rows = []
  for number, cells in enumerate(reader, 1):
    where = f"{path}, face {number}"
    if None in cells or None in cells.values():
      raise InputError(f"{where}: expected {len(header)} cells, as in the first line.")
    box = [cells[name] for name in _COLUMNS[1:]]
    rows.append(_row(where, cells["image"], box, cells.get("id", ""), cells.get("score") or None))
  return rows


def _from_json(path: Path, text: str) -> list[Row]:
  try:
    content = plain_json.loads(text)
  except ValueError as error:
    raise InputError(f"{path} is not a JSON file ({cut(str(error))}).") from error

  try:
    faces = _json_faces(content)
  except (AttributeError, KeyError, TypeError):
    faces = None
  if faces is None:
    raise InputError(
      f'{path} must be {{"a.jpg": [[x0, y0, x1, y1], ...], ...}} or a list of '
      '{"image": "a.jpg", "box": [x0, y0, x1, y1]}.'
    )
  return [_row(f"{path}, face {number}", *face) for number, face in enumerate(faces, 1)]


def _json_faces(content: Any) -> list[tuple[Any, Any, Any, Any]] | None:
  """Image, box, id and score of each face, unchecked; None or an error if it is none of ours."""
  if isinstance(content, list):
    return [(face["image"], face["box"], face.get("id", ""), face.get("score")) for face in content]
  if not isinstance(content, Mapping):
    return None

  if isinstance(content.get("images"), list):  # our own predictions
    return [
      (image["id"], face["box"], face["id"], face.get("box_score"))
      for image in content["images"]
      for face in image["faces"]
    ]

  faces = []
  for image, boxes in content.items():
    several = boxes if not boxes or isinstance(boxes[0], list) else [boxes]
    faces += [(image, box, "", None) for box in several]
  return faces


def _row(where: str, image: Any, box: Any, face_id: Any, score: Any) -> Row:
  """A checked face."""
  try:
    numbers = tuple(float(number) for number in box)
    certainty = None if score is None else float(score)
  except (TypeError, ValueError, OverflowError):
    numbers = ()
  name, got = cut(str(image)), cut(str(box))
  if len(numbers) != 4:
    raise InputError(f"{where} ({name}): the box must be four numbers x0, y0, x1, y1, got {got}.")
  if problem := box_problem(numbers):
    raise InputError(f"{where} ({name}): the box {got} {problem}.")
  if not isinstance(image, str) or not image.strip():
    raise InputError(f"{where} names no image.")
  return Row(image.strip(), numbers, str(face_id or "").strip(), certainty)


def _check_ids(path: Path, rows: Sequence[Row]) -> None:
  """Refuses ids of faces that are given twice, or only to some."""
  ids = [row.id for row in rows if row.id]
  if ids and len(ids) < len(rows):
    raise InputError(f"{path}: {len(rows) - len(ids)} faces have no id: give all of them one.")
  if len(set(ids)) < len(ids):
    twice = sorted(name for name, count in Counter(ids).items() if count > 1)
    raise InputError(f"{path} gives ids more than once: {join_names(twice, limit=3)}.")
