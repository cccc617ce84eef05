"""Normalised mean error and what is read off it, in float64 on the host; every error is in percent
of a normaliser in pixels.

A number without its normaliser means nothing: nme_ip is about 1.4 nme_ic, and nme_diag about
nme_box / sqrt(2) for square boxes. `norms` gives four under fixed names, for N faces:

  ic    distance of the outer eye corners (300W common/challenge/full, WFLW, COFW-29)
  ip    distance of the eye centres, which are pupils where the mark-up has them
  box   sqrt(width * height) of the face box (300W private, COFW-68, Menpo, 300VW, AFLW)
  diag  diagonal of the face box (AFLW)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fal_jax import landmarks
from fal_jax.errors import InputError

# px; a face whose normaliser is smaller (two landmarks on one spot) would drown the mean of all
# others
MIN_NORM = 1.0
PERCENTILES = {"median": 50, "p90": 90, "p95": 95, "max": 100}
THRESHOLDS: Mapping[str, tuple[float, ...]] = {
  "ic": (10, 8),
  "ip": (10, 8),
  "box": (7,),
  "diag": (7,),
}  # percent, per normaliser


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
    {"ic", "ip", "box", "diag"}: (N,) float64, px; NaN where a face or the mark-up lacks what it
      takes.
  """
  markup = markup if isinstance(markup, landmarks.Markup) else landmarks.markup(markup)
  true = _faces(true, "true")
  if true.shape[1] != markup.num:
    raise InputError(
      f"true holds {true.shape[1]} landmarks per face but the mark-up has {markup.num}: they must agree"
    )
  nowhere = np.full(len(true), np.nan)
  if box is None:
    annotated = np.isfinite(true).all(-1, keepdims=True)
    sides = true.max(1, where=annotated, initial=-np.inf) - true.min(
      1, where=annotated, initial=np.inf
    )  # -inf if none is
  else:
    box = np.asarray(box, np.float64)
    if box.shape != (len(true), 4):
      raise InputError(
        f"box has shape {box.shape}, expected ({len(true)}, 4): one x0, y0, x1, y1 per face"
      )
    sides = box[:, 2:] - box[:, :2]
  sides = np.where((sides >= 0).all(-1, keepdims=True), sides, np.nan)
  return {
    "ic": np.linalg.norm(np.diff(true[:, markup.outer_eyes], axis=1)[:, 0], axis=-1)
    if markup.outer_eyes
    else nowhere,
    "ip": (
      np.linalg.norm(true[:, markup.pupils[1]].mean(1) - true[:, markup.pupils[0]].mean(1), axis=-1)
      if markup.pupils
      else nowhere.copy()
    ),
    "box": np.sqrt(sides.prod(-1)),
    "diag": np.hypot(sides[:, 0], sides[:, 1]),
  }


