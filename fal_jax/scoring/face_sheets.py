"""Sheets of the faces of a split, with annotated and predicted landmarks."""

import dataclasses
from pathlib import Path

import numpy as np
from absl import logging

from fal_jax import affine, data
from fal_jax.crop import CropRule
from fal_jax.landmarks import Markup
from fal_jax.plots import sheets
from fal_jax.scoring.face_errors import NormErrors
from fal_jax.scoring.faces import Predictions

SHEET_FACES = 16
# px of a face on a sheet before it is doubled. It is cut from the photograph once more, whatever
# the size of the network's input.
SHEET_SIZE = 160


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

  sheet_rule = dataclasses.replace(
    rule, size=SHEET_SIZE, stored_size=SHEET_SIZE, face=rule.face * SHEET_SIZE / rule.size
  )
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
