"""The sheet of failures of a split: read from its records, only where there are enough faces."""

import numpy as np
import pytest
import tiny_dataset

from fal_jax import data, metrics
from fal_jax.crop import CropRule
from fal_jax.landmarks import MARKUPS
from fal_jax.plots import figure
from fal_jax.scoring import annotations, face_errors, face_sheets
from fal_jax.scoring.faces import Predictions

MARKUP = MARKUPS[tiny_dataset.MARKUP]
RULE = CropRule(size=64, stored_size=104, face=55.0)


def draw(directory, folder, split):
  """Draws the sheet of predictions that are off by 1, 2, 3 ... px to the right."""
  options = {"data_dir": str(folder), "num_landmarks": MARKUP.num}
  faces = annotations.read_split(tiny_dataset.NAME, split, rule=RULE, **options)
  shift = 1.0 + np.arange(len(faces.ids))
  pred = faces.landmarks + shift[:, None, None] * [1, 0]
  norms = {"ic": metrics.norms(faces.landmarks, MARKUP)["ic"]}
  errors = face_errors.measure(pred, faces.landmarks, norms, ids=faces.ids).by_norm["ic"]
  source = data.open_split(tiny_dataset.NAME, split, **options)
  shown = {"rule": RULE, "markup": MARKUP, "norm": "ic", "how": "Boxes: landmarks."}
  face_sheets.draw_failures(directory, split, Predictions(faces, pred), errors, source, **shown)
  return errors.nme


@pytest.mark.slow
def test_the_worst_are_named_with_their_errors_beside_the_best(folder, tmp_path):
  if not figure.has_matplotlib():
    pytest.skip(figure.NO_MATPLOTLIB)

  nme = draw(tmp_path, folder, "train")

  svg = (tmp_path / "train_failures.svg").read_text()
  order = np.sort(nme)
  for words in (
    f"worst: {order[-1]:.1f} %",
    f"median: {order[5]:.1f} %",
    f"best: {order[0]:.1f} %",
  ):
    assert words in svg, words
  assert "of 12 faces of tiny_faces, train" in svg


@pytest.mark.slow
def test_of_too_few_faces_there_is_no_sheet(folder, tmp_path):
  draw(tmp_path, folder, "test")
  assert not list(tmp_path.iterdir())
