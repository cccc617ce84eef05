"""`landmarks.csv`: one face a line, `image,x0,y0,x1,y1,...`, an empty cell where a landmark is not
annotated.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError
from tfds_builders.common.text import decimal, read_text
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation

BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


def read_table(
  path: Path, *, num_landmarks: int, origin: float, findings: list[Finding]
) -> list[Annotation]:
  """Reads the faces of a table.

  The one place where its convention becomes ours: `origin`, what it calls the centre of the first
  pixel, is subtracted from landmarks and boxes.

  Args:
    path: the file.
    num_landmarks: how many the mark-up has.
    origin: 0, 0.5 or 1.
    findings: what is wrong with single lines is added here.

  Raises:
    InputError: it is no text, no table of commas, or its header is not what the mark-up asks for.
  """
  text = read_text(path)
  first = text.strip().splitlines()[0]
  if "," not in first:
    found = next(
      (name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if sign in first),
      "something else",
    )
    raise InputError(
      f"{path} is separated by {found}: export it with commas between cells and decimal points in numbers."
    )
  reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
  try:
    header, *rows = [
      (reader.line_num, [cell.strip() for cell in row])
      for row in reader
      if any(map(str.strip, row))
    ]
  except csv.Error as error:
    raise InputError(
      f"{path}, line {reader.line_num}: {error}; write one face a line, quotation marks in pairs."
    ) from error
  columns = header[1]
  coordinates = [f"{axis}{k}" for k in range(num_landmarks) for axis in "xy"]
  _check_header(path, columns, coordinates)
  if not rows:
    raise InputError(f"{path} has a header but no face.")

  annotations = []
  for line, row in rows:
    where = f"{path.name}, line {line}"
    cells = dict(zip(columns, row, strict=False))
    problems = (
      []
      if len(row) == len(columns)
      else [f"{len(row)} cells, expected {len(columns)} as in the header"]
    )
    landmarks = box = None
    if not problems:
      values = _numbers({name: cells[name] for name in coordinates}, problems)
      landmarks = np.array(values, np.float64).reshape(num_landmarks, 2) - origin
      half = np.flatnonzero(np.isnan(landmarks).sum(-1) == 1)
      if half.size and not problems:
        problems.append(f"landmark {half[0]} has one coordinate, expected two or none")
      box = _box({name: cells[name] for name in BOX}, origin, problems) if BOX[0] in cells else None
    if problems:
      findings.append(Finding(where, "; ".join(problems)))
      landmarks = box = None
    annotations.append(
      Annotation(where, cells.get("image", ""), landmarks, box=box, split=cells.get("split"))
    )
  return annotations


def _check_header(path: Path, columns: list[str], coordinates: list[str]) -> None:
  problems = []
  wanted = ["image", *coordinates]
  if missing := [name for name in wanted if name not in columns]:
    problems.append(f"lacks {_some(missing)}")
  if 0 < sum(name in columns for name in BOX) < 4:
    problems.append(f"must have all of {', '.join(BOX)} or none")
  if unknown := [name for name in columns if name not in (*wanted, *BOX, "split")]:
    problems.append(f"has the unknown columns {_some(list(map(repr, unknown)))}")
  if twice := sorted({name for name in columns if columns.count(name) > 1}):
    problems.append(f"has more than one {_some(twice)}")
  if problems:
    raise InputError(
      f"{path}: the header {', '.join(problems)}; for a mark-up of {len(coordinates) // 2} landmarks it must be "
      f"image,x0,y0,...,{coordinates[-2]},{coordinates[-1]}, and may have {','.join(BOX)} and split."
    )


def _numbers(cells: dict[str, str], problems: list[str]) -> list[float]:
  """NaN for empty cells, and for wrong ones, which are added to the problems."""
  numbers = []
  for name, cell in cells.items():
    try:
      numbers.append(decimal(cell) if cell else np.nan)
    except InputError as error:
      numbers.append(np.nan)
      problems.append(f"{name}: {error}")
  return numbers


def _box(cells: dict[str, str], origin: float, problems: list[str]) -> np.ndarray | None:
  if not any(cells.values()):
    return None
  before = len(problems)
  box = np.array(_numbers(cells, problems), np.float64) - origin
  if len(problems) == before and not (box[2:] > box[:2]).all():  # NaN too
    problems.append(
      f"the box {', '.join(cells.values())} is not x0, y0, x1, y1 with x0 < x1 and y0 < y1"
    )
  return box


def _some(names: Sequence[str]) -> str:
  return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
