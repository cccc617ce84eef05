"""Evaluation counts every image once, writes original-image pixels with their provenance, and
changes nothing.
"""

import csv
import json
from typing import ClassVar
from unittest import mock

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny_dataset

from fal_jax import build, data, evaluate, metrics, parallel, restore
from fal_jax.checkpoint import digest
from fal_jax.errors import InputError


@pytest.fixture(scope="module")
def config(folder):
  return tiny_dataset.config(folder)


@pytest.fixture(scope="module")
def variables(config, workdir):
  return restore.restore_variables(build.setup(config), workdir)[0]


@pytest.fixture(scope="module")
def source(config, folder):
  return data.open_split(
    config.data.name, "test", data_dir=str(folder), num_landmarks=tiny_dataset.MARKUP
  )


@pytest.fixture(scope="module")
def predict(config):
  return tiny_dataset.make_predict(build.network(config), build.codec(config))


@pytest.fixture(scope="module")
def predict_split(config, variables, source, predict):
  rule = build.crop_rule(config)
  return lambda batch_size: evaluate.predict_split(
    predict, variables, source, rule=rule, batch_size=batch_size
  )


@pytest.fixture(scope="module")
def predictions(predict_split):
  return predict_split(8)


@pytest.fixture
def run(config, workdir, monkeypatch):
  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
  return lambda **changes: evaluate.run(tiny_dataset.config(config.data.dir, **changes), workdir)


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_predictions_do_not_depend_on_the_batch_size(predict_split, predictions, batch_size):
  """Eight devices: `parallel.make_predict` pads batches of 1 and 5, and the last batch is
  padded here.
  """
  found = predict_split(batch_size)
  assert found.ids == predictions.ids
  for name in ("true", "boxes"):
    np.testing.assert_array_equal(getattr(found, name), getattr(predictions, name))
  np.testing.assert_allclose(found.landmarks, predictions.landmarks, atol=1e-3)
  np.testing.assert_allclose(found.scores, predictions.scores, atol=1e-5)
  ours, theirs = (evaluate.score(each, tiny_dataset.MARKUP) for each in (found, predictions))
  assert ours.keys() == theirs.keys()
  for name, value in theirs.items():
    assert ours[name] == (pytest.approx(value, abs=1e-4) if isinstance(value, float) else value)


def test_each_image_is_predicted_once_with_its_own_truth(source, predictions):
  assert (
    predictions.ids == [data.example_id(record) for record in source]
    and len(set(predictions.ids)) == tiny_dataset.TEST
  )
  for record, true, box in zip(source, predictions.true, predictions.boxes, strict=True):
    np.testing.assert_array_equal(true, record["landmarks"])
    np.testing.assert_array_equal(box, record["box_landmarks"])


def test_predictions_are_in_pixels_of_the_original_image(
  config, variables, source, predict, predictions
):
  """Found by hand for one image: crop, network, and back by the inverse map."""
  example = data.load_eval_example(source, 4, build.crop_rule(config))
  landmarks_crop = predict(variables, np.repeat(example["image"][None], 8, 0))[0][0]
  m = np.vstack([example["crop_from_image"], [0, 0, 1]])
  by_hand = np.linalg.solve(m, np.c_[landmarks_crop, np.ones(len(landmarks_crop))].T)[:2].T
  np.testing.assert_allclose(predictions.landmarks[4], by_hand, atol=1e-3)


def test_the_summary_is_that_of_the_metrics(predictions):
  summary = evaluate.score(predictions, tiny_dataset.MARKUP)
  distance = np.linalg.norm(predictions.landmarks - predictions.true, axis=-1).mean(1)
  i, j = tiny_dataset.EYES
  norm = np.linalg.norm(predictions.true[:, i] - predictions.true[:, j], axis=-1)
  assert summary["nme_ic"] == pytest.approx((100 * distance / norm).mean())
  assert summary["num_images"] == tiny_dataset.TEST and summary["num_degenerate"] == 0


