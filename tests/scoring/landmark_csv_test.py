"""Landmarks as CSV: what is written comes back, and both of our own formats are read."""

import csv

import numpy as np
import pytest

from fal_jax.errors import InputError
from fal_jax.scoring import landmark_csv, landmark_files

IDS = ["a.jpg", "a.jpg#1"]
POINTS = np.arange(12.0).reshape(2, 3, 2) / 8


def test_scores_and_uncertainty_have_a_column_per_landmark_and_do_not_hinder_reading(tmp_path):
  path = tmp_path / "predictions.csv"
  points = POINTS.copy()
  points[1, 2] = np.nan
  scores, uncertainty = np.full((2, 3), 0.5), np.arange(6.0).reshape(2, 3)

  landmark_csv.write(path, IDS, points, scores=scores, uncertainty=uncertainty)

  with path.open(newline="") as file:
    first, second = csv.DictReader(file)
  assert list(first) == [
    *("id", "x0", "y0", "x1", "y1", "x2", "y2", "score0", "score1", "score2"),
    *("uncertainty0", "uncertainty1", "uncertainty2"),
  ]
  assert (first["x1"], first["score2"], second["uncertainty0"]) == ("0.250", "0.500", "3.000")
  assert (second["x2"], second["y2"]) == ("", "")

  read = landmark_files.read(path)
  assert read.ids == IDS
  np.testing.assert_array_equal(read.landmarks, points)


def test_the_table_of_the_custom_builder_is_read_with_a_name_for_each_face(tmp_path):
  """Its faces of one image are as many lines; `data.example_id` calls them a.jpg and a.jpg#1."""
  path = tmp_path / "landmarks.csv"
  lines = ["split, y0,x0,image,box_x0,box_y0,box_x1,box_y1,visible0"]
  lines += ["test,2,1,i/a.jpg,0,0,9,9,1", "train,4,3,i/b.jpg,0,0,8,8,0", "test,,,i/a.jpg,,,,,0"]
  path.write_text("\n".join(lines))

  read = landmark_files.read(path)

  assert read.ids == ["i/a.jpg", "i/b.jpg", "i/a.jpg#1"]
  np.testing.assert_array_equal(read.landmarks[:, 0], [[1, 2], [3, 4], [np.nan, np.nan]])
  np.testing.assert_array_equal(read.boxes[:2, 2], [9, 8])
  assert np.isnan(read.boxes[2]).all()
  np.testing.assert_array_equal(read.visible[:, 0], [True, False, False])
  assert read.subsets == [("test",), ("train",), ("test",)]


@pytest.mark.parametrize(
  ("head", "reason"),
  [
    ("id,image,x0,y0", "both id and image name a face"),
    ("id;x0;y0", "separated by something else than commas"),
    ("id,x0,y0,score1", "unknown or duplicate score1"),
    ("id,x0,y0,x0", "missing x1, y1"),
    ("id,x0,y0,x1,y1,visible0", "missing visible1"),
    ("id,x0,y0,box_x0", "missing box_y0, box_x1, box_y1"),
    (f"id,x0,y0,{'z' * 70_000}", "unknown or duplicate zzz"),
    ("frame,face_id,confidence,x_0,x_1,y_0,y_1", "looks like OpenFace's output"),
  ],
)
def test_a_first_line_that_is_not_ours_is_refused_with_the_likely_cause(tmp_path, head, reason):
  path = tmp_path / "mine.csv"
  path.write_text(f"{head}\n{','.join('1' for _ in head.split(','))}\n")

  with pytest.raises(InputError, match=reason) as refused:
    landmark_files.read(path)

  assert len(str(refused.value)) < 500
