"""What the doctor says about a dataset as a whole: overlaps, sides, crops, the builder's notes."""

import numpy as np
import pytest
from doctor_records import FLIP, clean_records, examine_records, points_of, record, titles

from fal_jax import landmarks
from fal_jax.landmarks import MARKUPS


def test_a_face_in_training_and_test_is_an_error():
  records = clean_records()
  records["test"][2] = record(7, name="elsewhere/another_name.png")

  report, findings, _ = examine_records(records)

  assert titles(findings, "error") == ["train and test share 1 face"]
  assert findings[0].faces == {"train": ["007.png"], "test": ["elsewhere/another_name.png"]}
  assert report["overlaps"]["train"]["test"] == {"pictures": 1, "faces": 1}
  assert report["overlaps"]["test"]["train"] == {"pictures": 1, "faces": 1}


def test_another_face_of_an_image_in_training_is_a_warning():
  records = clean_records()
  neighbour = points_of(7) + np.array([300, 0])
  records["test"][2] = record(7, points=neighbour, face_index=1)

  report, findings, _ = examine_records(records)

  assert "train and test share 1 image, but no face" in titles(findings, "warning")
  assert report["overlaps"]["train"]["test"] == {"pictures": 1, "faces": 0}


def test_unions_by_design_are_a_note_unless_the_config_trains_and_tests_on_them():
  records = clean_records()
  records |= {"fit": records["train"][2:], "val": records["train"][:2]}

  findings = examine_records(records)[1]
  assert titles(findings, "error") == []
  (union,) = [each for each in findings if each.title == "Splits that are parts of others"]
  assert union.severity == "note"
  assert "fit within train; val within train" in union.meaning

  findings = examine_records(records, eval__splits=("val[:1]",))[1]
  assert titles(findings, "error") == ["train and val share 2 faces"]


def test_a_config_may_train_on_a_union_but_not_on_parts_that_share_faces():
  records = clean_records()
  records |= {"fit": records["train"][2:], "val": records["train"][:2]}

  report, findings, _ = examine_records(records, data__train_split="fit[:50%]+val")
  assert (report["train"], report["tests"]) == (["fit[:50%]", "val"], ["test"])
  assert titles(findings, "error") == []

  findings = examine_records(records, data__train_split="train+val")[1]
  assert titles(findings, "error") == ["train and val share 2 faces"]
  assert findings[0].meaning.startswith("The config trains on both")


@pytest.mark.parametrize(
  ("train", "tests", "warned"),
  [
    ("train+test", ("test",), True),
    ("train", ("test", "train[:50%]"), True),
    ("train[:50%]", ("train+test",), True),
    ("train[:50%]", ("train[50%:]",), False),
  ],
)
def test_training_on_what_is_evaluated_is_a_warning(train, tests, warned):
  findings = examine_records(clean_records(), data__train_split=train, eval__splits=tests)[1]

  found = [title for title in titles(findings, "warning") if title.startswith("The config trains")]
  split = "test" if train == "train+test" else "train"
  assert found == ([f"The config trains on what it evaluates: {split}"] if warned else [])


@pytest.mark.parametrize(("dataset", "warned"), [("w300", True), ("synthetic_faces/68", False)])
def test_what_is_mixed_in_from_the_same_dataset_counts_as_trained_on(dataset, warned):
  mix = ((dataset, "test", 0.25),)
  findings = examine_records(clean_records(), data__name="w300", data__mix=mix)[1]

  found = [title for title in titles(findings, "warning") if title.startswith("The config trains")]
  assert found == (["The config trains on what it evaluates: test"] if warned else [])


@pytest.mark.parametrize("how", ["labels", "x and y"])
def test_left_and_right_swapped_everywhere_is_said_of_the_whole_dataset(how):
  records = clean_records()
  for faces in records.values():
    for row, face in enumerate(faces):
      points = face["landmarks"][FLIP] if how == "labels" else face["landmarks"][:, ::-1]
      faces[row] = face | {"landmarks": np.ascontiguousarray(points)}

  report, findings, flags = examine_records(records)

  assert "Left and right are swapped in the whole dataset" in titles(findings, "error")
  assert report["shape"]["sides"] == "exchanged"
  assert not flags["train"]["swapped"].any()


def test_a_wrong_flip_permutation_is_named_by_its_landmarks(monkeypatch):
  records = clean_records()
  markup = MARKUPS[29]
  names = list(markup.names)
  names[4], names[5] = names[5], names[4]
  wrong = landmarks.Markup(tuple(names), markup.edges, markup.outer_eyes, markup.pupils)
  monkeypatch.setitem(landmarks.MARKUPS, 29, wrong)

  report, findings, _ = examine_records(records)

  assert {k for k, _ in report["shape"]["better_partners"]} == {4, 5, 6, 7}
  (finding,) = [finding for finding in findings if "flip permutation" in finding.title]
  assert finding.severity == "error"
  assert "4 (right_brow_bottom) mirrors 6, not 7" in finding.meaning


def test_the_border_band_and_the_crop_are_measured_in_heatmap_px():
  records = clean_records()

  # The box all but fills the crop, so many landmarks lie within 2 of 16 heatmap px of its border.
  report, _, _ = examine_records(records, crop__face=62.0)

  depths = []
  for face in records["train"]:
    x0, y0, x1, y1 = face["box_landmarks"].astype(float)
    scale = 62 / max(x1 - x0, y1 - y0)
    crop = (face["landmarks"] - [(x0 + x1) / 2, (y0 + y1) / 2]) * scale + 31.5
    depths.append(np.minimum(crop + 0.5, 64 - (crop + 0.5)).min(-1) / 4)
  expected = 100 * ((np.array(depths) >= 0) & (np.array(depths) < 2)).mean()
  assert expected > 5
  assert report["splits"]["train"]["percent_in_band"] == pytest.approx(expected)

  report, findings, _ = examine_records(records, crop__face=90.0)
  assert report["splits"]["train"]["percent_outside_crop"] > 1
  assert "Landmarks outside the crop" in titles(findings, "warning")


def test_what_the_builder_noted_is_passed_on():
  metadata = {
    "missing": ["b.zip: not found"],
    "skipped": {"x.png": "empty"},
    "notes": {"grey": ["a.png"]},
    "official_counts": {"train": 12},
  }

  report, findings, _ = examine_records(clean_records(), metadata=metadata)

  assert report["splits"]["train"]["official"] == 12
  assert report["splits"]["test"]["official"] is None
  text = " ".join(finding.title + finding.meaning for finding in findings)
  for part in ("b.zip: not found", "x.png: empty", "grey: 1 file, e.g. a.png"):
    assert part in text


def test_long_lists_say_how_many_more_there_are():
  skipped = {f"{number}.png": "empty" for number in range(12)}

  findings = examine_records(clean_records(), metadata={"skipped": skipped})[1]

  (finding,) = [finding for finding in findings if "bad files" in finding.title]
  assert finding.meaning.endswith("9.png: empty; and 2 more.")


def test_splits_that_the_config_names_and_the_dataset_lacks_are_an_error():
  changes = {"data__train_split": "fit[:50%]", "eval__splits": ("test", "valid")}

  findings = examine_records(clean_records(), **changes)[1]

  assert titles(findings, "error") == ["The config names splits that are not there: fit, valid"]
