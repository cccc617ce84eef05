"""Evaluation: every image once, in original-image pixels, with provenance; it changes nothing."""

import csv
import dataclasses
import io
import json
from collections import Counter
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
from fal_jax.scoring import face_sheets, reports


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
  with tiny_dataset.without_figures():
    yield lambda **changes: evaluate.run(tiny_dataset.config(config.data.dir, **changes), workdir)


@pytest.fixture(scope="module")
def evaluated(config, workdir):
  """The summary of one evaluation of the run, and the texts that it wrote."""
  predict = mock.patch.object(parallel, "make_predict", tiny_dataset.make_predict)
  with predict, tiny_dataset.without_figures():
    summary = evaluate.run(config, workdir)["test"]
  return summary, read_texts(workdir)


def read_texts(workdir):
  names = ("test.json", "test_predictions.csv")
  return {name: (workdir / "eval" / name).read_text() for name in names}


def summary_of(workdir, name="test"):
  """What an evaluation wrote."""
  return json.loads((workdir / "eval" / f"{name}.json").read_text())


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_predictions_do_not_depend_on_the_batch_size(predict_split, predictions, batch_size):
  """Eight devices: `parallel.make_predict` pads batches of 1 and 5; the last is padded here."""
  others = predict_split(batch_size)

  assert others.faces.ids == predictions.faces.ids
  for name in ("landmarks", "boxes"):
    np.testing.assert_array_equal(getattr(others.faces, name), getattr(predictions.faces, name))
  np.testing.assert_allclose(others.landmarks, predictions.landmarks, atol=1e-3)
  np.testing.assert_allclose(others.scores, predictions.scores, atol=1e-5)

  ours = evaluate.score(others, tiny_dataset.MARKUP)
  expected = evaluate.score(predictions, tiny_dataset.MARKUP)
  assert ours.keys() == expected.keys()
  for name, value in expected.items():
    assert ours[name] == (pytest.approx(value, abs=1e-4) if isinstance(value, float) else value)


def test_each_image_is_predicted_once_with_its_own_truth(source, predictions):
  faces = predictions.faces

  assert faces.ids == [data.example_id(record) for record in source]
  assert len(set(faces.ids)) == tiny_dataset.TEST
  for record, landmarks, box in zip(source, faces.landmarks, faces.boxes, strict=True):
    np.testing.assert_array_equal(landmarks, record["landmarks"])
    np.testing.assert_array_equal(box, record["box_landmarks"])


def test_the_faces_know_what_the_records_say_of_them(source, predictions):
  visible = np.stack([record["visible"] for record in source])
  boxes = np.stack([record["box_dataset"] for record in source])

  np.testing.assert_array_equal(predictions.faces.visible, visible)
  np.testing.assert_array_equal(predictions.faces.dataset_boxes, boxes)


class Counting:
  """A source that counts how often each record is read."""

  def __init__(self, source):
    self.source, self.reads = source, Counter()

  def __len__(self):
    return len(self.source)

  def __getitem__(self, index):
    self.reads[index] += 1
    return self.source[index]


def test_a_report_reads_each_record_once_and_the_images_of_its_sheets_again(
  config, source, predict, variables, tmp_path
):
  counting = Counting(source)

  with mock.patch.object(face_sheets, "SHEET_FACES", 3):
    evaluate.evaluate_split(
      build.setup(config),
      "test",
      counting,
      predict=predict,
      variables=variables,
      step=12,
      report_to=tmp_path,
    )

  assert counting.reads.keys() == set(range(tiny_dataset.TEST))
  assert counting.reads.total() == tiny_dataset.TEST + 2 * 3  # the first and the worst
  assert (tmp_path / "test_worst.jpg").exists()


def test_predictions_are_in_pixels_of_the_original_image(
  config, variables, source, predict, predictions
):
  """Computed by hand for one image: crop, network, and back by the inverse map."""
  example = data.load_eval_example(source, 4, build.crop_rule(config))
  landmarks_crop = predict(variables, np.repeat(example["image"][None], 8, 0))[0][0]
  m = np.vstack([example["crop_from_image"], [0, 0, 1]])

  by_hand = np.linalg.solve(m, np.c_[landmarks_crop, np.ones(len(landmarks_crop))].T)[:2].T

  np.testing.assert_allclose(predictions.landmarks[4], by_hand, atol=1e-3)


