"""Evaluation: every image of a split once, its numbers, its predictions and its pictures."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

import fal_jax
from fal_jax import affine, build, data, metrics, parallel, steps
from fal_jax.checkpoint import Checkpoints
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
  config: ConfigDict, workdir: str | Path, *, directory: Path | None = None
) -> dict[str, dict[str, Any]]:
  """--mode=eval: the newest checkpoint of a run on every split of `config.eval.splits`.

  Args:
    config: of the evaluation; the decoder may be another than in training.
    workdir: of the run.
    directory: where the results go; by default `<workdir>/eval`, and `<workdir>/eval/<dataset>` for
      another dataset than the run's own, whose splits may have the same names.

  Returns:
    split -> summary.
  """
  build.validate(config, device_count=jax.device_count())
  sources = open_splits(config)
  variables, step = restore_variables(config, workdir)
  predict = parallel.make_predict(build.model(config, axis_name=None), build.codec(config))
  if directory is None:
    dataset = build.eval_dataset(config)
    directory = Path(workdir) / "eval" / ("" if dataset == _training_dataset(workdir) else dataset)
  return {
    split: report(config, directory, split, source, predict=predict, variables=variables, step=step)
    for split, source in sources.items()
  }


def _training_dataset(workdir: str | Path) -> str | None:
  """TFDS name of the dataset that a run evaluates itself on."""
  checkpoints = Checkpoints(workdir, create=False)
  try:
    saved = checkpoints.read_config()
  finally:
    checkpoints.close()
  return build.eval_dataset(saved) if saved else None


def open_splits(config: ConfigDict) -> dict[str, data.Source]:
  """All of `config.eval.splits`, at once: a misspelt name must not be found out after hours."""
  return {
    split: data.open_split(
      build.eval_dataset(config), split, data_dir=config.data.dir, num_landmarks=config.data.markup
    )
    for split in config.eval.splits
  }


def report(
  config: ConfigDict,
  directory: Path,
  split: str,
  source: data.Source,
  *,
  predict: Callable,
  variables: Any,
  step: int,
) -> dict[str, Any]:
  """Evaluates one split and writes `<split>.json`, `<split>_predictions.csv` and the pictures into
  a folder.

  Returns:
    What `reports.summarise` says under the protocol of the dataset.
  """
  rule = build.crop_rule(config)
  predictions = predict_split(
    predict, variables, source, rule=rule, batch_size=config.eval.batch_size
  )
  name = build.eval_dataset(config)
  faces = annotations.from_source(source, name, split, rule=rule)
  protocol = protocols.find(name, split, norm=config.eval.norm)
  summary = reports.summarise(faces, predictions.landmarks, build.markup(config), protocol)
  reports.warn_of_degenerate(summary)
  directory.mkdir(parents=True, exist_ok=True)
  written = {**summary, "provenance": provenance(config, split=split, step=step)}
  (directory / f"{split}.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
  write_predictions(directory / f"{split}_predictions.csv", predictions.ids, predictions.landmarks)
  _draw(directory, split, predictions, source, rule=rule, config=config)
  norm = config.eval.norm
  threshold = protocol.threshold if norm == protocol.norm else metrics.THRESHOLDS[norm][0]
  reports.draw(
    directory,
    split,
    faces,
    predictions.landmarks,
    build.markup(config),
    norm=norm,
    threshold=threshold,
  )
  return summary


def restore_variables(config: ConfigDict, workdir: str | Path) -> tuple[Any, int]:
  """`params` and `batch_stats` of the newest whole checkpoint, on this process's devices, and its
  step.
  """
  template = build.train_recipe(config, steps_per_epoch=1)
  abstract = jax.eval_shape(lambda: steps.init_state(jax.random.key(0), template))
  sharding = parallel.replicated_sharding()
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract
  )
  checkpoints = Checkpoints(workdir, create=False)
  try:
    restored = checkpoints.restore_latest(abstract)
  finally:
    checkpoints.close()
  if restored is None:
    raise InputError(
      f"There is no checkpoint in {workdir}: train first, or give the --workdir of a run."
    )
  state, _, step = restored
  return {"params": state.params, "batch_stats": state.batch_stats}, step


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
  config: ConfigDict,
) -> None:
  norm = metrics.norms(predictions.true, build.markup(config))[config.eval.norm]
  errors, usable = metrics.valid_errors(predictions.landmarks, predictions.true, norm)
  sound = np.flatnonzero(usable)
  if not len(sound):
    logging.warning(
      "No face of %s has the normaliser %s: no pictures drawn.", split, config.eval.norm
    )
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
      markup=build.markup(config),
      titles=[f"{predictions.ids[row]}  {errors[row]:.2f} %" for row in rows],
      columns=4,
    )
