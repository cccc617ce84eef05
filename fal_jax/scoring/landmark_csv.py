"""Landmarks as CSV, the format that our evaluation and --mode=predict write: id,x0,y0,x1,y1,..."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError, cut
from fal_jax.output.folders import write_atomic
from fal_jax.parsing import limits
from fal_jax.scoring.faces import LandmarkFile

# What names a face: an id, or, as in the tables of the builder `custom`, its image.
NAMES = ("id", "image")
# What --mode=predict says of each landmark besides; nothing is scored by it.
IGNORED = ("score", "uncertainty")
_TAGS = ("subsets", "split")
_BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


def write(
  path: Path,
  ids: Sequence[str],
  landmarks: np.ndarray,
  *,
  scores: np.ndarray | None = None,
  uncertainty: np.ndarray | None = None,
) -> None:
  """Writes one line per face, to a thousandth of a pixel.

  Args:
    path: the file to write.
    ids: N names of faces.
    landmarks: (N, K, 2) image px, pixel-centre; the cells of NaN stay empty.
    scores: (N, K), heights of the heatmaps' peaks, as columns score0, score1, ...; or None.
    uncertainty: (N, K), px, as columns uncertainty0, uncertainty1, ...; or None.
  """
  text = io.StringIO(newline="")
  writer = csv.writer(text)
  has_scores, has_uncertainty = scores is not None, uncertainty is not None
  writer.writerow(columns(landmarks.shape[1], scores=has_scores, uncertainty=has_uncertainty))

  for number, (face, points) in enumerate(zip(ids, landmarks, strict=True)):
    cells = row(
      face,
      points,
      scores=None if scores is None else scores[number],
      uncertainty=None if uncertainty is None else uncertainty[number],
    )
    writer.writerow(cells)
  write_atomic(path, text.getvalue())


def columns(num: int, *, scores: bool = False, uncertainty: bool = False) -> list[str]:
  """The first line of a file.

  Args:
    num: K, of landmarks.
    scores: whether each has a score.
    uncertainty: whether each has an uncertainty.

  Returns:
    id,x0,y0,..., and score0,... and uncertainty0,...
  """
  names = ["id", *_point_columns(num)]
  names += [f"score{k}" for k in range(num) if scores]
  return names + [f"uncertainty{k}" for k in range(num) if uncertainty]


def row(
  face: str,
  points: np.ndarray,
  *,
  scores: np.ndarray | None = None,
  uncertainty: np.ndarray | None = None,
) -> list[str]:
  """One line of a file, to a thousandth of a pixel.

  Args:
    face: its id.
    points: (K, 2) image px, pixel-centre; the cells of NaN stay empty.
    scores: (K,), if `columns` has them.
    uncertainty: (K,) px, likewise.

  Returns:
    The cells.
  """
  numbers = np.concatenate(
    [array.reshape(-1) for array in (points, scores, uncertainty) if array is not None]
  )
  return [face, *("" if np.isnan(value) else f"{value:.3f}" for value in numbers)]


def read(path: Path) -> LandmarkFile:
  """Reads (N, K, 2) landmarks and the optional columns; see `landmark_files` for the format."""
  header, rows = _read_rows(path)
  num = sum(re.fullmatch(r"x\d+", name) is not None for name in header)
  if num > limits.MAX_LANDMARKS:
    raise InputError(
      f"{path}: the first line names {num:,} landmarks, more than the {limits.MAX_LANDMARKS:,} of "
      "any mark-up."
    )
  points, visible = _point_columns(num), [f"visible{k}" for k in range(num)]
  _check_header(path, header, points, visible)

  if not rows:
    raise InputError(f"{path} holds no face, only the first line.")

  index = {name: column for column, name in enumerate(header)}
  optional = [name for name in (*_BOX, *visible) if name in index]
  numbers = _numbers(path, header, rows, [*points, *optional])
  table = {name: column for column, name in enumerate([*points, *optional])}

  def columns(names: Sequence[str]) -> np.ndarray | None:
    return numbers[:, [table[name] for name in names]] if names[0] in table else None

  seen = columns(visible)
  tags = next((index[name] for name in ("subsets", "split") if name in index), None)
  return LandmarkFile(
    path,
    _ids(header, rows),
    numbers[:, : 2 * num].reshape(-1, num, 2),
    visible=None if seen is None else seen > 0,
    boxes=columns(_BOX),
    subsets=None if tags is None else [tuple(row[tags].split()) for row in rows],
  )


def _point_columns(num: int) -> list[str]:
  return [f"{axis}{k}" for k in range(num) for axis in "xy"]


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
  """The first line, and all others that are not empty."""
  with path.open(newline="", encoding="utf-8-sig") as file:
    try:
      header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except csv.Error as error:
      raise InputError(f"{path} is not a CSV file ({error}).") from error
  return [name.strip() for name in header], rows


def _ids(header: list[str], rows: list[list[str]]) -> list[str]:
  """N names of faces: the ids, or the image and, from its second face on, # and a number."""
  if "id" in header:
    return [row[header.index("id")] for row in rows]

  seen: Counter[str] = Counter()
  ids = []
  for row in rows:
    image = row[header.index("image")].strip()
    ids.append(f"{image}#{seen[image]}" if seen[image] else image)
    seen[image] += 1
  return ids