def test_the_summary_is_that_of_the_metrics(predictions):
  true = predictions.faces.landmarks
  distance = np.linalg.norm(predictions.landmarks - true, axis=-1).mean(1)
  i, j = tiny_dataset.EYES
  norm = np.linalg.norm(true[:, i] - true[:, j], axis=-1)

  summary = evaluate.score(predictions, tiny_dataset.MARKUP)

  assert summary["nme_ic"] == pytest.approx((100 * distance / norm).mean())
  assert summary["num_images"] == tiny_dataset.TEST
  assert summary["num_degenerate"] == 0


def test_faces_without_a_normaliser_are_named_and_left_out(predictions, caplog):
  true = predictions.faces.landmarks.copy()
  true[2, tiny_dataset.EYES[0]] = np.nan
  true[5, list(tiny_dataset.EYES)] = 30.0
  faces = dataclasses.replace(predictions.faces, landmarks=true)

  summary = evaluate.score(dataclasses.replace(predictions, faces=faces), tiny_dataset.MARKUP)

  assert summary["degenerate"]["ic"] == [faces.ids[2], faces.ids[5]]
  assert summary["num_degenerate"] == 2
  assert faces.ids[5] in caplog.text
  assert np.isfinite(summary["nme_ic"])


@pytest.mark.slow
def test_evaluating_twice_writes_the_same_files(evaluated, run, workdir):
  summary, texts = evaluated
  assert summary["num_images"] == tiny_dataset.TEST

  run()

  assert read_texts(workdir) == texts


@pytest.mark.slow
def test_other_batches_change_no_more_than_the_rounding(evaluated, run):
  """On some processors XLA sums in another order for another number of images per device."""
  expected, pieces = evaluated[0], run(eval__batch_size=16)["test"]

  assert expected.keys() == pieces.keys()
  for name, value in expected.items():
    if isinstance(value, float):
      assert pieces[name] == pytest.approx(value, rel=1e-5), name


def test_the_predictions_file_holds_every_image_once_in_original_pixels(evaluated, predictions):
  _, texts = evaluated
  true = predictions.faces.landmarks
  norm = metrics.norms(true, tiny_dataset.MARKUP)["ic"]

  header, *rows = csv.reader(io.StringIO(texts["test_predictions.csv"]))
  assert header == ["id", *(f"{axis}{k}" for k in range(tiny_dataset.MARKUP) for axis in "xy")]
  assert [row[0] for row in rows] == predictions.faces.ids
  written = np.array([row[1:] for row in rows], np.float64).reshape(predictions.landmarks.shape)
  np.testing.assert_allclose(written, predictions.landmarks, atol=2e-3)
  nme = metrics.nme(written, true, norm).mean()
  assert nme == pytest.approx(json.loads(texts["test.json"])["nme_ic"], abs=0.01)


def test_results_carry_what_they_need_to_be_compared(run, workdir):
  run(data__box="dataset")

  provenance = summary_of(workdir)["provenance"]
  assert provenance.keys() >= {"model", "seed", "fal_jax", "git_commit"}
  assert (provenance["dataset"], provenance["split"]) == ("tiny_faces", "test")
  assert (provenance["box"], provenance["step"]) == ("dataset", 12)
  assert provenance["crop"]["face"] == 55.0
  assert provenance["codec"]["decode"] == "local_softargmax"


def test_several_splits_have_files_of_their_own(run, workdir):
  assert list(run(eval__splits=("nowhere", "train"))) == ["nowhere", "train"]

  assert summary_of(workdir, "nowhere")["num_images"] == 1
  assert summary_of(workdir, "train")["num_images"] == tiny_dataset.TRAIN


class OtherFaces(tiny_dataset.TinyFaces, skip_registration=True):
  """Another dataset of the same mark-up, in a configuration, whose split has the same name."""

  BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [tfds.core.BuilderConfig(name="few")]

  def _split_generators(self, dl_manager):
    return {"test": self._generate_examples("test", 300, 3)}


@pytest.mark.parametrize("key", ["data__name", "eval__name"])
def test_another_dataset_s_results_are_beside_the_run_s_own(evaluated, run, workdir, tmp_path, key):
  own = read_texts(workdir)
  OtherFaces(data_dir=tmp_path).download_and_prepare(download_dir=tmp_path)

  other = run(**{key: "other_faces/few"}, data__dir=str(tmp_path), eval__norm="box")["test"]

  assert other["num_images"] == 3
  written = summary_of(workdir, "other_faces/few/test")
  assert written["nme_box"] == other["nme_box"]
  assert written["provenance"]["dataset"] == "other_faces/few"
  assert read_texts(workdir) == own


