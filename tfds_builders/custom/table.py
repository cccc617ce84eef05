"""`landmarks.csv`: one face per line, `image,x0,y0,x1,y1,...`.

A cell is empty where a landmark is not annotated. What `--mode=predict` writes is read too, as a
first annotation: `id` in place of `image`, with `#1` behind the second face of an image, and
scores, which are not used.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError, cut, join_findings, join_names
from tfds_builders.common.text import decimal, read_text
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation

_IGNORED = re.compile(r"(score|uncertainty)\d*")
_FACE = re.compile(r"(.+)#\d+")
BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


def read_table(
  path: Path, *, num_landmarks: int, origin: float, findings: list[Finding]
) -> list[Annotation]:
  """Reads the faces of a table.

  The one place where its convention becomes ours: `origin`, what it calls the centre of the first
  pixel, is subtracted from landmarks and boxes; but predictions, which have an `id`, are 0-based.

  Args:
    path: the file.
    num_landmarks: how many the mark-up has.
    origin: 0, 0.5 or 1.
    findings: what is wrong with single lines is added here.

  Returns:
    The faces in the order of the lines.

  Raises:
    InputError: it is not text, not a table with commas, or its header is not what the mark-up asks
      for.
  """
  (_, columns), *rows = _read_rows(path)
  coordinates = [f"{axis}{k}" for k in range(num_landmarks) for axis in "xy"]
  is_ours = "id" in columns and "image" not in columns
  _check_header(path, columns, ["id" if is_ours else "image", *coordinates])
  if not rows:
    raise InputError(f"{path} has a header but no face.")

  if ignored := [name for name in columns if _IGNORED.fullmatch(name)]:
    message = f"the columns {join_names(ignored, limit=3)} are not used"
    findings.append(Finding(path.name, message, "note"))
  if is_ours and origin:
    message = f"predictions count from 0, so `origin: {origin:g}` is not subtracted from them"
    findings.append(Finding(path.name, message, "note"))
    origin = 0

  annotations = []
  for line, row in rows:
    where = f"{path.name}, line {line}"
    cells = dict(zip(columns, row, strict=False))
    problems: list[str] = []
    landmarks = box = None
    if len(row) == len(columns):
      landmarks = _landmarks({name: cells[name] for name in coordinates}, origin, problems)
      if BOX[0] in cells:
        box = _box({name: cells[name] for name in BOX}, origin, problems)
    else:
      problems.append(f"{len(row)} cells, expected {len(columns)} as in the header")

    if problems:
      findings.append(Finding(where, join_findings(problems)))
      landmarks = box = None
    image = cells.get("image", "")
    if is_ours:
      image = _FACE.sub(r"\1", cells.get("id", ""))
    annotations.append(Annotation(where, image, landmarks, box=box, split=cells.get("split")))
  return annotations


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
  """The lines that hold something, the header first: (number of the line, cells)."""
  text = read_text(path)
  first = text.strip().splitlines()[0]
  if "," not in first:
    separators = ((";", "semicolons"), ("\t", "tabs"))
    separator = next((name for sign, name in separators if sign in first), "something else")
    raise InputError(
      f"{path} is separated by {separator}: "
      "export it with commas between cells and decimal points in numbers."
    )

  reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
  try:
    rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
  except csv.Error as error:
    raise InputError(
      f"{path}, line {reader.line_num}: {error}; write one face per line, quotation marks in pairs."
    ) from error

  rows = [(line, row) for line, row in rows if any(row)]
  if not rows:
    raise InputError(f"{path} is empty: its cells hold nothing.")
  return rows


def _check_header(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
  """Refuses a header that lacks a required column, or has unknown or repeated ones."""
  problems = []
  if missing := [name for name in required if name not in columns]:
    problems.append(f"lacks {join_names(missing, limit=8)}")

  if 0 < sum(name in columns for name in BOX) < 4:
    problems.append(f"must have all of {', '.join(BOX)} or none")
  known = (*required, *BOX, "split")
  if unknown := [
    repr(name) for name in columns if name not in known and not _IGNORED.fullmatch(name)
  ]:
    problems.append(f"has the unknown columns {join_names(unknown, limit=8)}")
  if twice := sorted(name for name, count in Counter(columns).items() if count > 1):
    problems.append(f"has more than one {join_names(twice, limit=8)}")

  if problems:
    raise InputError(
      f"{path}: the header {', '.join(problems)}; "
      f"for a mark-up of {len(required) // 2} landmarks it must be "
      f"image,x0,y0,...,{required[-2]},{required[-1]}, "
      f"and may have {','.join(BOX)} and split."
    )


def _landmarks(cells: Mapping[str, str], origin: float, problems: list[str]) -> np.ndarray:
  """(K, 2) float64, image px, 0-based; NaN for empty cells, and for wrong ones, which are added."""
  before = len(problems)
  landmarks = np.array(_numbers(cells, problems), np.float64).reshape(-1, 2) - origin
  half = np.flatnonzero(np.isnan(landmarks).sum(-1) == 1)
  if half.size and len(problems) == before:
    problems.append(f"landmark {half[0]} has one coordinate, expected two or none")
  return landmarks


def _box(cells: Mapping[str, str], origin: float, problems: list[str]) -> np.ndarray | None:
  """(4,) float64 x0, y0, x1, y1, image px, 0-based; None where all cells are empty."""
  if not any(cells.values()):
    return None
  before = len(problems)
  box = np.array(_numbers(cells, problems), np.float64) - origin
  if len(problems) == before and not (box[2:] > box[:2]).all():  # NaN too
    got = cut(", ".join(cells.values()))
    problems.append(f"the box {got} is not x0, y0, x1, y1 with x0 < x1 and y0 < y1")
  return box


def _numbers(cells: Mapping[str, str], problems: list[str]) -> list[float]:
  """NaN for empty cells, and for wrong ones, which are added to the problems."""
  numbers = []
  for name, cell in cells.items():
    try:
      numbers.append(decimal(cell) if cell else np.nan)
    except InputError as error:
      numbers.append(np.nan)
      problems.append(f"{name}: {error}")
  return numbers
