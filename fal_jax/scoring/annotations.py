"""Annotated faces without their images, from a prepared dataset or an .npz file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax import data
from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.scoring import landmark_files
from fal_jax.scoring.faces import Faces, from_file

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
  """Reads an .npz, or another file as in `landmark_files`, in image px, pixel-centre.

  Args:
    path: the file to read.
    num_landmarks: K.

  Returns:
    Faces with boxes tight around their landmarks.

  Raises:
    InputError: the file cannot be read as landmarks, has another mark-up, or an empty face.
  """
  file = landmark_files.read(path, repeated_ids=True)
  if file.landmarks.shape[1] != num_landmarks:
    raise InputError(
      f"{file.path} has {file.landmarks.shape[1]} landmarks per face but config.data.markup is "
      f"{num_landmarks}: set --config.data.markup={file.landmarks.shape[1]} or choose another file."
    )
  return from_file(file)
