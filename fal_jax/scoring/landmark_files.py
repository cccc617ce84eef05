"""Landmarks that others wrote down: CSV, JSON and NPZ keyed by id, or bare arrays, checked before
anything is made of them.

  CSV   header id,x0,y0,x1,y1,...; what our evaluation writes. Columns are found by name. Optional:
  subsets (names joined by
        spaces), box_x0, box_y0, box_x1, box_y1, visible0, visible1, ... (0 or 1).
  JSON  {"id": [[x, y], ...], ...}, or a list of {"id": ..., "landmarks": [[x, y], ...]} with
  optional "visible" [true, ...],
        "box" [x0, y0, x1, y1] and "subsets" (a list of names, or a text with spaces).
  NPZ   arrays `landmarks` (N, K, 2) and `ids` or `names` (N,). Optional: `visible` (N, K), `box`
  (N, 4), and `subsets`: (N,)
        texts, or (N, S) bool beside `subset_names` (S,). Without ids, or as .npy: only where the
        order may be assumed.

Coordinates are pixels of the original image. An empty cell, a null or NaN is a landmark that is not
there.
"""

import csv
import dataclasses
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax.errors import InputError, join_names

MAX_BYTES = 2**30  # unpacked; a million faces of 68 landmarks
MAX_PX = 1e7  # no image is as large; infinity is not either
SUFFIXES = (".csv", ".json", ".npz", ".npy")
_BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


@dataclasses.dataclass(frozen=True)
class LandmarkFile:
  """What a file holds.

  Attributes:
    path: of the file.
    ids: N names, unique; None where the file has none.
    landmarks: (N, K, 2) float64, NaN where not given, as in the file (no convention changed).
    visible: (N, K) bool or None.
    boxes: (N, 4) float64 or None.
    subsets: N tuples of names or None.
  """

  path: Path
  ids: list[str] | None
  landmarks: np.ndarray
  visible: np.ndarray | None = None
  boxes: np.ndarray | None = None
  subsets: list[tuple[str, ...]] | None = None


def read(path: str | Path) -> LandmarkFile:
  """Reads landmarks (N, K, 2) from a file; its ending says how.

  Raises:
    InputError: one sentence on what is wrong and where; among it: ids given twice, faces with
      different numbers of landmarks, infinite numbers, pickled arrays, more than `MAX_BYTES`.
  """
  path = Path(path).expanduser()
  if path.suffix.lower() not in SUFFIXES:
    ending = path.suffix or "a file without ending"
    raise InputError(
      f"{path}: landmarks are read from {', '.join(SUFFIXES)} files, not from {ending}."
    )
  try:
    size = path.stat().st_size
    if size > MAX_BYTES:
      raise InputError(
        f"{path} has {size:,} bytes, more than {MAX_BYTES:,}: these are no landmarks, or split the file."
      )
    ending = path.suffix.lower()
    found = (
      _read_csv(path)
      if ending == ".csv"
      else _read_json(path)
      if ending == ".json"
      else _read_arrays(path)
    )
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
  except UnicodeDecodeError as error:
    raise InputError(
      f"{path} is not a text in UTF-8 (byte {error.start}): is it another kind of file?"
    ) from error
  return _checked(found)


def _checked(found: LandmarkFile) -> LandmarkFile:
  path, landmarks = found.path, found.landmarks
  if landmarks.ndim != 3 or landmarks.shape[-1] != 2 or not landmarks.size:
    raise InputError(
      f"{path}: the landmarks have shape {landmarks.shape}, expected (faces, landmarks, 2) and at least one face."
    )
  if found.ids is not None:
    if len(found.ids) != len(landmarks):
      raise InputError(
        f"{path} has {len(found.ids)} ids for {len(landmarks)} faces: give one each."
      )
    seen: set[str] = set()
    if twice := list(dict.fromkeys(name for name in found.ids if name in seen or seen.add(name))):  # type: ignore[func-returns-value]
      raise InputError(
        f"{path} gives {len(twice)} ids more than once ({join_names(twice, limit=3)}): give each face its own; in our files the "
        "faces of one image are a.jpg, a.jpg#1, a.jpg#2."
      )
    if "" in seen:
      raise InputError(
        f"{path} has a face without an id (face {found.ids.index('') + 1}): give each face its own id."
      )
  if rows := np.flatnonzero((np.abs(landmarks) > MAX_PX).any((1, 2))).tolist():
    names = found.ids or [f"face {row}" for row in range(len(landmarks))]
    raise InputError(
      f"{path} has coordinates beyond {MAX_PX:g} px for {join_names([names[row] for row in rows])}: mend these faces."
    )
  for name, array, shape in (
    ("visible", found.visible, landmarks.shape[:2]),
    ("box", found.boxes, (len(landmarks), 4)),
  ):
    if array is not None and array.shape != shape:
      raise InputError(
        f"{path}: `{name}` has shape {array.shape}, expected {shape} for these landmarks."
      )
  return found