def test_faces_without_a_normaliser_are_named_and_left_out(predictions, caplog):
  true = predictions.true.copy()
  true[2, tiny_dataset.EYES[0]] = np.nan
  true[5, list(tiny_dataset.EYES)] = 30.0
  summary = evaluate.score(
    evaluate.Predictions(**{**vars(predictions), "true": true}), tiny_dataset.MARKUP
  )
  assert (
    summary["degenerate"]["ic"] == [predictions.ids[2], predictions.ids[5]]
    and summary["num_degenerate"] == 2
  )
  assert predictions.ids[5] in caplog.text and np.isfinite(summary["nme_ic"])


def test_evaluating_twice_with_other_batches_writes_the_same_files(run, workdir):
  assert run()["test"]["num_images"] == tiny_dataset.TEST
  names = ("eval/test.json", "eval/test_predictions.csv")
  before = [(workdir / name).read_text() for name in names]
  run(eval__batch_size=16)
  assert [(workdir / name).read_text() for name in names] == before


def test_the_predictions_file_holds_every_image_once_in_original_pixels(run, workdir, predictions):
  run()
  with (workdir / "eval" / "test_predictions.csv").open() as file:
    header, *rows = csv.reader(file)
  assert header == ["id", *(f"{axis}{k}" for k in range(tiny_dataset.MARKUP) for axis in "xy")]
  assert [row[0] for row in rows] == predictions.ids
  written = np.array([row[1:] for row in rows], np.float64).reshape(predictions.landmarks.shape)
  np.testing.assert_allclose(written, predictions.landmarks, atol=2e-3)
  summary = json.loads((workdir / "eval" / "test.json").read_text())
  norm = metrics.norms(predictions.true, tiny_dataset.MARKUP)["ic"]
  assert metrics.nme(written, predictions.true, norm).mean() == pytest.approx(
    summary["nme_ic"], abs=0.01
  )


def test_the_numbers_carry_what_they_need_to_be_compared(run, workdir):
  run(data__box="dataset")
  provenance = json.loads((workdir / "eval" / "test.json").read_text())["provenance"]
  assert provenance.keys() >= {
    "dataset",
    "split",
    "box",
    "crop",
    "codec",
    "model",
    "step",
    "seed",
    "fal_jax",
    "git_commit",
  }
  assert [provenance[name] for name in ("dataset", "split", "box", "step")] == [
    "tiny_faces",
    "test",
    "dataset",
    12,
  ]
  assert provenance["crop"]["face"] == 55.0 and provenance["codec"]["decode"] == "local_softargmax"


def test_several_splits_have_files_of_their_own(run, workdir):
  assert list(run(eval__splits=("nowhere", "train"))) == ["nowhere", "train"]
  assert json.loads((workdir / "eval" / "nowhere.json").read_text())["num_images"] == 1
  assert (
    json.loads((workdir / "eval" / "train.json").read_text())["num_images"] == tiny_dataset.TRAIN
  )


class OtherFaces(tiny_dataset.TinyFaces, skip_registration=True):
  """Another dataset of the same mark-up, in a configuration, whose split has the same name."""

  BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [tfds.core.BuilderConfig(name="few")]

  def _split_generators(self, dl_manager):
    return {"test": self._generate_examples("test", 300, 3)}


@pytest.mark.parametrize("key", ["data__name", "eval__name"])
def test_another_dataset_s_results_lie_beside_the_run_s_own(run, workdir, tmp_path, key):
  own = run()["test"]
  OtherFaces(data_dir=tmp_path).download_and_prepare(download_dir=tmp_path)
  other = run(**{key: "other_faces/few"}, data__dir=str(tmp_path), eval__norm="box")["test"]
  assert (own["num_images"], other["num_images"]) == (tiny_dataset.TEST, 3)
  written = json.loads((workdir / "eval" / "other_faces" / "few" / "test.json").read_text())
  assert (
    written["nme_box"] == other["nme_box"] and written["provenance"]["dataset"] == "other_faces/few"
  )
  assert json.loads((workdir / "eval" / "test.json").read_text())["nme_box"] == own["nme_box"]


