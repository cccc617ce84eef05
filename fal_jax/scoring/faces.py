"""Annotated faces without their images, and predictions of them: what every result is made from."""

import dataclasses
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError, join_names
from fal_jax.landmarks import tight_boxes


@dataclasses.dataclass(frozen=True)
class Faces:
  """Annotated faces, image px.

  Attributes:
    name: what to call them, e.g. the split.
    dataset: where they are from.
    box: which kind `boxes` are, "dataset" or "landmarks".
    ids: N names.
    landmarks: (N, K, 2) float64, NaN where not annotated.
    boxes: (N, 4) float64, from which crops are made.
    visible: (N, K) bool, or None where unknown.
    dataset_boxes: (N, 4) float64, the dataset's own, NaN where it has none; or None.
    subsets: N tuples of the names of the subsets that a face belongs to; or None.
    videos: N names of videos; or None.
    frames: (N,) int numbers of frames in them; or None.
  """

  name: str
  dataset: str
  box: str
  ids: list[str]
  landmarks: np.ndarray
  boxes: np.ndarray
  visible: np.ndarray | None = None
  dataset_boxes: np.ndarray | None = None
  subsets: list[tuple[str, ...]] | None = None
  videos: list[str] | None = None
  frames: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Predictions:
  """One prediction for each face, image px.

  Attributes:
    faces: N annotated faces.
    landmarks: (N, K, 2) float64, predicted.
    scores: (N, K) float32, heights of the heatmaps' peaks; or None where there are no heatmaps.
    found: (N,) bool, faces that the method found: the landmarks of the others mean nothing, and
      they count as failures. None where all had to be predicted.
  """

  faces: Faces
  landmarks: np.ndarray
  scores: np.ndarray | None = None
  found: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class LandmarkFile:
  """The content of a file of landmarks, annotated or predicted.

  Attributes:
    path: where it was read from.
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


def from_file(file: LandmarkFile) -> Faces:
  """The faces that a file annotates, with boxes tight around their landmarks.

  Args:
    file: its (N, K, 2) landmarks are in image px, pixel-centre; where one coordinate is missing,
      so is the landmark. Without ids, faces are named by their row.

  Returns:
    Faces named after the file.

  Raises:
    InputError: a face has no landmark at all.
  """
  annotated = np.isfinite(file.landmarks).all(-1, keepdims=True)
  ids = file.ids or [str(row) for row in range(len(file.landmarks))]
  if empty := [ids[row] for row in np.flatnonzero(~annotated.any((1, 2)))]:
    raise InputError(
      f"{file.path} has faces without a single landmark, leave them out: {join_names(empty)}."
    )

  landmarks = np.where(annotated, file.landmarks, np.nan)
  return Faces(
    name=file.path.stem,
    dataset=file.path.name,
    box="landmarks",
    ids=ids,
    landmarks=landmarks,
    boxes=tight_boxes(landmarks),
    visible=file.visible,
    dataset_boxes=file.boxes,
    subsets=file.subsets,
  )
