"""Evaluation: every image of a split once, its metrics, its predictions and its figures."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from fal_jax import affine, build, data, flag_parser, metrics, parallel, restore
from fal_jax.build import Setup
from fal_jax.crop import BoxKind, CropRule, crop_from_image
from fal_jax.distributed import share
from fal_jax.errors import InputError
from fal_jax.landmarks import Markup
from fal_jax.output.folders import make_dir, write_atomic
from fal_jax.output.provenance import provenance
from fal_jax.robustness import compare
from fal_jax.robustness.conditions import Condition
from fal_jax.scoring import (
  annotations,
  face_errors,
  face_sheets,
  landmark_csv,
  protocols,
  reports,
)
from fal_jax.scoring import summary as summaries
from fal_jax.scoring.faces import Predictions
from fal_jax.weights import named


def predict_split(
  predict: Callable,
  variables: Any,
  source: data.Source,
  *,
  rule: CropRule,
  batch_size: int,
  dataset: str = "",
  split: str = "",
  box: BoxKind | None = None,
  condition: Condition | None = None,
) -> Predictions:
  """Runs the network over a split: each process over its share, and each image counts once.

  Args:
    predict: from `parallel.make_predict`.
    variables: `params` and `batch_stats`.
    source: the split.
    rule: how boxes become crops.
    batch_size: images at a time.
    dataset: what to call the dataset of the faces.
    split: what to call the faces.
    box: another kind of box than the rule's.
    condition: what is done to the faces before.

  Returns:
    (N, K, 2) landmarks, image px, with the faces of the records they were predicted from.

  Raises:
    InputError: the split is empty.
  """
  rule = dataclasses.replace(rule, box=box or rule.box)
  landmarks, scores, records = [], [], []
  for batch, images in padded_batches(
    share.of(source), rule=rule, batch_size=batch_size, condition=condition
  ):
    landmarks_crop, batch_scores, _ = predict(variables, images)

    # zip ends where the batch does, before the padding.
    for example, points, point_scores in zip(batch, landmarks_crop, batch_scores, strict=False):
      image_from_crop = affine.invert(example["crop_from_image"])
      landmarks.append(affine.apply(image_from_crop, points.astype(np.float64)))
      scores.append(point_scores)
      records.append(example["record"])

  seen = records if share.is_whole() else source
  faces = annotations.from_records(seen, dataset=dataset, split=split, rule=rule)
  everywhere = functools.partial(share.gathered, length=len(source))
  return Predictions(faces, everywhere(landmarks), everywhere(scores))


def padded_batches(
  source: data.Source,
  *,
  rule: CropRule,
  batch_size: int,
  condition: Condition | None = None,
) -> Iterator[tuple[list[dict[str, Any]], np.ndarray]]:
  """The examples of a split in order, and their images.

  The last batch is padded to full size, so that nothing compiles twice.

  Args:
    source: the split.
    rule: how boxes become crops.
    batch_size: B.
    condition: what is done to the faces before.

  Yields:
    At most B examples as from `data.load_eval_example`, and (B, H, H, 3) uint8: their crops, then
    black ones to be dropped.

  Raises:
    InputError: the split is empty.
  """
  if not len(source):
    raise InputError(
      "The split holds no images: prepare the dataset again or name another split in "
      "config.eval.splits."
    )

  view_from_crop = condition.view_from_crop(rule) if condition else None
  for batch in data.eval_batches(
    source, rule=rule, batch_size=batch_size, view_from_crop=view_from_crop
  ):
    images = np.zeros((batch_size, rule.size, rule.size, 3), np.uint8)
    for row, example in enumerate(batch):
      image = example["image"]
      if condition and condition.change:
        landmarks = affine.apply(example["crop_from_image"], example["landmarks"])
        image = condition.change(image, landmarks, example["id"])
      images[row] = image
    yield batch, images


def mean_shape(train_source: data.Source, source: data.Source, *, rule: CropRule) -> Predictions:
  """The mean training shape put into every box.

  A network must beat it to have looked at the image at all.

  Args:
    train_source: gives the mean landmarks, (K, 2) in crop px.
    source: the split to predict.
    rule: how boxes become crops.

  Returns:
    (N, K, 2) landmarks, image px, of all faces of the split.
  """
  shapes = []
  for record in train_source:
    to_crop = crop_from_image(data.face_box(record, rule), rule)
    shapes.append(affine.apply(to_crop, record["landmarks"].astype(np.float64)))
  mean = np.nanmean(shapes, 0)

  faces = annotations.from_records(source, dataset="", split="", rule=rule)
  crops_from_image = np.stack([crop_from_image(box, rule) for box in faces.boxes])
  images_from_crop = affine.invert(crops_from_image)
  landmarks = affine.apply(images_from_crop, np.broadcast_to(mean, faces.landmarks.shape))
  return Predictions(faces, landmarks, np.ones(landmarks.shape[:2], np.float32))


def score(predictions: Predictions, markup: int | Markup) -> dict[str, Any]:
  """The metrics of predictions under all normalisers, without a protocol.

  Faces without a valid normaliser are logged.

  Args:
    predictions: (N, K, 2) landmarks, image px, and their faces.
    markup: theirs, or its number of landmarks.

  Returns:
    What `Errors.summary` returns.
  """
  faces = predictions.faces
  norms = summaries.own_norms(faces, markup)
  errors = face_errors.measure(predictions.landmarks, faces.landmarks, norms, ids=faces.ids)

  summary = errors.summary()
  reports.warn_of_degenerate(summary)
  return summary


def run(
  config: ConfigDict | None,
  workdir: str | Path,
  *,
  weights: str | None = None,
  overrides: Sequence[str] = (),
  directory: str | Path | None = None,
) -> dict[str, dict[str, Any]]:
  """--mode=eval: the newest checkpoint of a run on every split of `config.eval.splits`.

  Whatever makes the evaluation differ from the run's own (another crop, decoder, network) is
  printed.

  Args:
    config: what to evaluate under; None for the config that the run has saved.
    workdir: the run's folder.
    weights: a network that has a name, or the folder of an export, instead of the run's.
    overrides: flags of the form --config.x.y=z that change the saved config.
    directory: where the results go; by default `<workdir>/eval`, and `<workdir>/eval/<dataset>` for
      another dataset than the run's own, whose splits may have the same names.

  Returns:
    split -> summary.

  Raises:
    InputError: there is no such run or dataset, the config does not fit them, or nothing can be
      written there.
  """
  opened = open_run(config, workdir, weights=weights, overrides=overrides)
  predict = parallel.make_predict(opened.setup.network, opened.setup.codec)
  where = (directory, "") if directory else (workdir, f"eval/{opened.folder}")
  flag = "--out" if directory else "--workdir"
  folder = make_dir(*where, flag=flag, remedy="name another folder with --out")

  return {
    split: evaluate_split(
      opened.setup,
      split,
      source,
      predict=predict,
      variables=opened.variables,
      step=opened.step,
      report_to=folder,
    )
    for split, source in opened.sources.items()
  }


class OpenedRun(NamedTuple):
  """A trained network and what it is evaluated on.

  Attributes:
    setup: what the evaluation's config describes.
    sources: split -> its records.
    variables: `params` and `batch_stats` of the newest checkpoint.
    step: the training step that they are from; None of a network that is not a run's.
    folder: "", or the name of the dataset where it is not the run's own, whose splits may have the
      same names.
  """

  setup: Setup
  sources: Mapping[str, data.Source]
  variables: Any
  step: int | None
  folder: str


def open_run(
  config: ConfigDict | None,
  workdir: str | Path,
  *,
  weights: str | None = None,
  overrides: Sequence[str] = (),
) -> OpenedRun:
  """Opens a run for evaluation, and prints where that differs from how it was trained.

  Args:
    config: what to evaluate under; None for the config that the run has saved.
    workdir: the run's folder.
    weights: a network that has a name, or the folder of an export, instead of the run's.
    overrides: flags of the form --config.x.y=z that change the saved config.

  Returns:
    Its network and all of `config.eval.splits`.

  Raises:
    InputError: there is no such run or dataset, or the config does not fit them.
  """
  model = named.load(weights) if weights else None
  saved = model.config if model else restore.saved_config(workdir)
  if config is None:
    config = flag_parser.override(saved, overrides)
  for difference in restore.evaluation_differences(saved, config):
    print(
      f"Note: evaluating {weights or workdir} with a config that differs from training: "
      f"{difference}",
      flush=True,
    )

  setup = build.setup(config)  # any batch is padded to a multiple of the devices
  sources = open_splits(setup)
  step: int | None = None
  if model:
    variables = restore.pretrained_variables(setup, model, workdir)
  else:
    variables, step = restore.restore_variables(setup, workdir)
  is_own = setup.eval_dataset == build.eval_dataset(saved)
  return OpenedRun(setup, sources, variables, step, "" if is_own else setup.eval_dataset)


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
  step: int | None,
  report_to: Path | None = None,
) -> dict[str, Any]:
  """Evaluates one split, which is read once.

  Args:
    setup: what the run's config describes.
    split: its name, for files and messages.
    source: its records.
    predict: from `parallel.make_predict`.
    variables: `params` and `batch_stats`.
    step: the training step that they are from.
    report_to: where `report` writes its files; None for the metrics alone, as while training.

  Returns:
    What `score` returns; with `report_to` what `report` returns, with `boxes` and `stress`.
  """
  predict_faces = functools.partial(
    predict_split,
    predict,
    variables,
    rule=setup.crop,
    batch_size=setup.config.eval.batch_size,
    dataset=setup.eval_dataset,
    split=split,
  )
  predictions = predict_faces(source)
  if report_to is None:
    return score(predictions, setup.markup)

  options = setup.config.eval
  protocol = protocols.find(setup.eval_dataset, split, norm=setup.norm)
  measure = functools.partial(compare.measure, markup=setup.markup, protocol=protocol)
  harder: dict[str, Any] = {}
  if options.boxes:
    harder["boxes"] = compare.by_box(
      predict_faces, measure, source, predictions, boxes=options.boxes
    )
  if options.stress:
    box = setup.crop.box
    harder["stress"] = compare.by_condition(predict_faces, measure, source, box=box)
  return report(setup, report_to, split, source, predictions, step=step, harder=harder)


def report(
  setup: Setup,
  directory: Path,
  split: str,
  source: data.Source,
  predictions: Predictions,
  *,
  step: int | None,
  harder: Mapping[str, Any],
) -> dict[str, Any]:
  """Writes `<split>.json`, `<split>_predictions.csv` and figures into a folder.

  Args:
    setup: what the evaluation's config describes.
    directory: where the files go.
    split: its name.
    source: its records; the images of the figures are read from it.
    predictions: landmarks of all its faces.
    step: the training step that they are from.
    harder: the metrics on other boxes and under other conditions.

  Returns:
    What `summary.summarise` returns under the protocol of the dataset, and what is `harder`.
  """
  norm = setup.norm
  protocol = protocols.find(setup.eval_dataset, split, norm=norm)
  errors = summaries.measure(predictions, setup.markup, protocol)
  summary = {**summaries.summarise(predictions, errors, setup.markup, protocol), **harder}
  reports.warn_of_degenerate(summary)
  if jax.process_index():  # the first process writes for all
    return summary

  written = {**summary, "provenance": provenance(setup.config, split=split, step=step)}
  write_atomic(directory / f"{split}.json", json.dumps(written, indent=2) + "\n")
  ids = predictions.faces.ids
  landmark_csv.write(directory / f"{split}_predictions.csv", ids, predictions.landmarks)

  of_norm = errors.by_norm[norm]
  sheet: dict[str, Any] = {"rule": setup.crop, "markup": setup.markup, "norm": norm}
  face_sheets.draw_first_and_worst(directory, split, predictions, of_norm, source, **sheet)
  how = f"Boxes: {setup.crop.box}; decoder: {setup.codec.decoding}" + (
    f"; step {step}" if step else ""
  )
  face_sheets.draw_failures(directory, split, predictions, of_norm, source, **sheet, how=how)
  threshold = protocol.threshold if norm == protocol.norm else metrics.THRESHOLDS[norm][0]
  reports.draw(directory, split, predictions, errors, setup.markup, norm=norm, threshold=threshold)
  return summary
