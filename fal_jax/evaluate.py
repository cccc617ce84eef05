"""Evaluation: every image of a split once, its numbers, its predictions and its pictures."""

import csv
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

import fal_jax
from fal_jax import affine, build, data, flag_parser, metrics, parallel, restore
from fal_jax.build import Setup
from fal_jax.crop import CropRule, crop_from_image
from fal_jax.errors import InputError
from fal_jax.landmarks import Markup
from fal_jax.plots import sheets
from fal_jax.scoring import annotations, protocols, reports

SHEET_FACES = 16
# px of a face on a sheet before it is doubled, whatever the network's input: cut anew from the
# photograph
SHEET_SIZE = 160


@dataclasses.dataclass(frozen=True)
class Predictions:
  """What a network says about a split, beside the truth; image px throughout.

  Attributes:
    ids: N names.
    landmarks: (N, K, 2) float64, predicted.
    scores: (N, K) float32, heights of the peaks.
    true: (N, K, 2) float64, NaN where not annotated.
    boxes: (N, 4) float64, the boxes that the crops were made from.
  """

  ids: list[str]
  landmarks: np.ndarray
  scores: np.ndarray
  true: np.ndarray
  boxes: np.ndarray


def predict_split(
  predict: Callable, variables: Any, source: data.Source, *, rule: CropRule, batch_size: int
) -> Predictions:
  """Runs the network over a split.

  The last batch is padded to full size, so that nothing compiles twice, and the padding is dropped:
  each image counts once, whatever the batch size and the number of devices.

  Args:
    predict: from `parallel.make_predict`.
    variables: `params` and `batch_stats`.
    source: the split.
    rule: how boxes become crops.
    batch_size: images at a time.
  """
  if not len(source):
    raise InputError(
      "The split holds no images: prepare the dataset again or name another split in config.eval.splits."
    )
  columns: dict[str, list[Any]] = {
    "landmarks": [],
    "scores": [],
    "true": [],
    "boxes": [],
    "ids": [],
  }
  for batch in data.eval_batches(source, rule=rule, batch_size=batch_size):
    images = np.zeros((batch_size, rule.size, rule.size, 3), np.uint8)
    images[: len(batch)] = [example["image"] for example in batch]
    landmarks_crop, scores = predict(variables, images)
    for example, landmarks, score in zip(
      batch, landmarks_crop, scores, strict=False
    ):  # the padding is left over
      image_from_crop = affine.invert(example["crop_from_image"])
      columns["landmarks"].append(affine.apply(image_from_crop, landmarks.astype(np.float64)))
      columns["scores"].append(score)
      columns["true"].append(example["landmarks"])
      columns["boxes"].append(example["box"])
      columns["ids"].append(example["id"])
  ids = columns.pop("ids")
  return Predictions(ids=ids, **{name: np.stack(rows) for name, rows in columns.items()})


