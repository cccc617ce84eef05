"""A split on the boxes that a detector draws: which faces are found, and how that is reported."""

import types

import face_detectors
import numpy as np
import pytest
import tiny_dataset

from fal_jax import data
from fal_jax.detect import load
from fal_jax.detect.detector import Detector
from fal_jax.errors import InputError
from fal_jax.landmarks import box_iou
from fal_jax.robustness import boxes, compare, detected
from fal_jax.scoring import reports

LOST = (2, 5)  # faces that the stand-in does not find


@pytest.fixture(scope="module")
def source(folder):
  return data.open_split(
    tiny_dataset.NAME, "test", data_dir=str(folder), num_landmarks=tiny_dataset.MARKUP
  )


@pytest.fixture
def detector(source):
  """Draws a box elsewhere, surer, and one beside the face; only the former for two faces."""
  calls = iter(range(len(source)))

  def detect(image):
    row = next(calls)
    box = np.asarray(source[row]["box_landmarks"], np.float64)
    aside = box + 0.1 * (box[2] - box[0]) * np.array([1, 0, 1, 0])
    away = box + 500
    boxes = [away] if row in LOST else [away, aside]
    # Of the stand-in's frame, edges of the image.
    return np.array(boxes) + 0.5, np.linspace(1, 0.5, len(boxes), dtype=np.float32)

  return Detector("stand-in", detect, lambda boxes: boxes)


def test_the_box_that_lies_best_is_taken_and_a_face_without_one_is_named(source, detector):
  found, missed = detected.recut(source, detector)

  assert missed == [data.example_id(source[row]) for row in LOST]
  assert len(found) == len(source) - len(LOST)
  kept = [record for row, record in enumerate(source) if row not in LOST]
  for record, original in zip(found, kept, strict=True):
    assert data.example_id(record) == data.example_id(original)
    np.testing.assert_array_equal(record["landmarks"], original["landmarks"])
    overlap = box_iou(record["box_landmarks"], np.asarray(original["box_landmarks"], float))
    assert 0.7 < overlap < 0.95


def test_faces_that_are_not_found_are_counted_beside_the_metrics_of_the_others(
  source, detector, monkeypatch
):
  monkeypatch.setattr(compare, "load_detector", lambda name: detector)
  own = types.SimpleNamespace(faces=types.SimpleNamespace(box="landmarks"))
  seen = []

  def predict(source, *, box, condition=None):
    seen.append((len(source), box))
    return own

  results = compare.by_box(predict, lambda _: {"nme_ic": 3.0}, source, own, boxes=("mtcnn",))

  missed = [data.example_id(source[row]) for row in LOST]
  assert results == {"landmarks": {"nme_ic": 3.0}, "mtcnn": {"nme_ic": 3.0, "missed": missed}}
  assert seen == [(len(source) - len(LOST), "landmarks")]

  lines = reports._harder_lines("box", results, ["nme_ic"])
  assert lines[-1].split(maxsplit=2) == ["mtcnn", "3.00", "(2 faces not found, not counted)"]


def test_where_no_face_is_found_there_is_a_count_and_no_metric(source, monkeypatch):
  blind = Detector("blind", lambda _: (np.zeros((0, 4)), np.zeros(0)), lambda boxes: boxes)
  monkeypatch.setattr(compare, "load_detector", lambda name: blind)
  own = types.SimpleNamespace(faces=types.SimpleNamespace(box="landmarks"))

  results = compare.by_box(None, lambda _: {"nme_ic": 3.0}, source, own, boxes=("yunet",))

  assert results["yunet"] == {"missed": [data.example_id(record) for record in source]}
  assert reports._harder_lines("box", results, ["nme_ic"])[-1].split()[:3] == ["yunet", "-", "(11"]


def test_a_detector_that_is_not_installed_is_found_out_before_any_work(monkeypatch):
  monkeypatch.setattr(load, "MTCNN_PACKAGE", "no_such_package")
  load._mtcnn.cache_clear()
  with pytest.raises(InputError, match="mtcnn is not installed"):
    boxes.check(("detector", "mtcnn"))


def test_an_installed_detector_is_a_kind_of_box():
  face_detectors.mtcnn_installed()
  boxes.check(("detector", "mtcnn"))
