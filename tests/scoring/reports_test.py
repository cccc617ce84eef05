"""Reports: what the screen shows of a summary, and the file with the error of each face."""

import numpy as np
from scored_faces import make_faces, percent, summarise

from fal_jax import metrics
from fal_jax.scoring import protocols, reports
from fal_jax.scoring import summary as summaries
from fal_jax.scoring.faces import Predictions


def test_the_screen_shows_subsets_beside_the_paper_and_counts_that_do_not_fit():
  subsets = [("helen",), ("lfpw",), ("lfpw",), ("ibug",)]
  faces = make_faces(4, name="test_full", subsets=subsets)
  protocol = protocols.find("w300", "test_full", norm="ic")
  summary = summarise(faces, faces.landmarks + percent(1, 2, 3, 10), protocol)

  table = reports.table("test_full", summary)

  assert "NOT COMPARABLE: the protocol has 689 faces, found 4" in table
  assert "the paper: nme_ic 2.94 (Table 4b)\n" in table
  assert [line.split() for line in table.splitlines()[-3:]] == [
    ["subset", "images", "nme_ic", "auc_ic_8", "fr_ic_8", "catastrophic_ic", "the", "paper"],
    ["common", "3", "2.00", "75.00", "0.00", "0.00", "2.61", "(the", "protocol", "has", "554)"],
    [
      "challenge",
      "1",
      "10.00",
      "0.00",
      "100.00",
      "0.00",
      "4.13",
      "(the",
      "protocol",
      "has",
      "135)",
    ],
  ]


def test_a_slice_of_a_split_is_not_said_to_be_incomplete():
  faces = make_faces(2, name="test[:10%]")
  protocol = protocols.find("wflw", "test[:10%]", norm="ic")
  summary = summarise(faces, faces.landmarks, protocol)

  assert "NOT COMPARABLE" not in reports.table("test", summary)


def test_the_screen_shows_the_normalisers_of_both_boxes_once():
  faces = make_faces(3, 19, dataset_boxes=np.tile([0.0, 0.0, 300.0, 400.0], (3, 1)))
  protocol = protocols.find("aflw19", "test_full", norm="ic")
  summary = summarise(faces, faces.landmarks + np.array([3.0, 4.0]), protocol)

  table = reports.table("test", summary)

  assert "nme_diag_dataset 1.00" in table
  assert table.count("\n  nme_box_dataset ") == 1


def test_the_screen_shows_the_jitter_of_videos():
  faces = make_faces(8, videos=["a"] * 4 + ["b"] * 4, frames=np.r_[:4, :4], name="test_a")
  pred = faces.landmarks + percent(0, 5, 0, 5, 1, 1, 1, 1)
  summary = summarise(faces, pred, protocols.find("w300vw", "test_a", norm="ic"))

  assert "jitter" in reports.table("a", summary)


def test_the_screen_shows_a_split_without_any_normaliser_in_one_line():
  faces = make_faces(2)
  faces.landmarks[:] = 1.0
  summary = summarise(faces, faces.landmarks, protocols.find("mine", "test", norm="ic"))

  table = reports.table("test", summary)

  assert table == "test: 2 images, 2 without a valid normaliser"


def test_metrics_are_found_by_their_normaliser():
  names = {"box": ["nme_box", "nme_median_box"], "box_dataset": ["nme_box_dataset"]}
  summary = {"nme_box": 1.0, "nme_median_box": 2.0, "nme_box_dataset": 3.0, "metric_names": names}

  assert reports.metrics_of(summary, "box") == {"nme_box": 1.0, "nme_median_box": 2.0}
  assert reports.metrics_of(summary, "box_dataset") == {"nme_box_dataset": 3.0}
  assert reports.metrics_of(summary, "ic") == {}


def test_a_new_metric_is_on_the_screen_whatever_its_name(monkeypatch):
  per_face = metrics.per_face

  def with_squares(nme, norm, thresholds):
    yield from per_face(nme, norm, thresholds)
    yield metrics.PerFace(f"rms2_{norm}", nme**2, 1)

  monkeypatch.setattr(metrics, "per_face", with_squares)
  faces = make_faces(2)
  protocol = protocols.find("mine", "test", norm="ic")
  summary = summarise(faces, faces.landmarks + percent(2, 4), protocol)

  assert "rms2_ic 10.00" in reports.table("test", summary)


def test_errors_of_faces_are_written_for_all_of_them(tmp_path):
  faces = make_faces(2)
  faces.landmarks[1, [36, 45]] = 100.0
  predictions = Predictions(faces, faces.landmarks + percent(3, 3))
  errors = summaries.measure(predictions, 68, protocols.find("mine", "test", norm="ic"))

  reports.write_errors(tmp_path / "e.csv", errors)

  header, *rows = [line.split(",") for line in (tmp_path / "e.csv").read_text().splitlines()]
  assert header == ["id", "nme_ic", "nme_ip", "nme_box", "nme_diag"]
  assert [row[:2] for row in rows] == [["0", "3.000000"], ["1", ""]]
  assert float(rows[1][3]) > 0
