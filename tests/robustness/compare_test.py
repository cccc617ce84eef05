"""One network on other boxes and under other conditions, in the files and on the screen."""

import json

import numpy as np
import pytest
import tiny_dataset

from fal_jax import build, data, evaluate, parallel
from fal_jax.errors import InputError
from fal_jax.robustness import boxes as kinds
from fal_jax.robustness import compare
from fal_jax.robustness.conditions import CONDITIONS, Condition

BOXES = ("detector", "refined", "dataset", "landmarks")


@pytest.fixture(scope="module")
def source(folder):
  return data.open_split(
    tiny_dataset.NAME, "test", data_dir=str(folder), num_landmarks=tiny_dataset.MARKUP
  )


class Perfect:
  """Predicts the centre of the box that it is given, and remembers the boxes."""

  def __init__(self, rule):
    self.rule, self.asked = rule, []

  def __call__(self, source, *, box, condition=None):
    self.asked.append((box, condition and condition.name))
    landmarks, records = [], []
    for record in source:
      rule = type(self.rule)(**{**vars(self.rule), "box": box})
      corners = data.face_box(record, rule)
      landmarks.append(np.linspace(corners[:2], corners[2:], tiny_dataset.MARKUP))
      records.append(record)
    faces = evaluate.annotations.from_records(records, dataset="", split="", rule=rule)
    return evaluate.Predictions(faces, np.stack(landmarks))


def diagonal_error(predictions):
  """Stands in for the metrics: the mean of the predicted corners."""
  return {"value": float(predictions.landmarks[:, [0, -1]].mean())}


@pytest.fixture
def predict(folder):
  return Perfect(build.crop_rule(tiny_dataset.config(folder)))


def test_each_kind_of_box_is_predicted_once_and_the_own_one_not_again(predict, source):
  own = predict(source, box="landmarks")
  predict.asked.clear()

  results = compare.by_box(predict, diagonal_error, source, own, boxes=BOXES)

  assert list(results) == ["landmarks", "detector", "refined", "dataset"]
  assert [box for box, _ in predict.asked] == ["detector", "landmarks", "dataset"]
  assert results["landmarks"] == diagonal_error(own)


def test_the_refined_box_is_tight_around_what_was_predicted_in_the_detector_s(predict, source):
  own = predict(source, box="landmarks")
  results = compare.by_box(predict, diagonal_error, source, own, boxes=("refined", "detector"))

  # The stand-in predicts the corners of its box, so the box of its landmarks is that box again.
  assert results["refined"] == pytest.approx(results["detector"])
  assert results["refined"] != pytest.approx(results["landmarks"])


def test_a_box_that_a_face_of_the_dataset_lacks_has_no_result(predict, source):
  records = [dict(record) for record in source]
  records[3]["box_dataset"] = np.full(4, np.nan, np.float32)
  own = predict(records, box="landmarks")

  results = compare.by_box(predict, diagonal_error, records, own, boxes=("dataset",))

  assert results == {"landmarks": diagonal_error(own), "dataset": None}


def test_each_condition_is_asked_of_the_network_under_its_name(predict, source):
  results = compare.by_condition(predict, diagonal_error, source, box="detector")

  assert list(results) == [condition.name for condition in CONDITIONS]
  assert predict.asked == [("detector", name) for name in results]


def test_a_condition_changes_the_crops_and_where_they_are_cut(source, folder):
  rule = build.crop_rule(tiny_dataset.config(folder))
  seen, faces = [], []

  def darken(image, landmarks, face):
    seen.append(landmarks)
    faces.append(face)
    return image // 2

  condition = Condition("dark and aside", darken, shift=(0.1, 0.0))
  plain = [images for _, images in evaluate.padded_batches(source, rule=rule, batch_size=8)]
  moved = Condition("aside", shift=(0.1, 0.0))
  ((batch, aside), *_) = evaluate.padded_batches(source, rule=rule, batch_size=8, condition=moved)
  ((_, dark), *_) = evaluate.padded_batches(source, rule=rule, batch_size=8, condition=condition)

  assert not np.array_equal(aside, plain[0])
  np.testing.assert_array_equal(dark, aside // 2)
  # Landmarks are where the moved crop shows them, discs and all.
  column, row = np.round(seen[0][tiny_dataset.EYES[1]]).astype(int)
  assert aside[0, row, column].min() > 150
  assert np.shape(batch[0]["crop_from_image"]) == (2, 3)
  assert faces[: len(batch)] == [example["id"] for example in batch]


@pytest.mark.parametrize("boxes", [("face",), "landmarks", ("landmarks", "tight")])
def test_a_kind_of_box_that_there_is_not_is_one_sentence(folder, boxes):
  with pytest.raises(InputError, match=r"config\.eval\.boxes is .* name some of dataset, landmar"):
    kinds.check(boxes)


@pytest.mark.slow
def test_the_command_line_compares_boxes_and_conditions(run_main, workdir, monkeypatch):
  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
  flags = [f"--config.eval.boxes={BOXES}", "--config.eval.stress=True"]

  code, out, err = run_main(*flags, workdir=str(workdir), mode="eval")

  assert code == 0, err
  written = json.loads((workdir / "eval" / "test.json").read_text())
  assert written["boxes"].keys() == {*BOXES}
  assert written["boxes"]["landmarks"]["nme_ic"] == written["nme_ic"]
  assert len({result["nme_ic"] for result in written["boxes"].values()}) > 2
  assert written["stress"].keys() == {condition.name for condition in CONDITIONS}
  assert 0 <= written["catastrophic"] == written["catastrophic_ic"] <= 100
  lines = [line.strip() for line in out.splitlines()]
  row = next(line for line in lines if line.startswith("white background"))
  assert row.split()[2] == f"{written['stress']['white background']['nme_ic']:.2f}"
  assert any(line.split()[:2] == ["box", "nme_ic"] for line in lines)
