"""The mean shape: against a plain loop over faces, and where landmarks are not annotated."""

import numpy as np
from scored_faces import make_faces

from fal_jax.scoring import mean_shape


def _in_box(points):
  low, high = np.nanmin(points, 0), np.nanmax(points, 0)
  return (points - low) / (high - low), low, high - low


def test_it_is_the_mean_of_all_other_faces_in_their_boxes():
  faces = make_faces(6)
  faces.landmarks[2, :5] = np.nan

  predicted = mean_shape.predict(faces).landmarks

  for face in range(6):
    others = np.stack([_in_box(points)[0] for points in np.delete(faces.landmarks, face, 0)])
    _, low, sides = _in_box(faces.landmarks[face])
    np.testing.assert_allclose(predicted[face], low + np.nanmean(others, 0) * sides)


def test_of_training_faces_it_is_the_same_shape_in_every_box():
  faces, training = make_faces(3), make_faces(5).landmarks * 3 + 7

  predicted = mean_shape.predict(faces, training=training).landmarks

  mean = np.mean([_in_box(points)[0] for points in training], 0)
  for face in range(3):
    _, low, sides = _in_box(faces.landmarks[face])
    np.testing.assert_allclose(predicted[face], low + mean * sides)


def test_what_is_annotated_nowhere_else_and_boxes_without_height_are_predicted_too():
  faces = make_faces(3)
  faces.landmarks[1:, 40] = np.nan
  faces.landmarks[2, :, 1] = 5.0

  predicted = mean_shape.predict(faces).landmarks

  assert np.isfinite(predicted).all()
  low, high = faces.boxes[0, :2], faces.boxes[0, 2:]
  np.testing.assert_allclose(predicted[0, 40], (low + high) / 2)