def _read_csv(path: Path) -> LandmarkFile:
  with path.open(newline="", encoding="utf-8-sig") as file:
    try:
      header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except csv.Error as error:
      raise InputError(f"{path} is not a CSV file ({error}).") from error
  header = [name.strip() for name in header]
  num = sum(re.fullmatch(r"x\d+", name) is not None for name in header)
  points = [f"{axis}{k}" for k in range(num) for axis in "xy"]
  visible = [f"visible{k}" for k in range(num)]
  known = {"id", "subsets", *points, *visible, *_BOX}
  if (
    not num
    or "id" not in header
    or not {*points} <= {*header}
    or len({*header}) < len(header)
    or not {*header} <= known
  ):
    wrong = [name for name in header if name not in known][:3]
    expected = f"id,{','.join(points[:4]) or 'x0,y0,x1,y1'},... as our evaluation writes it"
    because = _because(wrong, points, header)
    raise InputError(
      f"{path}: the first line must be {expected}, got {','.join(header)[:60]!r}{because}."
    )
  column = {name: index for index, name in enumerate(header)}
  ids, numbers = [], []
  wanted = [*points, *(name for name in (*_BOX, *visible) if name in column)]
  for line, row in enumerate(rows, 2):
    if len(row) != len(header):
      place = f"{path}, face {line - 1} ({row[0][:60]!r})"
      raise InputError(f"{place}: {len(row)} columns, expected {len(header)} as in the first line.")
    ids.append(row[column["id"]])
    cells = [row[column[name]].strip() or "nan" for name in wanted]
    try:
      if any("_" in cell for cell in cells):
        raise ValueError  # Python reads 1_000 as a number
      numbers.append(np.array(cells, np.float64))
    except ValueError:
      bad = next(name for name, cell in zip(wanted, cells, strict=True) if not _is_number(cell))
      raise InputError(
        f"{path}, face {line - 1} ({ids[-1][:60]!r}): {bad} is {row[column[bad]][:30]!r}, not a number."
      ) from None
  if not rows:
    raise InputError(f"{path} holds no face, only the first line.")
  table = np.stack(numbers)
  at = {name: index for index, name in enumerate(wanted)}
  return LandmarkFile(
    path,
    ids,
    table[:, : 2 * num].reshape(-1, num, 2),
    visible=table[:, [at[name] for name in visible]] > 0 if visible[0] in at else None,
    boxes=table[:, [at[name] for name in _BOX]] if _BOX[0] in at else None,
    subsets=[tuple(row[column["subsets"]].split()) for row in rows]
    if "subsets" in column
    else None,
  )


def _because(wrong: list[str], points: list[str], header: list[str]) -> str:
  if not points or "id" not in header:
    return ""
  missing = [name for name in points if name not in header][:3]
  return f" ({'missing ' + ', '.join(missing) if missing else 'unknown or double ' + (', '.join(wrong) or 'columns')})"


def _is_number(cell: str) -> bool:
  try:
    float(cell)
  except ValueError:
    return False
  return "_" not in cell


def _read_json(path: Path) -> LandmarkFile:
  try:
    content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
  except (json.JSONDecodeError, RecursionError) as error:
    raise InputError(f"{path} is not a JSON file ({' '.join(str(error).split())}).") from error
  if isinstance(content, _Pairs):
    faces = [{"id": name, "landmarks": points} for name, points in content]
  elif isinstance(content, list):
    faces = [dict(face) if isinstance(face, _Pairs) else {} for face in content]
  else:
    faces = []
  if not faces or not all({"id", "landmarks"} <= face.keys() for face in faces):
    raise InputError(
      f'{path} must be {{"id": [[x, y], ...], ...}} or a list of {{"id": ..., "landmarks": [[x, y], ...]}}.'
    )
  ids = [str(face["id"]) for face in faces]
  landmarks = [
    _json_points(path, name, face["landmarks"]) for name, face in zip(ids, faces, strict=True)
  ]
  if odd := [
    name for name, points in zip(ids, landmarks, strict=True) if len(points) != len(landmarks[0])
  ]:
    raise InputError(
      f"{path}: {ids[0]} has {len(landmarks[0])} landmarks, but not {join_names(odd)}: give all faces equally many."
    )
  columns: dict[str, Any] = {}
  for key in ("visible", "box", "subsets"):
    if given := [face[key] for face in faces if key in face]:
      if len(given) != len(faces):
        raise InputError(
          f"{path}: {len(given)} of {len(faces)} faces have {key!r}: give it for all of them or for none."
        )
      columns[key] = given
  try:
    visible = np.array(columns["visible"], bool) if "visible" in columns else None
    boxes = np.array(columns["box"], np.float64) if "box" in columns else None
    texts = [
      value if isinstance(value, str) else " ".join(value) for value in columns.get("subsets", [])
    ]
  except (TypeError, ValueError) as error:
    raise InputError(
      f"{path}: visible, box or subsets are not lists of equal length ({error})."
    ) from error
  return LandmarkFile(
    path, ids, np.stack(landmarks), visible, boxes, [tuple(text.split()) for text in texts] or None
  )