def nme(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, *, mask: ArrayLike | None = None
) -> np.ndarray:
  """Normalised mean error of each face: mean distance over its annotated landmarks, in percent of
  its normaliser.

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


def landmark_errors(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, *, mask: ArrayLike | None = None
) -> np.ndarray:
  """Mean error of each landmark over the faces in which it counts, in percent; see `nme` for the
  arguments.

  Returns:
    (K,) float64, percent; NaN for a landmark that counts nowhere. Faces without a positive
    normaliser are left out.
  """
  error, counts = _errors(pred, true, norm, mask)
  counts &= np.isfinite(error)
  total = counts.sum(0)
  return np.where(total > 0, error.sum(0, where=counts) / np.maximum(total, 1), np.nan)


def region_errors(
  pred: ArrayLike,
  true: ArrayLike,
  norm: ArrayLike,
  markup: int | landmarks.Markup,
  *,
  mask: ArrayLike | None = None,
) -> dict[str, float]:
  """Mean error of each part of the face, in percent; see `nme` for the arguments.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated landmarks, same pixels; NaN where not annotated.
    norm: (N,) normalisers, px, of the whole face.
    markup: the mark-up, or its number of landmarks; it knows the regions.
    mask: (N, K) bool, landmarks that count; by default all annotated ones.

  Returns:
    region -> mean over faces of the mean error in that region; regions that count nowhere are left
    out, and so are faces without a positive normaliser.
  """
  markup = markup if isinstance(markup, landmarks.Markup) else landmarks.markup(markup)
  pred, true = _faces(pred, "pred"), _faces(true, "true")
  mask = np.ones(true.shape[:2], bool) if mask is None else np.asarray(mask, bool)
  found = {}
  for region, members in markup.regions.items():
    index = list(members)
    errors = nme(pred[:, index], true[:, index], norm, mask=mask[:, index])
    if np.isfinite(errors).any():
      found[region] = float(np.nanmean(errors))
  return found


def percentiles(nme: ArrayLike) -> dict[str, float]:
  """Median, 90th and 95th percentile and maximum of the errors (N,) of faces, by name; linear
  between neighbours.
  """
  errors = _distribution(nme, np.inf)
  return {
    name: float(value)
    for name, value in zip(PERCENTILES, np.percentile(errors, [*PERCENTILES.values()]), strict=True)
  }


def valid_errors(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, *, mask: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """`nme`, and which faces a mean may take: those with an error and a normaliser of at least a
  pixel.

  Returns:
    (N,) float64 percent, and (N,) bool. A large error is no reason to leave a face out.
  """
  errors = nme(pred, true, norm, mask=mask)
  return errors, ~np.isnan(errors) & (np.asarray(norm, np.float64) >= MIN_NORM)


def auc(nme: ArrayLike, threshold: float) -> float:
  """Exact area under the cumulative error curve up to `threshold` percent, as a part of the whole:
  0..1.

  The curve is a staircase, so its area has a closed form, and nothing depends on a step: sampled
  integrals in public code differ by up to 0.8 percentage points on the same predictions.
  """
  errors = _distribution(nme, threshold)
  return float(np.maximum(0, 1 - errors / threshold).mean())


def failure_rate(nme: ArrayLike, threshold: float) -> float:
  """Faces whose error is greater than `threshold` percent, in percent of all; an error equal to it
  is no failure.
  """
  return float(100 * (_distribution(nme, threshold) > threshold).mean())


def ced(nme: ArrayLike, max_error: float) -> tuple[np.ndarray, np.ndarray]:
  """Cumulative error distribution from 0 to `max_error` percent as the corners of its staircase.

  Returns:
    x: (M,) percent, rising from 0 to max_error.
    y: (M,) part of the faces with an error of at most x, 0..1. Joining the corners by straight
      lines draws the exact curve, and the trapezoidal rule over them gives exactly `max_error *
      auc(nme, max_error)`.
  """
  errors = np.sort(_distribution(nme, max_error))
  inside = errors[errors <= max_error]
  level = np.arange(len(inside) + 1) / len(errors)
  return np.concatenate([[0.0], np.repeat(inside, 2), [max_error]]), np.repeat(level, 2)


def summarise(
  pred: ArrayLike,
  true: ArrayLike,
  norms: Mapping[str, ArrayLike],
  *,
  mask: ArrayLike | None = None,
  ids: Sequence[str] | None = None,
  thresholds: Mapping[str, Sequence[float]] = THRESHOLDS,
) -> dict[str, Any]:
  """The numbers of one split, ready for JSON; everything but counts and ids is in percent.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated landmarks, same pixels; NaN where not annotated.
    norms: normalisers by name, each (N,) px, from `norms`; add to them under names of your own,
      e.g. "box_dataset".
    mask: (N, K) bool, landmarks that count; by default all annotated ones.
    ids: N names for reporting; by default the row numbers.
    thresholds: percents at which area and failures are reported, by name of normaliser.

  Returns:
    num_images, nme_<norm>, auc_<norm>_<threshold>, fr_<norm>_<threshold>; num_degenerate and
    degenerate, the ids by normaliser of faces whose normaliser is unknown or below a pixel, or that
    have no landmark that counts. These are not in the means of that
    normaliser: print them. A normaliser that no face has (eyes in profiles) is left out.
  """
  true = _faces(true, "true")
  ids = [str(row) for row in range(len(true))] if ids is None else list(ids)
  if len(ids) != len(true):
    raise InputError(f"{len(ids)} ids for {len(true)} faces: give one each")
  summary: dict[str, Any] = {"num_images": len(true)}
  degenerate: dict[str, list[str]] = {}
  sound_in_all = np.ones(len(true), bool)
  for name, norm in norms.items():
    norm = np.asarray(norm, np.float64)
    errors, sound = valid_errors(pred, true, norm, mask=mask)
    if np.isnan(norm).all():
      continue
    sound_in_all &= sound
    if not sound.all():
      degenerate[name] = [ids[row] for row in np.flatnonzero(~sound)]
    if not sound.any():
      continue
    summary[f"nme_{name}"] = float(errors[sound].mean())
    for threshold in thresholds.get(name, ()):
      summary[f"auc_{name}_{threshold:g}"] = 100 * auc(errors[sound], threshold)
      summary[f"fr_{name}_{threshold:g}"] = failure_rate(errors[sound], threshold)
  summary["num_degenerate"] = int((~sound_in_all).sum())
  summary["degenerate"] = degenerate
  return summary


def _faces(points: ArrayLike, name: str) -> np.ndarray:
  points = np.asarray(points, np.float64)
  if points.ndim != 3 or points.shape[-1] != 2:
    raise InputError(f"{name} has shape {points.shape}, expected (faces, landmarks, 2)")
  return points


def _errors(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, mask: ArrayLike | None
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
    rows = ", ".join(map(str, broken[:10])) + (
      f" and {broken.size - 10} more" if broken.size > 10 else ""
    )
    raise InputError(
      f"predictions of rows {rows} are not finite: the network that made them diverged or its input was broken"
    )
  norm = np.where(np.isfinite(norm) & (norm > 0), norm, np.nan)
  distance = np.hypot(
    *np.moveaxis(np.where(counts[..., None], pred - true, 0), -1, 0)
  )  # no square that could overflow
  return 100 * distance / norm[:, None], counts


def _distribution(errors: ArrayLike, limit: float) -> np.ndarray:
  errors = np.asarray(errors, np.float64)
  if not limit > 0:
    raise InputError(f"the error threshold is {limit}, expected percents greater than 0")
  if errors.ndim != 1 or not errors.size:
    raise InputError(
      f"errors have shape {errors.shape}, expected one error per face and at least one face"
    )
  if np.isnan(errors).any():
    rows = np.flatnonzero(np.isnan(errors))
    raise InputError(
      f"the errors of {rows.size} faces are NaN (first row {rows[0]}): leave degenerate faces out and say so"
    )
  return errors