def test_a_run_may_train_on_one_dataset_and_evaluate_itself_on_another(folder, tmp_path):
  OtherFaces(data_dir=tmp_path).download_and_prepare(download_dir=tmp_path / "downloads")
  (tmp_path / "tiny_faces").symlink_to(folder / "tiny_faces")
  workdir = tmp_path / "run"
  config = tiny_dataset.config(tmp_path, train__epochs=1.0, eval__name="other_faces/few")
  assert tiny_dataset.run(config, workdir)["test"]["num_images"] == 3
  written = json.loads((workdir / "eval" / "test.json").read_text())
  assert written["num_images"] == 3 and written["provenance"]["dataset"] == "other_faces/few"
  with mock.patch.object(parallel, "make_predict", tiny_dataset.make_predict):
    evaluate.run(config, workdir)
    assert sorted(path.name for path in (workdir / "eval").iterdir() if path.is_dir()) == [], (
      "it is the run's own"
    )
    evaluate.run(tiny_dataset.config(tmp_path), workdir)
  assert (
    json.loads((workdir / "eval" / "tiny_faces" / "test.json").read_text())["num_images"]
    == tiny_dataset.TEST
  )


def test_evaluating_changes_nothing(run, config, workdir, variables):
  saved, weights = tiny_dataset.last_digest(workdir), digest(variables)
  files = {path: path.stat().st_mtime_ns for path in (workdir / "checkpoints").rglob("*")}
  run()
  assert tiny_dataset.last_digest(workdir) == saved
  assert {path: path.stat().st_mtime_ns for path in (workdir / "checkpoints").rglob("*")} == files
  assert (
    digest(variables)
    == digest(restore.restore_variables(build.setup(config), workdir)[0])
    == weights
  )


def test_a_network_can_be_evaluated_on_one_device(config, variables, source, predictions):
  one = jax.tree.map(lambda leaf: jax.device_put(leaf, jax.devices()[0]), variables)
  model = build.network(config)
  images = np.stack(
    [data.load_eval_example(source, row, build.crop_rule(config))["image"] for row in range(3)]
  )
  landmarks, _ = jax.jit(
    lambda v, x: build.codec(config).decode(model.apply(v, x / 255.0, False)[-1])
  )(one, images)
  maps = [
    data.load_eval_example(source, row, build.crop_rule(config))["crop_from_image"]
    for row in range(3)
  ]
  shown = np.stack(
    [p @ m[:, :2].T + m[:, 2] for p, m in zip(predictions.landmarks, maps, strict=False)]
  )
  np.testing.assert_allclose(landmarks, shown, atol=1e-3)


def test_the_mean_shape_of_identical_faces_predicts_them_exactly(source, config):
  predictions = evaluate.mean_shape([source[3]], [source[3]] * 2, rule=build.crop_rule(config))
  np.testing.assert_allclose(predictions.landmarks, predictions.true, atol=1e-9)


def test_the_table_shows_every_normaliser(predictions):
  lines = evaluate.table("test", evaluate.score(predictions, tiny_dataset.MARKUP)).splitlines()
  assert lines[0] == "test: 11 images, 0 without a usable normaliser"
  assert [line.split()[0] for line in lines[1:]] == ["nme_ic", "nme_ip", "nme_box", "nme_diag"]


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"eval__splits": ("valid",)}, "no split 'valid'"),
    ({"eval__name": "elsewhere"}, "The dataset 'elsewhere' is not prepared"),
    ({"eval__splits": ()}, "config.eval.splits"),
    ({"model__features": 16}, "another network"),
    ({"eval__batch_size": 5}, "multiple of the number of devices"),
  ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_sentence(run, changes, named):
  with pytest.raises(InputError, match=named) as error:
    run(**changes)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_a_run_or_a_checkpoint_is_refused(config, tmp_path, made):
  if made:
    (tmp_path / "checkpoints").mkdir()
  with pytest.raises(InputError, match="train first, or give the --workdir of a run"):
    evaluate.run(config, tmp_path)


def test_a_split_without_images_is_refused(predict, variables, config):
  with pytest.raises(InputError, match="holds no images"):
    evaluate.predict_split(predict, variables, [], rule=build.crop_rule(config), batch_size=8)
