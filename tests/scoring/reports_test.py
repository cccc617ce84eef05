"""Reports under a protocol: subsets, expected counts, both boxes, videos, and what the screen shows
of them.
"""

import json

import numpy as np
import pytest
from PIL import Image

from fal_jax import landmarks, metrics
from fal_jax.plots import landmark_errors
from fal_jax.scoring import jitter, protocols, reports
from fal_jax.scoring.faces import Faces


def _faces(n: int, num: int = 68, **columns) -> Faces:
  """Faces whose outer eye corners are 50 px apart."""
  points = np.random.default_rng(0).uniform(50, 150, (n, num, 2))
  points[:, list(landmarks.MARKUPS[num].outer_eyes)] = [[75, 100], [125, 100]]
  boxes = np.concatenate([points.min(1), points.max(1)], -1)
  given = {
    "name": "test",
    "dataset": "mine",
    "box": "landmarks",
    "ids": [str(i) for i in range(n)],
    **columns,
  }
  return Faces(landmarks=points, boxes=boxes, **given)


def _summary(faces, pred, protocol, num=68):
  found = reports.summarise(faces, pred, num, protocol)
  return json.loads(json.dumps(found, allow_nan=False))


def _percent(*values) -> np.ndarray:
  """(N, 1, 2) shifts that cost these percents of the 50 px between the eyes."""
  return np.array(values)[:, None, None] * [0.3, 0.4]


def test_300w_full_has_the_numbers_of_common_and_challenge():
  faces = _faces(4, name="test_full", subsets=[("helen",), ("lfpw",), ("lfpw",), ("ibug",)])
  protocol = protocols.find("w300", "test_full", norm="ic")
  found = _summary(faces, faces.landmarks + _percent(1, 2, 3, 10), protocol)
  assert found["nme_ic"] == pytest.approx(4, abs=1e-9)
  assert list(found["subsets"]) == ["common", "challenge"]
  assert [found["subsets"][name]["nme_ic"] for name in ("common", "challenge")] == pytest.approx(
    [2, 10], abs=1e-9
  )
  assert found["subsets"]["challenge"]["fr_ic_8"] == 100 and found["subsets"]["common"][
    "paper"
  ] == {"nme_ic": 2.61}
  assert (found["protocol"]["expected"], found["protocol"]["found"]) == (689, 4)
  shown = reports.table("test_full", found)
  assert (
    "NOT COMPARABLE: the protocol has 689 faces, these are 4" in shown
    and "the paper: nme_ic 2.94" in shown
  )
  assert [line.split() for line in shown.splitlines()[-3:]] == [
    ["subset", "images", "nme_ic", "auc_ic_8", "fr_ic_8", "the", "paper"],
    ["common", "3", "2.00", "75.00", "0.00", "2.61", "(the", "protocol", "has", "554)"],
    ["challenge", "1", "10.00", "0.00", "100.00", "4.13", "(the", "protocol", "has", "135)"],
  ]


def test_the_six_subsets_of_wflw_stand_in_the_order_of_the_papers_and_may_overlap():
  names = ["largepose", "expression", "illumination", "makeup", "occlusion", "blur"]
  faces = _faces(8, 98, subsets=[("blur", "largepose"), *((name,) for name in reversed(names)), ()])
  found = _summary(
    faces, faces.landmarks + _percent(*range(8)), protocols.find("wflw", "test", norm="ic"), 98
  )
  assert list(found["subsets"]) == names
  assert [found["subsets"][name]["num_images"] for name in names] == [2, 1, 1, 1, 1, 2]
  assert found["subsets"]["blur"]["nme_ic"] == pytest.approx(0.5, abs=1e-9)
  assert found["subsets"]["largepose"]["nme_ic"] == pytest.approx(3, abs=1e-9)


def test_a_slice_of_a_split_says_nothing_of_how_many_there_should_be():
  faces = _faces(2, name="test[:10%]")
  found = _summary(faces, faces.landmarks, protocols.find("wflw", "test[:10%]", norm="ic"))
  assert found["protocol"]["expected"] is None and "NOT COMPARABLE" not in reports.table(
    "test", found
  )


def test_subsets_that_hold_every_face_are_no_table():
  faces = _faces(3, name="test_common", subsets=[("helen",), ("lfpw",), ("lfpw",)])
  assert "subsets" not in _summary(
    faces, faces.landmarks, protocols.find("w300", "test_common", norm="ic")
  )


def test_aflw_is_measured_by_both_boxes():
  boxes = np.tile([0.0, 0.0, 300.0, 400.0], (3, 1))
  faces = _faces(3, 19, dataset_boxes=boxes)
  found = _summary(
    faces,
    faces.landmarks + np.array([3.0, 4.0]),
    protocols.find("aflw19", "test_full", norm="ic"),
    19,
  )
  assert found["nme_diag_dataset"] == pytest.approx(1, abs=1e-9)
  assert found["nme_box_dataset"] == pytest.approx(100 * 5 / np.sqrt(300 * 400), abs=1e-9)
  own = metrics.norms(faces.landmarks, 19)
  assert found["nme_diag"] == pytest.approx((500 / own["diag"]).mean(), abs=1e-9)
  shown = reports.table("test", found)
  assert "nme_diag_dataset 1.00" in shown and shown.count("nme_box_dataset") == 1


