"""The mean shape in the box of each face: what a method must beat to have looked at the image."""

import numpy as np

from fal_jax.landmarks import tight_boxes
from fal_jax.scoring.faces import Faces, Predictions


def predict(faces: Faces, *, training: np.ndarray | None = None) -> Predictions:
  """Fills the box that is tight around each face's annotated landmarks with a mean shape.

  Shapes are averaged as fractions of their boxes' width and height. This is where cascades of
  regression begin, but in the annotated box, which no method knows.

  Args:
    faces: N faces to predict.
    training: (M, K, 2) px, annotated landmarks of other faces, NaN where not annotated, whose mean
      it is; by default the mean of all the faces but the one predicted, which has seen what no
      training set says of the test set, and so is too good.

  Returns:
    (N, K, 2) landmarks, image px. One that is annotated in no face averaged is in the box's middle.
  """
  boxes = tight_boxes(faces.landmarks)
  low, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
  own = _fractions(faces.landmarks) if training is None else np.full_like(faces.landmarks, np.nan)
  averaged = own if training is None else _fractions(training)

  # All but the face's own, each of whose sums is the whole without it.
  total = np.nansum(averaged, 0) - np.nan_to_num(own)
  count = np.isfinite(averaged).sum(0) - np.isfinite(own)
  mean = np.where(count > 0, total / np.maximum(count, 1), 0.5)
  return Predictions(faces, low + mean * sides)


def describe(*, training: str | None) -> str:
  """What the row of the mean shape is, for a reader of a table.

  Args:
    training: the faces whose mean it is, or None for the others of the test set.

  Returns:
    A sentence.
  """
  whose = f"the mean shape of {training}"
  hint = "no method knows this box"
  if training is None:
    whose = "the mean of all the other faces' shapes in theirs"
    hint = "no method knows this box or these shapes, so the row is too good"
  return f"the box tight around each face's annotated landmarks, filled with {whose}; {hint}."


def _fractions(landmarks: np.ndarray) -> np.ndarray:
  """Landmarks (N, K, 2), px, as fractions of the width and height of their own tight boxes."""
  boxes = tight_boxes(landmarks)
  low, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
  flat = np.where(np.isfinite(landmarks), 0.5, np.nan)  # of a box without an extent
  return np.where(sides > 0, (landmarks - low) / np.where(sides > 0, sides, 1), flat)