def mean_shape(train_source: data.Source, source: data.Source, *, rule: CropRule) -> Predictions:
  """The mean training shape put into every box: what a network must beat to have looked at the
  image at all.

  Args:
    train_source: gives the mean landmarks, (K, 2) in crop px.
    source: the split to predict.
    rule: how boxes become crops.
  """

  def place(record: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    box = data.face_box(record, rule)
    return record["landmarks"].astype(np.float64), box, crop_from_image(box, rule)

  shapes = [affine.apply(crop, landmarks) for landmarks, _, crop in map(place, train_source)]
  mean = np.nanmean(shapes, 0)
  true, boxes, crops = (np.stack(column) for column in zip(*map(place, source), strict=True))
  landmarks = affine.apply(affine.invert(crops), np.broadcast_to(mean, true.shape))
  scores = np.ones(true.shape[:2], np.float32)
  return Predictions([data.example_id(record) for record in source], landmarks, scores, true, boxes)


def score(predictions: Predictions, markup: int | Markup) -> dict[str, Any]:
  """The numbers of `metrics.summarise` under all normalisers; faces without a usable normaliser are
  printed.
  """
  summary = metrics.summarise(
    predictions.landmarks,
    predictions.true,
    metrics.norms(predictions.true, markup),
    ids=predictions.ids,
  )
  reports.warn_of_degenerate(summary)
  return summary


def run(
  config: ConfigDict | None,
  workdir: str | Path,
  *,
  overrides: Sequence[str] = (),
  directory: Path | None = None,
) -> dict[str, dict[str, Any]]:
  """--mode=eval: the newest checkpoint of a run on every split of `config.eval.splits`.

  Whatever makes the evaluation differ from the run's own (another crop, decoder, network) is
  printed.

  Args:
    config: of the evaluation; None for the one that the run has saved.
    workdir: of the run.
    overrides: flags of the form --config.x.y=z that change the saved config.
    directory: where the results go; by default `<workdir>/eval`, and `<workdir>/eval/<dataset>` for
      another dataset than the run's own, whose splits may have the same names.

  Returns:
    split -> summary.

  Raises:
    InputError: there is no such run or dataset, or the config does not fit them.
  """
  saved = restore.saved_config(workdir)
  if config is None:
    config = flag_parser.override(saved, overrides)
  for difference in restore.evaluation_differences(saved, config):
    print(f"{workdir} is evaluated under another config than its own: {difference}", flush=True)

  setup = build.setup(config, device_count=jax.device_count())
  sources = open_splits(setup)
  variables, step = restore.restore_variables(setup, workdir)
  predict = parallel.make_predict(setup.network, setup.codec)
  if directory is None:
    is_own = setup.eval_dataset == build.eval_dataset(saved)
    directory = Path(workdir) / "eval" / ("" if is_own else setup.eval_dataset)

  return {
    split: evaluate_split(
      setup, split, source, predict=predict, variables=variables, step=step, report_to=directory
    )
    for split, source in sources.items()
  }


def open_splits(setup: Setup) -> dict[str, data.Source]:
  """Opens all of `config.eval.splits`: a misspelt name must not be found out after hours."""
  return {
    split: data.open_split(
      setup.eval_dataset,
      split,
      data_dir=setup.config.data.dir,
      num_landmarks=setup.markup.num,
    )
    for split in setup.config.eval.splits
  }


def evaluate_split(
  setup: Setup,
  split: str,
  source: data.Source,
  *,
  predict: Callable,
  variables: Any,
  step: int,
  report_to: Path | None = None,
) -> dict[str, Any]:
  """Evaluates one split.

  Args:
    setup: of the run.
    split: its name, for files and messages.
    source: its records.
    predict: from `parallel.make_predict`.
    variables: `params` and `batch_stats`.
    step: that they are from.
    report_to: where `report` writes its files; None for the metrics alone, as while training.

  Returns:
    What `score` says; with `report_to` what `report` says.
  """
  predictions = predict_split(
    predict, variables, source, rule=setup.crop, batch_size=setup.config.eval.batch_size
  )
  if report_to is None:
    return score(predictions, setup.markup)
  return report(setup, report_to, split, source, predictions, step=step)


def report(
  setup: Setup,
  directory: Path,
  split: str,
  source: data.Source,
  predictions: Predictions,
  *,
  step: int,
) -> dict[str, Any]:
  """Writes `<split>.json`, `<split>_predictions.csv` and the pictures into a folder.

  Returns:
    What `reports.summarise` says under the protocol of the dataset.
  """
  name, norm = setup.eval_dataset, setup.norm
  faces = annotations.from_source(source, name, split, rule=setup.crop)
  protocol = protocols.find(name, split, norm=norm)
  summary = reports.summarise(faces, predictions.landmarks, setup.markup, protocol)
  reports.warn_of_degenerate(summary)
  directory.mkdir(parents=True, exist_ok=True)
  written = {**summary, "provenance": provenance(setup.config, split=split, step=step)}
  (directory / f"{split}.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
  write_predictions(directory / f"{split}_predictions.csv", predictions.ids, predictions.landmarks)
  _draw(directory, split, predictions, source, rule=setup.crop, setup=setup)
  threshold = protocol.threshold if norm == protocol.norm else metrics.THRESHOLDS[norm][0]
  reports.draw(
    directory, split, faces, predictions.landmarks, setup.markup, norm=norm, threshold=threshold
  )
  return summary


def table(split: str, summary: dict[str, Any]) -> str:
  """The numbers of a split for the screen."""
  return reports.table(split, summary)


def provenance(config: ConfigDict, *, split: str, step: int) -> dict[str, Any]:
  """What a number needs to be compared with another: data, box, crop, decoder, step and code."""
  return {
    "dataset": build.eval_dataset(config),
    "split": split,
    "box": config.data.box,
    "crop": config.crop.to_dict(),
    "codec": config.codec.to_dict(),
    "model": {**config.model.to_dict(), "dtype": build.precision(config)},
    "step": step,
    "seed": config.seed,
    "fal_jax": fal_jax.__version__,
    "git_commit": reports.git_commit(),
  }


def write_predictions(path: Path, ids: list[str], landmarks: np.ndarray) -> None:
  """One line per face: id, x0, y0, x1, y1, ... in image px, pixel-centre, with a thousandth of a
  pixel.
  """
  with path.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["id", *(f"{axis}{k}" for k in range(landmarks.shape[1]) for axis in "xy")])
    for name, points in zip(ids, landmarks, strict=True):
      writer.writerow([name, *(f"{value:.3f}" for value in points.reshape(-1))])


def _draw(
  directory: Path,
  split: str,
  predictions: Predictions,
  source: data.Source,
  *,
  rule: CropRule,
  setup: Setup,
) -> None:
  norm = metrics.norms(predictions.true, setup.markup)[setup.norm]
  errors, usable = metrics.valid_errors(predictions.landmarks, predictions.true, norm)
  sound = np.flatnonzero(usable)
  if not len(sound):
    logging.warning("No face of %s has the normaliser %s: no pictures drawn.", split, setup.norm)
    return
  worst = sound[np.argsort(-errors[sound], kind="stable")]
  sheet_rule = dataclasses.replace(
    rule, size=SHEET_SIZE, stored_size=SHEET_SIZE, face=rule.face * SHEET_SIZE / rule.size
  )
  for name, rows in (("first", sound[:SHEET_FACES]), ("worst", worst[:SHEET_FACES])):
    examples = [data.load_eval_example(source, int(row), sheet_rule) for row in rows]
    sheets.draw_faces(
      directory / f"{split}_{name}.jpg",
      [example["image"] for example in examples],
      [affine.apply(example["crop_from_image"], example["landmarks"]) for example in examples],
      [
        affine.apply(e["crop_from_image"], predictions.landmarks[row])
        for e, row in zip(examples, rows, strict=True)
      ],
      markup=setup.markup,
      titles=[f"{predictions.ids[row]}  {errors[row]:.2f} %" for row in rows],
      columns=4,
    )
