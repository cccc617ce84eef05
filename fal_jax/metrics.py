"""Normalised mean error and what is derived from it, in float64 on the host.

Every error is in percent of a normaliser in pixels. Always report the normaliser:
nme_ip is about 1.4 nme_ic, and nme_diag about nme_box / sqrt(2) for square boxes. `norms` gives
four under fixed names:

  ic    distance of the outer eye corners (300W common/challenge/full, WFLW, COFW-29)
  ip    distance of the eye centres, which are pupils where the mark-up has them
  box   sqrt(width * height) of the face box (300W private, COFW-68, Menpo, 300VW, AFLW)
  diag  diagonal of the face box (Menpo profile)

`per_face` defines the metrics: a new one is one `yield` there. It must be a function of each face's
own NME, which is infinite for a face that a method did not find, and what is reported is its mean
over faces.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fal_jax import landmarks
from fal_jax.errors import InputError, join_names

# px; a face whose normaliser is smaller (two landmarks on one spot) would dominate the mean.
MIN_NORM = 1.0
CATASTROPHIC = 20.0  # percent; landmarks of such a face lie scattered, under any normaliser
PERCENTILES = {"median": 50, "p90": 90, "p95": 95, "max": 100}
# Percent, by normaliser.
THRESHOLDS: Mapping[str, tuple[float, ...]] = {
  "ic": (10, 8),
  "ip": (10, 8),
  "box": (7,),
  "diag": (7,),
}


class PerFace(NamedTuple):
  """What each face contributes to one metric, which is `percent` times the mean of the values.

  NaN means nothing: the mean is over the other faces.

  Fractions become percent after the mean, not before: the metric of a summary then equals `auc` and
  `failure_rate` to the last bit.

  Attributes:
    name: the metric's name in summaries, e.g. "auc_ic_10".
    values: (N,) float64.
    percent: 1 where the values are in percent, 100 where they are fractions.
  """

  name: str
  values: np.ndarray
  percent: float


def per_face(nme: np.ndarray, norm: str, thresholds: Sequence[float]) -> Iterator[PerFace]:
  """Defines and names every metric of one normaliser.

  Args:
    nme: (N,) float64, percent; infinite where the face was not found.
    norm: name of its normaliser.
    thresholds: percents at which area and failure rate are taken.

  Yields:
    `nme_<norm>`, to which only faces that were found contribute; at each threshold
    `auc_<norm>_<threshold>` and `fr_<norm>_<threshold>`; and `catastrophic_<norm>`, the share of
    faces whose error is above `CATASTROPHIC`.
  """
  yield PerFace(f"nme_{norm}", np.where(np.isinf(nme), np.nan, nme), 1)

  for at in thresholds:
    yield PerFace(f"auc_{norm}_{at:g}", _areas(nme, at), 100)
    yield PerFace(f"fr_{norm}_{at:g}", _failures(nme, at), 100)
  yield PerFace(f"catastrophic_{norm}", _failures(nme, CATASTROPHIC), 100)


def metric_names(norm: str, thresholds: Sequence[float]) -> list[str]:
  """Names of all metrics of a normaliser at these thresholds (percent), as in summaries."""
  return [metric.name for metric in per_face(np.empty(0), norm, thresholds)]


def norms(
  true: ArrayLike, markup: int | landmarks.Markup, box: ArrayLike | None = None
) -> dict[str, np.ndarray]:
  """Normalisers of each face.

  Args:
    true: (N, K, 2) annotated landmarks, px; NaN where not annotated.
    markup: the mark-up, or its number of landmarks.
    box: (N, 4) x0, y0, x1, y1 in the same pixels, for "box" and "diag"; by default the tight box
      around the annotated landmarks.

  Returns:
    {"ic", "ip", "box", "diag"}: (N,) float64, px; NaN where a face or the mark-up lacks what the
    normaliser is made of.
  """
  scheme = landmarks.as_markup(markup)
  true = _faces(true, "true")
  if true.shape[1] != scheme.num:
    raise InputError(
      f"true holds {true.shape[1]} landmarks per face but the mark-up has {scheme.num}: "
      "they must agree"
    )

  boxes = landmarks.tight_boxes(true) if box is None else np.asarray(box, np.float64)
  if boxes.shape != (len(true), 4):
    raise InputError(
      f"box has shape {boxes.shape}, expected ({len(true)}, 4): one x0, y0, x1, y1 per face"
    )
  sides = boxes[:, 2:] - boxes[:, :2]
  sides = np.where((sides >= 0).all(-1, keepdims=True), sides, np.nan)

  # A mark-up without two eyes has neither of the first two.
  ic, ip = np.full((2, len(true)), np.nan)
  if scheme.outer_eyes:
    ic = np.linalg.norm(np.diff(true[:, scheme.outer_eyes], axis=1)[:, 0], axis=-1)
  if scheme.pupils:
    right, left = (true[:, eye].mean(1) for eye in scheme.pupils)
    ip = np.linalg.norm(left - right, axis=-1)
  return {
    "ic": ic,
    "ip": ip,
    "box": np.sqrt(sides.prod(-1)),
    "diag": np.hypot(sides[:, 0], sides[:, 1]),
  }


def nme(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, *, mask: ArrayLike | None = None
) -> np.ndarray:
  """Normalised mean error of each face: its mean landmark distance in percent of its normaliser.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated landmarks, same pixels; NaN where not annotated (such a landmark never
      counts).
    norm: (N,) normalisers, px, one of `norms`.
    mask: (N, K) bool, landmarks that count; by default all annotated ones.

  Returns:
    (N,) float64, percent; NaN for a face with no landmark that counts, or whose normaliser is not a
    positive number.

  Raises:
    InputError: if shapes disagree, or a prediction that counts is not finite: the message names its
      rows.
  """
  error, counts = _errors(pred, true, norm, mask)
  total = counts.sum(1)
  return np.where(total > 0, error.sum(1, where=counts) / np.maximum(total, 1), np.nan)


def landmark_errors(pred: ArrayLike, true: ArrayLike, norm: ArrayLike) -> np.ndarray:
  """Mean error of each landmark over the faces in which it is annotated.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated landmarks, same pixels; NaN where not annotated.
    norm: (N,) normalisers, px.

  Returns:
    (K,) float64, percent; NaN for a landmark that is annotated nowhere. Faces without a positive
    normaliser are left out.
  """
  error, counts = _errors(pred, true, norm)
  counts &= np.isfinite(error)
  total = counts.sum(0)
  return np.where(total > 0, error.sum(0, where=counts) / np.maximum(total, 1), np.nan)


def region_errors(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, markup: int | landmarks.Markup
) -> dict[str, float]:
  """Mean error of each part of the face.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated landmarks, same pixels; NaN where not annotated.
    norm: (N,) normalisers, px, of the whole face.
    markup: the mark-up, or its number of landmarks; it knows the regions.

  Returns:
    region -> mean over faces of the mean error in that region, percent. Faces without a positive
    normaliser are left out, and so are regions that are annotated nowhere.
  """
  pred, true = _faces(pred, "pred"), _faces(true, "true")

  means = {}
  for region, members in landmarks.as_markup(markup).regions.items():
    errors = nme(pred[:, list(members)], true[:, list(members)], norm)
    if np.isfinite(errors).any():
      means[region] = float(np.nanmean(errors))
  return means


def percentiles(nme: ArrayLike) -> dict[str, float]:
  """Percentiles of the errors of faces, linear between neighbours.

  Args:
    nme: (N,) percent.

  Returns:
    {"median", "p90", "p95", "max"}: percent.
  """
  errors = _distribution(nme, np.inf)
  values = np.percentile(errors, [*PERCENTILES.values()])
  return {name: float(value) for name, value in zip(PERCENTILES, values, strict=True)}


def valid_errors(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
  """`nme`, and which faces are valid: those with an error and a normaliser of at least 1 px.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated landmarks, same pixels; NaN where not annotated.
    norm: (N,) normalisers, px.

  Returns:
    (N,) float64 percent, and (N,) bool, the mask of faces included in means. A large error does not
    leave a face out.
  """
  errors = nme(pred, true, norm)
  return errors, ~np.isnan(errors) & (np.asarray(norm, np.float64) >= MIN_NORM)


def auc(nme: ArrayLike, threshold: float) -> float:
  """Exact area under the cumulative error curve.

  The curve is a staircase, so its area has a closed form, and nothing depends on a step: sampled
  integrals in public code differ by up to 0.8 percentage points on the same predictions.

  Args:
    nme: (N,) percent.
    threshold: percent, where the curve ends.

  Returns:
    The area as a fraction of the whole, 0..1.
  """
  return float(_areas(_distribution(nme, threshold), threshold).mean())


def failure_rate(nme: ArrayLike, threshold: float) -> float:
  """Percentage of faces whose error exceeds the threshold; an error equal to it is not a failure.

  Args:
    nme: (N,) percent.
    threshold: percent.

  Returns:
    Percent of all faces.
  """
  return float(100 * _failures(_distribution(nme, threshold), threshold).mean())


def view_spread(landmarks: np.ndarray) -> np.ndarray:
  """How far each landmark lies from its mean over several views of the face.

  Args:
    landmarks: (N, V, K, 2) float, px of one frame.

  Returns:
    (N, K) px: root of the mean squared distance.
  """
  offsets = landmarks - landmarks.mean(1, keepdims=True)
  return np.sqrt((offsets**2).sum(-1).mean(1))


def percent_improved(nme: ArrayLike, reference: ArrayLike) -> float:
  """Percentage of faces whose error is below that of a reference; an equal error is not.

  Source: Bulat et al. 2021, Figure 3: the error falls "across all samples".

  Args:
    nme: (N,) percent.
    reference: (N,) percent, of the same faces in the same order.

  Returns:
    Percent of all faces.
  """
  errors, others = (_distribution(values, np.inf) for values in (nme, reference))
  if errors.shape != others.shape:
    raise InputError(
      f"{len(errors)} errors cannot be compared with {len(others)}: give both of the same faces"
    )
  return float(100 * (errors < others).mean())


def ced(nme: ArrayLike, max_error: float) -> tuple[np.ndarray, np.ndarray]:
  """Cumulative error distribution as the corners of its staircase.

  Args:
    nme: (N,) percent.
    max_error: percent, where the curve ends.

  Returns:
    x: (M,) percent, rising from 0 to max_error.
    y: (M,) fraction of the faces with an error of at most x, 0..1. Joining the corners by straight
      lines draws the exact curve, and the trapezoidal rule over them gives exactly `max_error *
      auc(nme, max_error)`.
  """
  errors = np.sort(_distribution(nme, max_error))
  inside = errors[errors <= max_error]
  level = np.arange(len(inside) + 1) / len(errors)
  return np.concatenate([[0.0], np.repeat(inside, 2), [max_error]]), np.repeat(level, 2)


def _areas(nme: np.ndarray, threshold: float) -> np.ndarray:
  """(N,) float64, 0..1: what each error (N,), percent, adds to the area below the curve."""
  _check_threshold(threshold)
  return np.maximum(0, 1 - nme / threshold)


def _failures(nme: np.ndarray, threshold: float) -> np.ndarray:
  """(N,) float64, 1 for each error (N,), percent, that is a failure and 0 for the others."""
  _check_threshold(threshold)
  return (nme > threshold).astype(np.float64)


def _faces(points: ArrayLike, name: str) -> np.ndarray:
  """Landmarks (N, K, 2) as float64; `name` is what a message calls them."""
  points = np.asarray(points, np.float64)
  if points.ndim != 3 or points.shape[-1] != 2:
    raise InputError(f"{name} has shape {points.shape}, expected (faces, landmarks, 2)")
  return points


def _errors(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, mask: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """(N, K) distances in percent of the normaliser, and (N, K) bool, which of them count."""
  pred, true, norm = _faces(pred, "pred"), _faces(true, "true"), np.asarray(norm, np.float64)
  if pred.shape != true.shape:
    raise InputError(
      f"pred has shape {pred.shape} but true {true.shape}: compare the same faces and landmarks"
    )
  if norm.shape != pred.shape[:1]:
    raise InputError(
      f"norm has shape {norm.shape}, expected ({len(pred)},): one normaliser in pixels per face"
    )

  counts = np.isfinite(true).all(-1)
  if mask is not None:
    mask = np.asarray(mask)
    if mask.shape != counts.shape:
      raise InputError(
        f"mask has shape {mask.shape}, expected {counts.shape}: one value per landmark"
      )
    counts &= mask.astype(bool)

  broken = np.flatnonzero((counts & ~np.isfinite(pred).all(-1)).any(1))
  if broken.size:
    raise InputError(
      f"predictions of rows {join_names([str(row) for row in broken])} are not finite: "
      "the network that made them diverged or its input was broken"
    )

  norm = np.where(np.isfinite(norm) & (norm > 0), norm, np.nan)
  offset = np.where(counts[..., None], pred - true, 0)
  distance = np.hypot(*np.moveaxis(offset, -1, 0))  # unlike a sum of squares, it cannot overflow
  return 100 * distance / norm[:, None], counts


def _distribution(errors: ArrayLike, limit: float) -> np.ndarray:
  """Errors (N,) in percent as float64, checked; `limit` is the threshold they are compared with."""
  errors = np.asarray(errors, np.float64)
  _check_threshold(limit)
  if errors.ndim != 1 or not errors.size:
    raise InputError(
      f"errors have shape {errors.shape}, expected one error per face and at least one face"
    )

  rows = np.flatnonzero(np.isnan(errors))
  if rows.size:
    raise InputError(
      f"the errors of {rows.size} faces are NaN (first row {rows[0]}): leave degenerate faces out "
      "and report them"
    )
  return errors


def _check_threshold(threshold: float) -> None:
  if not threshold > 0:
    raise InputError(f"the error threshold is {threshold}, it must be > 0 percent")
