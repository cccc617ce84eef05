"""Mistakes in units lead to warnings, and good predictions to none."""

import numpy as np
import pytest
from landmark_tables import N, make_faces

from fal_jax.scoring import face_errors, units


def _warnings(pred, true):
  errors = face_errors.measure(pred, true, {"ic": np.full(N, 40.0)})
  return units.unit_warnings(pred, true, errors.by_norm["ic"])


@pytest.mark.parametrize(
  ("spoil", "warning"),
  [
    (
      lambda true: np.random.default_rng(5).uniform(0, 2000, true.shape),
      "are these the same faces",
    ),
    (lambda true: true[..., ::-1], "the predictions seem to be (y, x)"),
    (lambda true: (true - [50.0, 50.0]) * 4, "coordinates of a crop or of a resized image"),
  ],
)
def test_coordinates_of_another_frame_are_warned_of(spoil, warning):
  """Faces far from the corner of the image, so that other frames are far away as well."""
  true = make_faces() + np.array([400.0, 900.0])

  (sentence,) = _warnings(spoil(true), true)

  assert warning in sentence


def test_an_annotation_that_counts_from_one_is_warned_of():
  (sentence,) = _warnings(make_faces() - 1, make_faces())

  assert "does the annotation count pixels from 1?" in sentence


def test_good_predictions_raise_no_warning():
  noise = np.random.default_rng(0).normal(0, 2, (N, 68, 2))

  assert _warnings(make_faces() + noise, make_faces()) == []
