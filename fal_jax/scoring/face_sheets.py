"""Sheets of the faces of a split, with annotated and predicted landmarks."""

import dataclasses
from pathlib import Path

import numpy as np
from absl import logging

from fal_jax import affine, data
from fal_jax.crop import CropRule
from fal_jax.landmarks import Markup
from fal_jax.plots import failures, figure, sheets
from fal_jax.scoring.face_errors import NormErrors
from fal_jax.scoring.faces import Predictions

SHEET_FACES = 16
# px of a face on a sheet before it is doubled. It is cut from the photograph once more, whatever
# the size of the network's input.
SHEET_SIZE = 160
FAILURE_SIZE = 288  # px of a face on the sheet of failures


def draw_first_and_worst(
  directory: Path,
  split: str,
  predictions: Predictions,
  errors: NormErrors,
  source: data.Source,
  *,
  rule: CropRule,
  markup: Markup,
  norm: str,
) -> None:
  """Draws `<split>_first.jpg` and `<split>_worst.jpg`.

  Args:
    directory: where the files go.
    split: its name.
    predictions: landmarks of all its faces, image px.
    errors: theirs under one normaliser; faces that are not valid under it are not drawn.
    source: its records, for the images.
    rule: how boxes become crops.
    markup: of the faces.
    norm: name of the normaliser.
  """
  valid = np.flatnonzero(errors.valid)
  if not len(valid):
    logging.warning("No face of %s has the normaliser %s: no images drawn.", split, norm)
    return
  worst = valid[np.argsort(-errors.nme[valid], kind="stable")]

  sheet_rule = _rule_of_size(rule, SHEET_SIZE)
  faces = predictions.faces
  for name, rows in (("first", valid[:SHEET_FACES]), ("worst", worst[:SHEET_FACES])):
    examples = [data.load_eval_example(source, int(row), sheet_rule) for row in rows]
    crops_from_image = np.stack([example["crop_from_image"] for example in examples])
    sheets.draw_faces(
      directory / f"{split}_{name}.jpg",
      [example["image"] for example in examples],
      affine.apply(crops_from_image, faces.landmarks[rows]),
      affine.apply(crops_from_image, predictions.landmarks[rows]),
      markup=markup,
      titles=[f"{faces.ids[row]}  {errors.nme[row]:.2f} %" for row in rows],
      columns=4,
    )


def draw_failures(
  directory: Path,
  split: str,
  predictions: Predictions,
  errors: NormErrors,
  source: data.Source,
  *,
  rule: CropRule,
  markup: Markup,
  norm: str,
  how: str,
) -> None:
  """Draws `<split>_failures.png`, for a talk: the worst faces, the median and the best ones.

  Not of fewer than `failures.MIN_FACES`.

  Args:
    directory: where the file goes.
    split: its name.
    predictions: landmarks of all its faces, image px.
    errors: theirs under one normaliser; faces that are not valid under it are not drawn.
    source: its records, for the images.
    rule: how boxes become crops.
    markup: of the faces.
    norm: name of the normaliser.
    how: which network, boxes and decoder, for the caption.
  """
  if not figure.has_matplotlib() or errors.found.sum() < failures.MIN_FACES:
    return  # the other figures of an evaluation have said so; so few are all on the first sheet
  faces = predictions.faces
  of_regions = _regions(predictions, errors, markup)
  sheet_rule = _rule_of_size(rule, FAILURE_SIZE)

  def read(row: int) -> failures.Face:
    example = data.load_eval_example(source, row, sheet_rule)
    crop_from_image = example["crop_from_image"]
    return failures.Face(
      id=faces.ids[row],
      image=example["image"],
      true=affine.apply(crop_from_image, faces.landmarks[row]),
      pred=affine.apply(crop_from_image, predictions.landmarks[row]),
      box=affine.apply(crop_from_image, faces.boxes[row].reshape(2, 2)).reshape(4),
      error=float(errors.nme[row]),
      regions={name: float(values[row]) for name, values in of_regions.items()},
    )

  groups = failures.choose(errors.nme, errors.found)
  count = int(errors.found.sum())
  failures.draw_failures(
    directory / f"{split}_failures.png",
    {name: [read(row) for row in rows.tolist()] for name, rows in groups.items()},
    means={name: _mean(values) for name, values in of_regions.items()},
    markup=markup,
    caption=failures.caption(faces.dataset, split, count=count, norm=norm, how=how),
  )


def _mean(values: np.ndarray) -> float:
  """The mean of those of values (N,) that are known; NaN if none is."""
  known = values[np.isfinite(values)]
  return float(known.mean()) if len(known) else np.nan


def _regions(predictions: Predictions, errors: NormErrors, markup: Markup) -> dict[str, np.ndarray]:
  """Part of the face -> (N,) percent, NaN for faces that are not valid."""
  norm = np.where(errors.found, errors.norm, np.nan)
  return failures.region_errors(predictions.landmarks, predictions.faces.landmarks, norm, markup)


def _rule_of_size(rule: CropRule, size: int) -> CropRule:
  """The same crop at another resolution."""
  return dataclasses.replace(rule, size=size, stored_size=size, face=rule.face * size / rule.size)
