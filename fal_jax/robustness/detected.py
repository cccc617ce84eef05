"""A split on the boxes that a real detector draws in its images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fal_jax import data
from fal_jax.detect.detector import Detector
from fal_jax.images import read_image
from fal_jax.landmarks import box_iou

MIN_IOU = 0.4  # of a detector's box, mapped to a landmark box, and the face's own landmark box


class Recut(Sequence[Mapping[str, Any]]):
  """Some faces of a split, whose landmark boxes are replaced."""

  def __init__(self, source: data.Source, rows: Sequence[int], boxes: np.ndarray):
    """Takes face `rows[i]` of the source with box `boxes[i]`, (N, 4) image px."""
    self._source = source
    self._rows = rows
    self._boxes = boxes

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index: Any) -> Any:
    row = self._rows[index]  # first: iteration ends by the IndexError, which readers do not raise
    return {**self._source[row], "box_landmarks": self._boxes[index]}


def recut(source: data.Source, detector: Detector) -> tuple[Recut, list[str]]:
  """Cuts the faces of a split out by the boxes that a detector draws.

  A face is found where a box, whichever, has an IoU of at least 0.4 with the one around its
  landmarks; of several the best counts, so that another person in the image costs nothing.

  Args:
    source: the split.
    detector: a loaded one.

  Returns:
    The faces that are found, on the detector's boxes, and the ids of those that are not.
  """
  rows, boxes, missed = [], [], []
  for row, record in enumerate(source):
    name = data.example_id(record)
    found = detector.find(read_image(record["image"], name=name)).boxes
    overlaps = np.nan_to_num(box_iou(found, np.asarray(record["box_landmarks"], np.float64)))
    if overlaps.max(initial=0) >= MIN_IOU:
      rows.append(row)
      boxes.append(found[overlaps.argmax()])
    else:
      missed.append(name)
  return Recut(source, rows, np.reshape(boxes, (-1, 4))), missed