class _Pairs(list):
  """A JSON object as its pairs: `dict` would keep the last of two equal keys without a word."""


def _json_points(path: Path, name: str, value: Any) -> np.ndarray:
  try:
    if any(isinstance(number, (str, bool)) for point in value for number in point):
      raise TypeError("a text")
    points = np.array(value, np.float64)  # null becomes NaN
  except (TypeError, ValueError, OverflowError):
    points = np.empty(0)
  if points.ndim != 2 or points.shape[-1] != 2 or not len(points):
    raise InputError(
      f"{path}: the landmarks of {name} are not a list of [x, y], two numbers each: {str(value)[:60]}."
    )
  return points


def _read_arrays(path: Path) -> LandmarkFile:
  names = ("landmarks", "ids", "names", "visible", "box", "subsets", "subset_names")
  try:
    if path.suffix.lower() == ".npz":
      with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
      if size > MAX_BYTES:
        raise InputError(
          f"{path} unpacks to {size:,} bytes, more than {MAX_BYTES:,}: these are no landmarks, or split the file."
        )
      with np.load(path, allow_pickle=False) as file:
        arrays = {name: np.asarray(file[name]) for name in names if name in file.files}
    else:
      arrays = {"landmarks": np.load(path, allow_pickle=False, mmap_mode=None)}
  except (
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    MemoryError,
    AttributeError,
  ) as error:
    reason = (
      "Python objects are not read"
      if "pickle" in str(error)
      else " ".join(str(error).split()).rstrip(".")
    )
    raise InputError(
      f"{path} cannot be read ({reason}): write it with np.savez(path, landmarks=..., ids=...)."
    ) from error
  landmarks = arrays.get("landmarks", np.empty(0))
  if landmarks.dtype.kind not in "fiu":
    raise InputError(f"{path}: `landmarks` must be numbers, got {landmarks.dtype}.")
  if "landmarks" not in arrays:
    raise InputError(f"{path} has no array `landmarks` (N, K, 2).")
  ids = arrays.get("ids", arrays.get("names"))
  if ids is not None and ids.dtype.kind not in "SUiu":
    raise InputError(f"{path}: ids must be texts, got {ids.dtype}.")
  for name in ("visible", "box"):
    if name in arrays and arrays[name].dtype.kind not in "fiub":
      raise InputError(f"{path}: `{name}` must be numbers, got {arrays[name].dtype}.")
  return LandmarkFile(
    path,
    None if ids is None else _texts(ids),
    landmarks.astype(np.float64),
    visible=arrays["visible"].astype(bool) if "visible" in arrays else None,
    boxes=arrays["box"].astype(np.float64) if "box" in arrays else None,
    subsets=_array_subsets(path, len(landmarks), arrays) if "subsets" in arrays else None,
  )


def _array_subsets(path: Path, count: int, arrays: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
  subsets, names = arrays["subsets"], arrays.get("subset_names")
  if subsets.shape == (count,) and subsets.dtype.kind in "SU":
    return [tuple(text.split()) for text in _texts(subsets)]
  if (
    names is not None
    and names.ndim == 1
    and subsets.shape == (count, len(names))
    and subsets.dtype.kind == "b"
  ):
    return [tuple(np.array(_texts(names))[row].tolist()) for row in subsets]
  got = f"{subsets.dtype} {subsets.shape}"
  raise InputError(
    f"{path}: `subsets` must be (N,) texts, or (N, S) bool beside `subset_names` (S,), got {got}."
  )


def _texts(array: np.ndarray) -> list[str]:
  return [
    text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    for text in array.reshape(-1).tolist()
  ]
