"""Landmarks that others wrote down: CSV, JSON and NPZ keyed by id, or bare arrays.

  CSV   header id,x0,y0,x1,y1,...; what our evaluation and --mode=predict write. Columns are found
        by name. Optional: subsets (names joined by spaces) or split, box_x0, box_y0, box_x1,
        box_y1, visible0, visible1, ... (0 or 1); score0, ..., uncertainty0, ... are not looked at.
        With image for id, as in the tables of tfds_builders/custom, several lines may be of one
        image: its further faces are called a.jpg#1, a.jpg#2.
  JSON  {"id": [[x, y], ...], ...}, or a list of {"id": ..., "landmarks": [[x, y], ...]} with
        optional "visible" [true, ...], "box" [x0, y0, x1, y1] and "subsets" (a list of names, or a
        text with spaces).
  NPZ   arrays `landmarks` (N, K, 2) and `ids` or `names` (N,). Optional: `visible` (N, K), `box`
        (N, 4), and `subsets`: (N,) texts, or (N, S) bool beside `subset_names` (S,). Without ids,
        or as .npy: only where the order may be assumed.

Coordinates are pixels of the original image. An empty cell, a null or NaN is a missing landmark.
Everything is checked before it is used.
"""

from pathlib import Path

import numpy as np

from fal_jax.errors import InputError, join_names
from fal_jax.parsing import limits
from fal_jax.scoring import landmark_arrays, landmark_csv, landmark_json
from fal_jax.scoring.faces import LandmarkFile

SUFFIXES = (".csv", ".json", ".npz", ".npy")


def read(path: str | Path, *, repeated_ids: bool = False) -> LandmarkFile:
  """Reads landmarks from a file; its suffix determines how.

  Args:
    path: the file to read; `~` is expanded.
    repeated_ids: whether several faces may have one id: where nothing is matched by it.

  Returns:
    (N, K, 2) landmarks and the file's optional fields.

  Raises:
    InputError: one sentence on what is wrong and where; among others: ids given twice, faces with
      different numbers of landmarks, infinite numbers, pickled arrays, more than
      `limits.MAX_LANDMARK_BYTES`.
  """
  path = Path(path).expanduser()
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    got = path.suffix or "a file without suffix"
    raise InputError(
      f"{path}: landmarks are read from {', '.join(SUFFIXES)} files, not from {got}."
    )

  try:
    limits.check_size(path, limits.MAX_LANDMARK_BYTES, what="a file of landmarks")
    match suffix:
      case ".csv":
        file = landmark_csv.read(path)
      case ".json":
        file = landmark_json.read(path)
      case _:
        file = landmark_arrays.read(path, max_bytes=limits.MAX_LANDMARK_BYTES)
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
  except UnicodeDecodeError as error:
    raise InputError(
      f"{path} is not a text in UTF-8 (byte {error.start}): is it another kind of file?"
    ) from error

  except MemoryError as error:
    raise InputError(f"{path} is too large for the memory of this machine: split it.") from error

  _check_shapes(file)
  if not repeated_ids:
    _check_ids(file)
  _check_range(file)
  return file


def _check_shapes(file: LandmarkFile) -> None:
  """Refuses arrays that do not fit the (N, K, 2) landmarks."""
  shape = file.landmarks.shape
  if file.landmarks.ndim != 3 or shape[-1] != 2 or not file.landmarks.size:
    raise InputError(
      f"{file.path}: the landmarks have shape {shape}, expected (faces, landmarks, 2) and at least "
      "one face."
    )

  if file.ids is not None and len(file.ids) != shape[0]:
    raise InputError(
      f"{file.path} has {len(file.ids)} ids for {shape[0]} faces: give one id per face."
    )

  expected = {"visible": (file.visible, shape[:2]), "box": (file.boxes, (shape[0], 4))}
  for name, (array, wanted) in expected.items():
    if array is not None and array.shape != wanted:
      raise InputError(
        f"{file.path}: `{name}` has shape {array.shape}, expected {wanted} for these landmarks."
      )


def _check_ids(file: LandmarkFile) -> None:
  """Refuses ids that are given twice."""
  if file.ids is None:
    return

  seen: set[str] = set()
  twice: dict[str, None] = {}
  for name in file.ids:
    if name in seen:
      twice[name] = None
    seen.add(name)

  if twice:
    raise InputError(
      f"{file.path} gives {len(twice)} ids more than once ({join_names([*twice], limit=3)}): give "
      "each face its own; in our files the faces of one image are a.jpg, a.jpg#1, a.jpg#2."
    )
  if "" in seen:
    raise InputError(
      f"{file.path} has a face without an id (face {file.ids.index('') + 1}): give each face its "
      "own id."
    )


def _check_range(file: LandmarkFile) -> None:
  """Refuses coordinates that no image has."""
  is_beyond = (np.abs(file.landmarks) > limits.MAX_COORDINATE).any((1, 2))
  if file.boxes is not None:
    is_beyond |= (np.abs(file.boxes) > limits.MAX_COORDINATE).any(1)
  if rows := np.flatnonzero(is_beyond).tolist():
    names = file.ids or [f"face {row}" for row in range(len(file.landmarks))]
    raise InputError(
      f"{file.path} has coordinates beyond {limits.MAX_COORDINATE:g} px for "
      f"{join_names([names[row] for row in rows])}: fix these faces."
    )
