"""Mistakes in units that the errors themselves give away: another frame, scale or first pixel."""

import numpy as np

from fal_jax import metrics
from fal_jax.scoring.face_errors import NormErrors


def unit_warnings(pred: np.ndarray, true: np.ndarray, errors: NormErrors) -> list[str]:
  """What the errors themselves say about a mistake in units.

  Args:
    pred: (N, K, 2) predictions, px.
    true: (N, K, 2) annotation, px, NaN where not annotated.
    errors: errors of the predictions; faces that were not found are not looked at.

  Returns:
    Sentences; none if nothing looks suspicious.
  """
  found = errors.found
  if not found.any():
    return []

  pred, true, norm = pred[found], true[found], errors.norm[found]
  median = float(np.median(errors.nme[found]))
  if median > 100:
    return [_frame_warning(pred, true, norm, median)]

  offset = np.nanmedian(np.where(np.isfinite(true), pred - true, np.nan), (0, 1))
  is_one_pixel = (np.abs(np.abs(offset) - 1) < 0.25).all()
  if not is_one_pixel or offset[0] * offset[1] < 0:
    return []
  hint = "does the annotation count pixels from 1?"
  if offset[0] > 0:
    hint = "predictions that count pixels from 1 need --origin=1"
  return [
    f"The predictions are offset by a median of ({offset[0]:+.2f}, {offset[1]:+.2f}) px from the "
    f"annotation: {hint}."
  ]


def _frame_warning(pred: np.ndarray, true: np.ndarray, norm: np.ndarray, median: float) -> str:
  """What is probably wrong with predictions far from all faces.

  Args:
    pred: (N, K, 2) predictions, px.
    true: (N, K, 2) annotation, px, NaN where not annotated.
    norm: (N,) normalisers, px.
    median: median error, percent.

  Returns:
    A sentence.
  """
  text = f"Half of the faces are off by more than {median:.0f} % of the normaliser"
  swapped = float(np.median(metrics.nme(pred[..., ::-1], true, norm)))
  if swapped < 25:
    return (
      f"{text}, but by {swapped:.1f} % if x and y are swapped: the predictions seem to be (y, x)."
    )
  aligned = float(np.median(metrics.nme(_align(pred, true), true, norm)))
  if aligned < 25:
    return (
      f"{text}, but by {aligned:.1f} % once each face is moved and scaled: these seem to be "
      "coordinates of a crop or of a resized image; map them back to pixels of the original."
    )
  return f"{text}: are these the same faces, in pixels of the original images?"


def _align(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
  """Moves and scales each face onto the annotation, by least squares.

  Args:
    pred: (N, K, 2) predictions, px.
    true: (N, K, 2) annotation, px, NaN where not annotated.

  Returns:
    (N, K, 2) float64, px.
  """
  known = np.isfinite(true).all(-1, keepdims=True)
  count = np.maximum(known.sum(1, keepdims=True), 1)
  pred_centre, true_centre = (
    np.where(known, points, 0).sum(1, keepdims=True) / count for points in (pred, true)
  )

  a = np.where(known, pred - pred_centre, 0)
  b = np.where(known, true - true_centre, 0)
  scale = (a * b).sum((1, 2), keepdims=True) / np.maximum((a * a).sum((1, 2), keepdims=True), 1e-12)
  return (pred - pred_centre) * scale + true_centre
