"""Annotated faces without their pixels, from a prepared dataset or an .npz file."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from fal_jax import data
from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.scoring.faces import Faces


def read_split(
  name: str, split: str, *, data_dir: str | None, num_landmarks: int, rule: CropRule
) -> Faces:
  """Reads one split of a prepared dataset as (N, K, 2) landmarks; its images stay encoded.

  Args:
    name: TFDS name.
    split: name of a split, slices included.
    data_dir: where the dataset is prepared; see `data.open_split`.
    num_landmarks: K.
    rule: says which box.
  """
  return from_source(
    data.open_split(name, split, data_dir=data_dir, num_landmarks=num_landmarks),
    name,
    split,
    rule=rule,
  )


def from_source(source: data.Source, name: str, split: str, *, rule: CropRule) -> Faces:
  """`read_split` of a split that is open: (N, K, 2) landmarks and whatever else its records say of
  a face.
  """
  columns: dict[str, list[np.ndarray]] = {}
  ids, boxes = [], []
  for record in source:  # one at a time: the images of all records would not fit into memory
    ids.append(data.example_id(record))
    boxes.append(data.face_box(record, rule))
    for column in ("landmarks", "visible", "box_dataset", "subsets", "subset", "video", "frame"):
      if column in record:
        columns.setdefault(column, []).append(record[column])
  tags = columns.get("subsets", columns.get("subset"))
  return Faces(
    name=split,
    dataset=name,
    box=rule.box,
    ids=ids,
    landmarks=np.stack(columns["landmarks"]).astype(np.float64),
    boxes=np.stack(boxes),
    visible=np.stack(columns["visible"]),
    dataset_boxes=np.stack(columns["box_dataset"]).astype(np.float64),
    subsets=None if tags is None else [tuple(data.to_str(tag).split()) for tag in tags],
    videos=[data.to_str(video) for video in columns["video"]] if "video" in columns else None,
    frames=np.array(columns["frame"], int) if "frame" in columns else None,
  )


def read_npz(path: str | Path, *, num_landmarks: int) -> Faces:
  """Reads `landmarks` (N, K, 2), image px, pixel-centre, and `names` (N,) if it is there; boxes are
  tight around the landmarks.

  Raises:
    InputError: the file is absent, damaged, pickled or no .npz, or holds no such arrays, another
      mark-up, or an empty face.
  """
  path = Path(path).expanduser()
  try:
    file = np.load(path, allow_pickle=False)
    names_there = file.files if isinstance(file, np.lib.npyio.NpzFile) else []
    arrays = {
      name: np.asarray(file[name]) for name in ("landmarks", "names") if name in names_there
    }
  except (
    OSError,
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
  ) as error:
    reason = (
      "there is no such file"
      if isinstance(error, FileNotFoundError)
      else " ".join(str(error).split()).rstrip(".")
    )
    raise InputError(
      f"{path} cannot be read ({reason}): give an .npz as np.savez(path, landmarks=...) writes it."
    ) from error
  landmarks = arrays.get("landmarks", np.empty(0))
  if (
    landmarks.dtype.kind not in "fiu"
    or landmarks.ndim != 3
    or landmarks.shape[-1] != 2
    or not len(landmarks)
  ):
    got = (
      f"{landmarks.dtype} {landmarks.shape}" if "landmarks" in arrays else "no array of that name"
    )
    expected = f"an .npz with numbers `landmarks` (N, {num_landmarks}, 2) in image pixels"
    raise InputError(f"{path} must be {expected}, got {got}.")
  if landmarks.shape[1] != num_landmarks:
    raise InputError(
      f"{path} has {landmarks.shape[1]} landmarks per face but config.data.markup is {num_landmarks}: set "
      f"--config.data.markup={landmarks.shape[1]} or choose another file."
    )
  names = arrays.get("names", np.arange(len(landmarks)))
  if names.shape != landmarks.shape[:1]:
    raise InputError(
      f"{path}: `names` has shape {names.shape}, expected ({len(landmarks)},): one name per face."
    )
  ids = [name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist()]
  annotated = np.isfinite(landmarks).all(-1, keepdims=True)
  if empty := [ids[row] for row in np.flatnonzero(~annotated.any((1, 2)))]:
    listed = ", ".join(empty[:10]) + (f" and {len(empty) - 10} more" if len(empty) > 10 else "")
    raise InputError(f"{path} has faces without a single landmark, leave them out: {listed}.")
  landmarks = np.where(annotated, landmarks, np.nan).astype(np.float64)
  boxes = np.concatenate([np.nanmin(landmarks, 1), np.nanmax(landmarks, 1)], -1)
  return Faces(path.stem, path.name, "landmarks", ids, landmarks, boxes)