def test_videos_have_a_jitter_and_intervals_over_videos():
  videos, frames = ["a"] * 4 + ["b"] * 4, np.r_[:4, :4]
  faces = _faces(8, videos=videos, frames=frames, name="test_a")
  pred = faces.landmarks + _percent(0, 5, 0, 5, 1, 1, 1, 1)
  found = _summary(faces, pred, protocols.find("w300vw", "test_a", norm="ic"))
  norm = metrics.norms(faces.landmarks, 68)["box"]
  expected = jitter.jitter(pred, faces.landmarks, norm, videos=videos, frames=frames)
  assert found["jitter"] == {"norm": "box", **expected}
  assert found["jitter"]["videos"]["b"] == pytest.approx(0, abs=1e-9)
  assert found["intervals"]["over"] == "videos" and "jitter" in reports.table("a", found)
  ends = [
    (100 * np.linalg.norm(pred - faces.landmarks, axis=-1).mean(1) / norm)[rows].mean()
    for rows in (slice(4, 8), slice(4))
  ]
  assert found["intervals"]["nme_box"] == pytest.approx(
    ends, abs=1e-9
  )  # of two videos: one twice, or the other twice


def test_faces_without_a_normaliser_are_in_no_number_of_it():
  faces = _faces(4)
  faces.landmarks[1, [36, 45]] = 100.0
  pred = faces.landmarks + _percent(1, 50, 3, 5)
  found = _summary(faces, pred, protocols.find("mine", "test", norm="ic"))
  assert found["degenerate"] == {"ic": ["1"]} and found["nme_ic"] == pytest.approx(3, abs=1e-9)
  assert found["percentiles"]["ic"]["max"] == pytest.approx(5, abs=1e-9)
  assert found["intervals"]["nme_ic"][1] <= 5 and np.mean(found["landmarks"]) == pytest.approx(
    3, abs=1e-9
  )


def test_a_split_without_any_normaliser_is_reported_without_numbers():
  faces = _faces(2)
  faces.landmarks[:] = 1.0
  found = _summary(faces, faces.landmarks, protocols.find("mine", "test", norm="ic"))
  assert found["num_degenerate"] == 2 and "regions" not in found
  assert reports.table("test", found) == "test: 2 images, 2 without a usable normaliser"


def test_errors_of_faces_are_written_for_all_of_them(tmp_path):
  faces = _faces(2)
  faces.landmarks[1, [36, 45]] = 100.0
  protocol = protocols.find("mine", "test", norm="ic")
  reports.write_errors(
    tmp_path / "e.csv", faces, faces.landmarks + _percent(3, 3), reports.norms(faces, 68, protocol)
  )
  header, *rows = [line.split(",") for line in (tmp_path / "e.csv").read_text().splitlines()]
  assert header == ["id", "nme_ic", "nme_ip", "nme_box", "nme_diag"]
  assert [row[:2] for row in rows] == [["0", "3.000000"], ["1", ""]] and float(rows[1][3]) > 0


@pytest.mark.parametrize("num", [68, 98, 29, 19])
def test_the_picture_of_landmark_errors_marks_the_landmark_that_is_off(tmp_path, num):
  """One landmark is far worse than all others; the only dark colour of the scale lies around its
  place.
  """
  markup = landmarks.MARKUPS[num]
  true = np.random.default_rng(0).uniform(0, 100, (1, num, 2))
  worst = int(true[0, :, 1].argmax())  # the lowest one
  errors = np.full(num, 0.1)
  errors[worst], errors[(worst + 1) % num] = 8.0, np.nan
  landmark_errors.draw_landmark_errors(
    tmp_path / "l.png", true, [100.0], errors, markup=markup, norm="box"
  )
  with Image.open(tmp_path / "l.png") as picture:
    pixels = np.asarray(picture.convert("RGB")).astype(int)[:, : int(0.8 * picture.width)]
  dark = (pixels[..., 2] - pixels[..., 1] > 40) & (pixels.sum(-1) < 400)
  rows = np.flatnonzero(dark.any(1))
  ink = np.flatnonzero((pixels < 250).any((1, 2)))
  assert rows.size and rows.min() > ink.max() - 0.25 * len(pixels)


def test_the_interval_of_equal_faces_is_their_number_and_an_error_at_the_threshold_is_no_failure_there_either():
  faces = _faces(3)
  faces.landmarks[:] = np.round(
    faces.landmarks
  )  # so that 5 px are 5 px, 10 % of the 50 px between the eyes
  found = _summary(
    faces, faces.landmarks + np.array([0.0, 5.0]), protocols.find("mine", "test", norm="ic")
  )
  assert (found["nme_ic"], found["fr_ic_10"], found["fr_ic_8"]) == (10, 0, 100)
  for name in ("nme_ic", "auc_ic_10", "auc_ic_8", "fr_ic_10", "fr_ic_8"):
    assert found["intervals"][name] == pytest.approx([found[name]] * 2, abs=1e-9)
