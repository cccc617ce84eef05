"""Annotated faces without their images, from a prepared dataset or an .npz file."""

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax import data
from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.scoring.faces import Faces, LandmarkFile, from_file

# What a record may say of a face besides its name and boxes.
COLUMNS = ("landmarks", "visible", "box_dataset", "subsets", "subset", "video", "frame")


def read_split(
  name: str, split: str, *, data_dir: str | None, num_landmarks: int, rule: CropRule
) -> Faces:
  """Reads the annotations of one split of a prepared dataset; its images stay encoded.

  Args:
    name: TFDS name.
    split: name of a split, slices included.
    data_dir: where the dataset is prepared; see `data.open_split`.
    num_landmarks: K.
    rule: determines which box.

  Returns:
    Faces with (N, K, 2) landmarks, image px.
  """
  records = data.open_split(name, split, data_dir=data_dir, num_landmarks=num_landmarks)
  return from_records(records, dataset=name, split=split, rule=rule)


def from_records(
  records: Iterable[Mapping[str, Any]], *, dataset: str, split: str, rule: CropRule
) -> Faces:
  """The faces of records, with their optional fields.

  Args:
    records: as in `tfds_builders.common.schema`; their images are not looked at. They are read one
      at a time, because the images of all of them may not fit into memory.
    dataset: where they are from.
    split: what to call them.
    rule: determines which box.

  Returns:
    Faces with (N, K, 2) landmarks, image px.
  """
  columns: dict[str, list[Any]] = {}
  ids, boxes = [], []

  for record in records:
    ids.append(data.example_id(record))
    boxes.append(data.face_box(record, rule))
    for column in COLUMNS:
      if column in record:
        columns.setdefault(column, []).append(record[column])

  tags = columns.get("subsets", columns.get("subset"))
  return Faces(
    name=split,
    dataset=dataset,
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
  """Reads `landmarks` (N, K, 2), image px, pixel-centre, and `names` (N,) if present.

  Args:
    path: the file to read.
    num_landmarks: K.

  Returns:
    Faces with boxes tight around their landmarks.

  Raises:
    InputError: the file is absent, damaged, pickled or not an .npz, or holds no such arrays,
      another mark-up, or an empty face.
  """
  path = Path(path).expanduser()
  arrays = _load(path)

  landmarks = arrays.get("landmarks", np.empty(0))
  is_points = landmarks.ndim == 3 and landmarks.shape[-1] == 2 and len(landmarks) > 0
  if landmarks.dtype.kind not in "fiu" or not is_points:
    shape = f"{landmarks.dtype} {landmarks.shape}"
    got = shape if "landmarks" in arrays else "no array of that name"
    expected = f"an .npz with numbers `landmarks` (N, {num_landmarks}, 2) in image pixels"
    raise InputError(f"{path} must be {expected}, got {got}.")

  if landmarks.shape[1] != num_landmarks:
    raise InputError(
      f"{path} has {landmarks.shape[1]} landmarks per face but config.data.markup is "
      f"{num_landmarks}: set --config.data.markup={landmarks.shape[1]} or choose another file."
    )

  names = arrays.get("names", np.arange(len(landmarks)))
  if names.shape != landmarks.shape[:1]:
    raise InputError(
      f"{path}: `names` has shape {names.shape}, expected ({len(landmarks)},): one name per face."
    )
  ids = [data.to_str(name) for name in names.tolist()]
  return from_file(LandmarkFile(path, ids, landmarks.astype(np.float64)))


def _load(path: Path) -> dict[str, np.ndarray]:
  """The arrays `landmarks` and `names` of an .npz, those of them that are there."""
  try:
    with path.open("rb") as opened:  # which numpy would not close if it is damaged
      file = np.load(opened, allow_pickle=False)
      present = file.files if isinstance(file, np.lib.npyio.NpzFile) else []
      return {name: np.asarray(file[name]) for name in ("landmarks", "names") if name in present}
  except (
    OSError,
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
  ) as error:
    reason = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, FileNotFoundError):
      reason = "there is no such file"

    raise InputError(
      f"{path} cannot be read ({reason}): give an .npz as np.savez(path, landmarks=...) writes it."
    ) from error
