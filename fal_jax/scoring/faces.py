"""Annotated faces, as one table without their pixels: what every number is measured against."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Faces:
  """Annotated faces, image px.

  Attributes:
    name: what to call them.
    dataset: where they are from.
    box: which kind `boxes` are, "dataset" or "landmarks".
    ids: N names.
    landmarks: (N, K, 2) float64, NaN where not annotated.
    boxes: (N, 4) float64, from which crops are made.
    visible: (N, K) bool, or None where nobody says.
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
