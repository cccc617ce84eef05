"""Errors of one set of predictions, face by face: measured once, read by every report."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fal_jax import metrics
from fal_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class NormErrors:
  """Errors of N faces under one normaliser.

  Attributes:
    norm: (N,) float64, px; NaN where unknown.
    nme: (N,) float64, percent; NaN where it has no meaning, infinite where the face was not found.
    valid: (N,) bool, faces that count: every metric is a mean over these, but `nme` itself and
      whatever asks where landmarks lie over those that are `found` as well.
    metrics: what each face contributes to each metric.
  """

  norm: np.ndarray
  nme: np.ndarray
  valid: np.ndarray
  metrics: tuple[metrics.PerFace, ...]

  @property
  def found(self) -> np.ndarray:
    """(N,) bool, valid faces that were found."""
    return self.valid & np.isfinite(self.nme)

  def means(self) -> dict[str, float]:
    """Each metric by name, percent; without those to which no face contributes."""
    means = {}
    for metric in self.metrics:
      values = metric.values[self.valid]
      values = values[~np.isnan(values)]
      if len(values):
        means[metric.name] = float(metric.percent * values.mean())
    return means

  def valid_values(self) -> np.ndarray:
    """(M, S) float64, percent: what each of the M valid faces contributes to each of S metrics.

    NaN where it contributes nothing.
    """
    return np.stack([metric.percent * metric.values[self.valid] for metric in self.metrics], 1)

  def take(self, rows: np.ndarray) -> "NormErrors":
    """The errors of some faces.

    Args:
      rows: (M,) int, their rows.

    Returns:
      M errors, in the order of the rows.
    """
    parts = tuple(metric._replace(values=metric.values[rows]) for metric in self.metrics)
    return NormErrors(self.norm[rows], self.nme[rows], self.valid[rows], parts)


@dataclasses.dataclass(frozen=True)
class Errors:
  """Errors of one set of predictions.

  Attributes:
    ids: N names of faces.
    by_norm: name of a normaliser -> errors of all faces under it.
    found: (N,) bool, faces that the method found, where the others count as failures; None where
      all had to be predicted.
  """

  ids: list[str]
  by_norm: Mapping[str, NormErrors]
  found: np.ndarray | None = None

  def summary(self) -> dict[str, Any]:
    """The metrics of all faces, ready for JSON.

    Returns:
      num_images; each metric by name in percent, e.g. nme_ic, auc_ic_10, fr_ic_10; metric_names,
      these names by normaliser; num_degenerate and degenerate, the ids by normaliser of faces whose
      normaliser is unknown or below a pixel, or that have no annotated landmark. These are not in
      the means of that normaliser: print them. A normaliser that no face has (eyes in profiles) is
      left out. Where faces need not be found, num_missing and missing, the ids of those that were
      not: they are infinite errors to every metric but nme.
    """
    summary: dict[str, Any] = {"num_images": len(self.ids)}
    metric_names: dict[str, list[str]] = {}
    degenerate: dict[str, list[str]] = {}
    valid_in_all = np.ones(len(self.ids), bool)

    for name, errors in self.by_norm.items():
      if np.isnan(errors.norm).all():
        continue
      valid_in_all &= errors.valid
      if not errors.valid.all():
        degenerate[name] = [self.ids[row] for row in np.flatnonzero(~errors.valid)]
      means = errors.means()
      summary |= means
      metric_names[name] = list(means)

    summary |= {
      "metric_names": metric_names,
      "num_degenerate": int((~valid_in_all).sum()),
      "degenerate": degenerate,
    }
    if self.found is not None:
      missing = [self.ids[row] for row in np.flatnonzero(~self.found)]
      summary |= {"num_missing": len(missing), "missing": missing}
    return summary

  def take(self, rows: np.ndarray) -> "Errors":
    """The errors of some faces.

    Args:
      rows: (M,) int, their rows.

    Returns:
      M errors, in the order of the rows.
    """
    by_norm = {name: errors.take(rows) for name, errors in self.by_norm.items()}
    found = None if self.found is None else self.found[rows]
    return Errors([self.ids[row] for row in rows], by_norm, found)


def measure(
  pred: ArrayLike,
  true: ArrayLike,
  norms: Mapping[str, ArrayLike],
  *,
  ids: Sequence[str] | None = None,
  thresholds: Mapping[str, Sequence[float]] = metrics.THRESHOLDS,
  found: np.ndarray | None = None,
) -> Errors:
  """Measures predictions under several normalisers.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated landmarks, same pixels; NaN where not annotated.
    norms: normalisers by name, each (N,) px, from `metrics.norms`; add others under names of your
      own, e.g. "box_dataset".
    ids: N names for reporting; by default the row numbers.
    thresholds: percents at which area and failure rate are taken, by name of normaliser.
    found: (N,) bool, faces that the method found; the predictions of the others are not looked at,
      and they count as failures. By default all were found.

  Returns:
    The errors of all faces.

  Raises:
    InputError: if shapes disagree, or a prediction that counts is not finite.
  """
  count = len(np.asarray(true))
  names = [str(row) for row in range(count)] if ids is None else list(ids)
  if len(names) != count:
    raise InputError(f"{len(names)} ids for {count} faces: give one id per face")

  if found is not None:
    pred = np.where(found[:, None, None], pred, true)

  by_norm = {}
  for name, norm in norms.items():
    nme, valid = metrics.valid_errors(pred, true, norm)
    if found is not None:
      nme = np.where(found | ~valid, nme, np.inf)
    per_face = tuple(metrics.per_face(nme, name, thresholds.get(name, ())))
    by_norm[name] = NormErrors(np.asarray(norm, np.float64), nme, valid, per_face)
  return Errors(names, by_norm, found)