def _check_header(path: Path, header: list[str], points: list[str], visible: list[str]) -> None:
  """Refuses a first line without ids or landmarks, or with unknown or duplicate columns."""
  if {"x_0", "y_0"} <= {*header}:
    raise InputError(
      f"{path} looks like OpenFace's output, which is not read: rename its x_0, ..., y_0, ... to "
      "x0, ..., y0, ..., leave out the other columns, and give each face an id."
    )

  num = len(visible)
  ignored = {f"{name}{k}" for name in IGNORED for k in range(num)}
  names = [name for name in NAMES if name in header]
  known = {*NAMES, *_TAGS, *points, *visible, *_BOX, *ignored}
  unknown = [cut(name, length=30) for name in header if name not in known][:3]
  groups = [points, *(group for group in (visible, _BOX) if {*group} & {*header})]
  missing = [name for group in groups for name in group if name not in header][:3]
  has_duplicates = len({*header}) < len(header)
  is_named = len(names) == 1
  if points and is_named and not (missing or unknown or has_duplicates):
    return

  reason = ""
  if len(names) == 2:
    reason = " (both id and image name a face: leave out one)"
  elif points and is_named:
    columns = ", ".join(unknown) or "columns"
    reason = f" (missing {', '.join(missing)})" if missing else f" (unknown or duplicate {columns})"
  elif len(header) == 1:
    reason = " (are the cells separated by something else than commas?)"
  expected = f"id,{','.join(points[:4]) or 'x0,y0,x1,y1'},... as our evaluation writes it"
  raise InputError(
    f"{path}: the first line must be {expected}, got {cut(','.join(header))!r}{reason}."
  )


def _numbers(path: Path, header: list[str], rows: list[list[str]], names: list[str]) -> np.ndarray:
  """The cells (N, len(names)) of some columns as float64, NaN where empty."""
  index = {name: column for column, name in enumerate(header)}
  face_name = next(index[name] for name in NAMES if name in index)

  numbers = []
  for number, row in enumerate(rows, 1):
    if len(row) != len(header):
      raise InputError(
        f"{path}, face {number} ({cut(row[0])!r}): {len(row)} columns, expected {len(header)} as "
        "in the first line."
      )

    cells = [row[index[name]].strip() or "nan" for name in names]
    try:
      if any("_" in cell for cell in cells):
        raise ValueError  # Python reads 1_000 as a number
      numbers.append(np.array(cells, np.float64))
    except ValueError:
      bad = next(name for name, cell in zip(names, cells, strict=True) if not _is_number(cell))
      face, cell = cut(row[face_name]), cut(row[index[bad]], length=30)
      raise InputError(
        f"{path}, face {number} ({face!r}): {bad} is {cell!r}, not a number."
      ) from None
  return np.stack(numbers)


def _is_number(cell: str) -> bool:
  try:
    float(cell)
  except ValueError:
    return False
  return "_" not in cell
