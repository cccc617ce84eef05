"""Summaries under a protocol: subsets, expected counts, both boxes, videos, intervals."""

import numpy as np
import pytest
from scored_faces import make_faces, percent, summarise

from fal_jax import metrics
from fal_jax.scoring import jitter, protocols

MINE = protocols.find("mine", "test", norm="ic")


def test_300w_full_has_the_results_of_common_and_challenge():
  subsets = [("helen",), ("lfpw",), ("lfpw",), ("ibug",)]
  faces = make_faces(4, name="test_full", subsets=subsets)
  protocol = protocols.find("w300", "test_full", norm="ic")

  summary = summarise(faces, faces.landmarks + percent(1, 2, 3, 10), protocol)

  assert summary["nme_ic"] == pytest.approx(4, abs=1e-9)
  assert list(summary["subsets"]) == ["common", "challenge"]
  common, challenge = summary["subsets"].values()
  assert common["nme_ic"] == pytest.approx(2, abs=1e-9)
  assert challenge["nme_ic"] == pytest.approx(10, abs=1e-9)
  assert challenge["fr_ic_8"] == 100
  assert common["paper"] == {"nme_ic": 2.61}
  assert summary["protocol"]["paper"] == {"nme_ic": 2.94}
  assert summary["protocol"]["paper_source"] == {"nme_ic": "Table 4b"}
  assert (summary["protocol"]["expected"], summary["protocol"]["found"]) == (689, 4)


def test_the_subsets_of_wflw_are_in_the_order_of_the_papers_and_may_overlap():
  names = ["largepose", "expression", "illumination", "makeup", "occlusion", "blur"]
  subsets = [("blur", "largepose"), *((name,) for name in reversed(names)), ()]
  faces = make_faces(8, 98, subsets=subsets)
  protocol = protocols.find("wflw", "test", norm="ic")

  summary = summarise(faces, faces.landmarks + percent(*range(8)), protocol)

  assert list(summary["subsets"]) == names
  counts = [summary["subsets"][name]["num_images"] for name in names]
  assert counts == [2, 1, 1, 1, 1, 2]
  assert summary["subsets"]["blur"]["nme_ic"] == pytest.approx(0.5, abs=1e-9)
  assert summary["subsets"]["largepose"]["nme_ic"] == pytest.approx(3, abs=1e-9)


@pytest.mark.parametrize("split", ["test_full[:10%]", "test_common+test_challenge"])
def test_a_slice_and_a_union_are_compared_with_nothing(split):
  faces = make_faces(2, name=split, subsets=[("helen",), ("ibug",)])
  protocol = protocols.find("w300", split, norm="box")

  summary = summarise(faces, faces.landmarks, protocol)

  assert summary["protocol"]["norm"] == "ic"
  assert summary["protocol"]["expected"] is None
  assert summary["protocol"]["paper"] == {}
  assert list(summary["subsets"]) == ["common", "challenge"]
  assert not any({"expected", "paper"} & {*subset} for subset in summary["subsets"].values())


def test_a_split_of_which_no_source_gives_the_number_expects_none():
  faces = make_faces(2, 19, name="test_frontal", dataset_boxes=np.tile([0.0, 0, 30, 30], (2, 1)))
  protocol = protocols.find("aflw19", "test_frontal", norm="ic")

  assert summarise(faces, faces.landmarks, protocol)["protocol"]["expected"] is None


def test_subsets_that_hold_every_face_are_left_out():
  faces = make_faces(3, name="test_common", subsets=[("helen",), ("lfpw",), ("lfpw",)])
  protocol = protocols.find("w300", "test_common", norm="ic")

  assert "subsets" not in summarise(faces, faces.landmarks, protocol)


def test_aflw_is_measured_by_both_boxes():
  boxes = np.tile([0.0, 0.0, 300.0, 400.0], (3, 1))
  faces = make_faces(3, 19, dataset_boxes=boxes)
  protocol = protocols.find("aflw19", "test_full", norm="ic")

  summary = summarise(faces, faces.landmarks + np.array([3.0, 4.0]), protocol)

  assert summary["nme_diag_dataset"] == pytest.approx(1, abs=1e-9)
  assert summary["nme_box_dataset"] == pytest.approx(100 * 5 / np.sqrt(300 * 400), abs=1e-9)
  diagonals = metrics.norms(faces.landmarks, 19)["diag"]
  assert summary["nme_diag"] == pytest.approx((500 / diagonals).mean(), abs=1e-9)


def test_videos_have_a_jitter_and_intervals_over_videos():
  videos, frames = ["a"] * 4 + ["b"] * 4, np.r_[:4, :4]
  faces = make_faces(8, videos=videos, frames=frames, name="test_a")
  pred = faces.landmarks + percent(0, 5, 0, 5, 1, 1, 1, 1)
  norm = metrics.norms(faces.landmarks, 68)["box"]

  summary = summarise(faces, pred, protocols.find("w300vw", "test_a", norm="ic"))

  expected = jitter.jitter(pred, faces.landmarks, norm, videos=videos, frames=frames)
  assert summary["jitter"] == {"norm": "box", **expected}
  assert summary["jitter"]["videos"]["b"] == pytest.approx(0, abs=1e-9)

  # Two videos are drawn: one of them twice, or the other twice.
  nme = 100 * np.linalg.norm(pred - faces.landmarks, axis=-1).mean(1) / norm
  assert summary["intervals"]["over"] == "videos"
  ends = [nme[4:].mean(), nme[:4].mean()]
  assert summary["intervals"]["nme_box"] == pytest.approx(ends, abs=1e-9)


def test_faces_without_a_normaliser_are_in_none_of_its_results():
  faces = make_faces(4)
  faces.landmarks[1, [36, 45]] = 100.0

  summary = summarise(faces, faces.landmarks + percent(1, 50, 3, 5), MINE)

  assert summary["degenerate"] == {"ic": ["1"]}
  assert summary["nme_ic"] == pytest.approx(3, abs=1e-9)
  assert summary["percentiles"]["ic"]["max"] == pytest.approx(5, abs=1e-9)
  assert summary["intervals"]["nme_ic"][1] <= 5
  assert np.mean(summary["landmarks"]) == pytest.approx(3, abs=1e-9)


def test_a_split_without_any_normaliser_has_no_metrics():
  faces = make_faces(2)
  faces.landmarks[:] = 1.0

  summary = summarise(faces, faces.landmarks, MINE)

  assert summary["num_degenerate"] == 2
  assert "regions" not in summary


def test_the_interval_of_equal_faces_is_their_metric():
  """At the threshold too, where an error is not a failure."""
  faces = make_faces(3)
  faces.landmarks[:] = np.round(faces.landmarks)  # 5 px are 5 px, 10 % of the 50 between the eyes

  summary = summarise(faces, faces.landmarks + np.array([0.0, 5.0]), MINE)

  assert (summary["nme_ic"], summary["fr_ic_10"], summary["fr_ic_8"]) == (10, 0, 100)
  for name in ("nme_ic", "auc_ic_10", "auc_ic_8", "fr_ic_10", "fr_ic_8"):
    assert summary["intervals"][name] == pytest.approx([summary[name]] * 2, abs=1e-9)