@pytest.mark.slow
def test_a_run_may_train_on_one_dataset_and_evaluate_itself_on_another(folder, tmp_path):
  OtherFaces(data_dir=tmp_path).download_and_prepare(download_dir=tmp_path / "downloads")
  (tmp_path / "tiny_faces").symlink_to(folder / "tiny_faces")
  workdir = tmp_path / "run"
  config = tiny_dataset.config(tmp_path, train__epochs=1.0, eval__name="other_faces/few")

  assert tiny_dataset.run_without_figures(config, workdir)["test"]["num_images"] == 3

  written = summary_of(workdir)
  assert written["num_images"] == 3
  assert written["provenance"]["dataset"] == "other_faces/few"

  # The other dataset is the run's own: only the one that it trained on gets a folder.
  with mock.patch.object(parallel, "make_predict", tiny_dataset.make_predict):
    evaluate.run(config, workdir)
    assert not [path for path in (workdir / "eval").iterdir() if path.is_dir()]
    evaluate.run(tiny_dataset.config(tmp_path), workdir)
  assert summary_of(workdir, "tiny_faces/test")["num_images"] == tiny_dataset.TEST


def test_results_go_below_the_home_folder_where_the_workdir_says_so(workdir, monkeypatch):
  written_to = []
  monkeypatch.setenv("HOME", str(workdir.parent))
  monkeypatch.setattr(
    evaluate, "evaluate_split", lambda *_, report_to, **__: written_to.append(report_to)
  )

  evaluate.run(None, f"~/{workdir.name}")

  assert written_to == [workdir / "eval"]


def test_evaluating_changes_nothing(run, config, workdir, variables):
  def times():
    return {path: path.stat().st_mtime_ns for path in (workdir / "checkpoints").rglob("*")}

  saved, weights, before = tiny_dataset.last_digest(workdir), digest(variables), times()

  run()

  assert tiny_dataset.last_digest(workdir) == saved
  assert times() == before
  restored, _ = restore.restore_variables(build.setup(config), workdir)
  assert digest(variables) == digest(restored) == weights


def test_a_network_can_be_evaluated_on_one_device(config, variables, source, predictions):
  one = jax.tree.map(lambda leaf: jax.device_put(leaf, jax.devices()[0]), variables)
  model, codec = build.network(config), build.codec(config)
  rule = build.crop_rule(config)
  examples = [data.load_eval_example(source, row, rule) for row in range(3)]
  images = np.stack([example["image"] for example in examples])

  predict = jax.jit(lambda v, x: codec.decode(model.apply(v, x / 255.0, False)[-1]))
  landmarks, _ = predict(one, images)

  maps = np.stack([example["crop_from_image"] for example in examples])
  expected = [p @ m[:, :2].T + m[:, 2] for p, m in zip(predictions.landmarks, maps, strict=False)]
  np.testing.assert_allclose(landmarks, expected, atol=1e-3)


def test_the_mean_shape_of_identical_faces_predicts_them_exactly(source, config):
  rule = build.crop_rule(config)

  predictions = evaluate.mean_shape([source[3]], [source[3]] * 2, rule=rule)

  np.testing.assert_allclose(predictions.landmarks, predictions.faces.landmarks, atol=1e-9)


def test_the_table_shows_every_normaliser(predictions):
  table = reports.table("test", evaluate.score(predictions, tiny_dataset.MARKUP))

  title, *lines = table.splitlines()
  assert title == "test: 11 images, 0 without a valid normaliser"
  assert [line.split()[0] for line in lines] == ["nme_ic", "nme_ip", "nme_box", "nme_diag"]


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"eval__splits": ("valid",)}, "no split 'valid'"),
    ({"eval__name": "elsewhere"}, "The dataset 'elsewhere' is not prepared"),
    ({"eval__splits": ()}, "config.eval.splits"),
    ({"model__features": 16}, "by a different network"),
  ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_sentence(run, changes, named):
  with pytest.raises(InputError, match=named) as error:
    run(**changes)
  assert "\n" not in str(error.value)


def test_a_run_is_opened_on_any_number_of_devices(config, workdir):
  with config.unlocked():
    config.train.batch_size = config.eval.batch_size = 5
  assert evaluate.open_run(config, workdir).step == 12


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_a_run_or_a_checkpoint_is_refused(config, tmp_path, made):
  if made:
    (tmp_path / "checkpoints").mkdir()

  with pytest.raises(InputError, match="train first, or give the --workdir of a run"):
    evaluate.run(config, tmp_path)


def test_a_split_without_images_is_refused(predict, variables, config):
  with pytest.raises(InputError, match="holds no images"):
    evaluate.predict_split(predict, variables, [], rule=build.crop_rule(config), batch_size=8)
