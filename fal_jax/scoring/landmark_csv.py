"""Landmarks as CSV, the format that our evaluation writes: id,x0,y0,x1,y1,..."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError
from fal_jax.scoring.faces import LandmarkFile

_BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


def write(path: Path, ids: Sequence[str], landmarks: np.ndarray) -> None:
  """Writes one line per face, to a thousandth of a pixel.

  Args:
    path: the file to write.
    ids: N names of faces.
    landmarks: (N, K, 2) image px, pixel-centre.
  """
  with path.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["id", *_point_columns(landmarks.shape[1])])
    for name, points in zip(ids, landmarks, strict=True):
      writer.writerow([name, *(f"{value:.3f}" for value in points.reshape(-1))])


def read(path: Path) -> LandmarkFile:
  """Reads (N, K, 2) landmarks and the optional columns; see `landmark_files` for the format."""
  header, rows = _read_rows(path)
  num = sum(re.fullmatch(r"x\d+", name) is not None for name in header)
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
  return LandmarkFile(
    path,
    [row[index["id"]] for row in rows],
    numbers[:, : 2 * num].reshape(-1, num, 2),
    visible=None if seen is None else seen > 0,
    boxes=columns(_BOX),
    subsets=[tuple(row[index["subsets"]].split()) for row in rows] if "subsets" in index else None,
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


def _check_header(path: Path, header: list[str], points: list[str], visible: list[str]) -> None:
  """Refuses a first line without ids or landmarks, or with unknown or duplicate columns."""
  known = {"id", "subsets", *points, *visible, *_BOX}
  unknown = [name for name in header if name not in known][:3]
  groups = [points, *(group for group in (visible, _BOX) if {*group} & {*header})]
  missing = [name for group in groups for name in group if name not in header][:3]
  has_duplicates = len({*header}) < len(header)
  if points and "id" in header and not (missing or unknown or has_duplicates):
    return

  reason = ""
  if points and "id" in header:
    columns = ", ".join(unknown) or "columns"
    reason = f" (missing {', '.join(missing)})" if missing else f" (unknown or duplicate {columns})"
  expected = f"id,{','.join(points[:4]) or 'x0,y0,x1,y1'},... as our evaluation writes it"
  raise InputError(
    f"{path}: the first line must be {expected}, got {','.join(header)[:60]!r}{reason}."
  )


def _numbers(path: Path, header: list[str], rows: list[list[str]], names: list[str]) -> np.ndarray:
  """The cells (N, len(names)) of some columns as float64, NaN where empty."""
  index = {name: column for column, name in enumerate(header)}

  numbers = []
  for number, row in enumerate(rows, 1):
    if len(row) != len(header):
      raise InputError(
        f"{path}, face {number} ({row[0][:60]!r}): {len(row)} columns, expected {len(header)} as "
        "in the first line."
      )

    cells = [row[index[name]].strip() or "nan" for name in names]
    try:
      if any("_" in cell for cell in cells):
        raise ValueError  # Python reads 1_000 as a number
      numbers.append(np.array(cells, np.float64))
    except ValueError:
      bad = next(name for name, cell in zip(names, cells, strict=True) if not _is_number(cell))
      face, cell = row[index["id"]][:60], row[index[bad]][:30]
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
