"""The doctor flags each planted defect on its face alone and counts landmarks exactly."""

import numpy as np
import pytest
import tiny_dataset
from doctor_records import FLIP, SIZE, clean_records, examine_records, points_of, record, titles

from fal_jax import data


def test_a_clean_dataset_has_neither_error_nor_warning_about_a_face():
  report, findings, flags = examine_records(clean_records())

  assert titles(findings, "error") == []
  assert all(not finding.faces for finding in findings if finding.severity == "warning")
  assert all(not mask.any() for mask in flags["test"].values())
  assert report["splits"]["train"]["faces"] == 10
  assert report["shape"]["sides"] == "right"
  assert report["shape"]["asymmetry_percent"] < 0.01
  assert not report["shape"]["better_partners"]


def with_points(points):
  """Plants landmarks on the face, with an ordinary box."""
  return record(3, points=points, box_dataset=np.array([20.0, 20, 80, 80]))


def with_moved_landmark(offset, k=4):
  points = points_of(3)
  points[k] = points[k] + offset
  return with_points(points)


def with_near_eyes(face):
  points = face["landmarks"].copy()
  points[tiny_dataset.EYES[0]] = points[tiny_dataset.EYES[1]] + 0.5
  return face | {"landmarks": points}


def with_landmarks(value):
  return lambda face: face | {"landmarks": np.full((29, 2), value, np.float32)}


def with_box(*box):
  return lambda face: face | {"box_dataset": np.array(box, np.float32)}


@pytest.mark.parametrize(
  ("flag", "severity", "plant"),
  [
    ("outside", "note", lambda face: with_moved_landmark(-60)),
    ("far_outside", "error", lambda face: record(3, points=face["landmarks"] + 400)),
    ("odd", "warning", lambda face: with_moved_landmark(40)),
    ("missing", "note", lambda face: with_moved_landmark(np.nan)),
    ("swapped", "error", lambda face: record(3, points=points_of(3)[FLIP])),
    ("no_extent", "error", with_landmarks(30)),
    ("empty", "error", with_landmarks(np.nan)),
    ("box_degenerate", "error", with_box(40, 50, 30, 20)),
    ("box_missing", "note", with_box(*[np.nan] * 4)),
    ("box_elsewhere", "warning", with_box(500, 500, 600, 600)),
    ("unreadable", "error", lambda face: face | {"image": b"<!doctype html>log in"}),
    ("not_rgb", "note", lambda face: face | {"image": tiny_dataset.png(np.zeros(SIZE, np.uint8))}),
    ("occluded", "note", lambda face: face | {"visible": np.arange(29) > 3}),
    ("repeated", "warning", lambda face: record(2, name="copy.png")),
    ("small_norm", "warning", with_near_eyes),
  ],
)
def test_a_planted_defect_is_found_on_its_face_alone(flag, severity, plant):
  records = clean_records()
  records["train"][3] = plant(records["train"][3])

  report, findings, flags = examine_records(records)

  assert np.flatnonzero(flags["train"][flag]).tolist() == [3]
  assert not flags["test"][flag].any()
  assert report["splits"]["train"]["flags"][flag] == 1
  name = data.example_id(records["train"][3])
  severities = [finding.severity for finding in findings if finding.faces.get("train") == [name]]
  assert severity in severities


def test_every_count_of_planted_landmarks_is_exact():
  records = clean_records()
  records["train"][3] = with_moved_landmark(-60)
  points = points_of(5)
  points[[1, 2]] = np.nan
  records["train"][5] = record(5, points=points, box_dataset=None)

  numbers = examine_records(records)[0]["splits"]["train"]

  assert (numbers["missing"], numbers["landmarks"], numbers["outside_image"]) == (2, 288, 1)
  x, y = points_of(3)[4] - 60
  assert numbers["outside_image_px"] == pytest.approx(-0.5 - min(x, y), abs=1e-3)
  assert numbers["percent_visible"] == 100


def test_an_image_under_two_names_is_told_from_two_faces_of_one_image():
  records = clean_records()
  shifted = points_of(0) + np.array([300, 0])

  records["train"].append(record(0, points=shifted, face_index=1))
  flags = examine_records(records)[2]["train"]
  assert not flags["repeated"].any()
  assert not flags["renamed"].any()

  records["train"][-1] = record(0, points=shifted, name="second_name.png")
  flags = examine_records(records)[2]["train"]
  assert np.flatnonzero(flags["renamed"]).tolist() == [0, 10]
  assert not flags["repeated"].any()


def test_a_config_that_crops_by_boxes_that_are_missing_is_told_so():
  records = clean_records()
  records["train"][3] = record(3, box_dataset=None)

  flags = examine_records(records, data__box="dataset")[2]["train"]

  assert np.flatnonzero(flags["no_crop"]).tolist() == [3]
