"""All results of one set of predictions under its protocol, ready for JSON.

The same for our networks and for other methods.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fal_jax import landmarks, metrics
from fal_jax.scoring import auc_variants, face_errors, intervals, jitter
from fal_jax.scoring.face_errors import Errors
from fal_jax.scoring.faces import Faces, Predictions
from fal_jax.scoring.protocols import Protocol

RESAMPLES = 2000


def norms(
  faces: Faces, markup: int | landmarks.Markup, protocol: Protocol
) -> dict[str, np.ndarray]:
  """The normalisers of all faces.

  Args:
    faces: N annotated faces.
    markup: theirs, or its number of landmarks.
    protocol: says whether those by the dataset's own box belong to it.

  Returns:
    name -> (N,) float64, px.
  """
  by_name = own_norms(faces, markup)
  if protocol.dataset_box_norms and faces.dataset_boxes is not None:
    by_dataset_box = metrics.norms(faces.landmarks, markup, box=faces.dataset_boxes)
    by_name |= {f"{name}_dataset": by_dataset_box[name] for name in ("box", "diag")}
  return by_name


def own_norms(faces: Faces, markup: int | landmarks.Markup) -> dict[str, np.ndarray]:
  """The normalisers that need no protocol.

  Args:
    faces: N annotated faces.
    markup: theirs, or its number of landmarks.

  Returns:
    name -> (N,) float64, px. One landmark alone has no extent: there "box" and "diag" are those of
    the dataset's box.
  """
  box = faces.dataset_boxes if faces.landmarks.shape[1] == 1 else None
  return metrics.norms(faces.landmarks, markup, box=box)


def measure(predictions: Predictions, markup: int | landmarks.Markup, protocol: Protocol) -> Errors:
  """The errors of predictions under all normalisers and thresholds of a protocol.

  Args:
    predictions: (N, K, 2) landmarks, image px, and their faces.
    markup: theirs, or its number of landmarks.
    protocol: of the faces.

  Returns:
    Errors that `summarise` and `reports` read.
  """
  faces = predictions.faces
  return face_errors.measure(
    predictions.landmarks,
    faces.landmarks,
    norms(faces, markup, protocol),
    ids=faces.ids,
    thresholds=protocol.thresholds,
    found=predictions.found,
  )


def summarise(
  predictions: Predictions, errors: Errors, markup: int | landmarks.Markup, protocol: Protocol
) -> dict[str, Any]:
  """Every result of predictions.

  Args:
    predictions: (N, K, 2) landmarks, image px, and their faces.
    errors: theirs, from `measure`.
    markup: theirs, or its number of landmarks.
    protocol: of the faces.

  Returns:
    What `Errors.summary` returns, and in percent where percent is meant (over the faces that were
    found, except areas, shares and their intervals)
      protocol: title, norm, threshold, source, note, the paper's results and where each is from,
        and faces `expected` and `found`
      catastrophic: percent of the faces whose error under the protocol's normaliser is above
        `metrics.CATASTROPHIC`
      percentiles: of the faces' errors, by normaliser
      auc_variants: each area as other implementations compute it, see `auc_variants`
      intervals: 95 % bootstrap intervals of each metric by its name; over videos where there are
        any, else over faces
      regions, landmarks: the protocol's error by part of the face and by landmark (null where not
        annotated)
      visibility: the protocol's error on visible and on occluded landmarks, where some are occluded
      subsets: num_images and the metrics of each subset
      jitter: see `jitter.jitter`, where there are videos
  """
  faces = predictions.faces
  summary = errors.summary()
  norm, threshold = _primary_norm(summary, protocol)
  summary["protocol"] = {
    "title": protocol.title,
    "norm": norm,
    "threshold": threshold,
    "expected": protocol.splits.get(faces.name),
    "found": len(faces.ids),
    "paper": dict(protocol.paper.get(faces.name, {})),
    "paper_source": dict(protocol.paper_source),
    "source": protocol.source,
    "note": protocol.note,
  }
  summary["percentiles"] = _percentiles(errors)
  summary["auc_variants"] = _auc_variants(errors, protocol)
  summary["intervals"] = _intervals(errors, faces.videos)

  # The rest is about the protocol's normaliser, which no face may have.
  if f"nme_{norm}" not in summary:
    return summary
  summary["catastrophic"] = summary[f"catastrophic_{norm}"]
  found = errors.by_norm[norm].found
  arrays = predictions.landmarks[found], faces.landmarks[found], errors.by_norm[norm].norm[found]
  summary["regions"] = metrics.region_errors(*arrays, markup)
  summary["landmarks"] = [
    float(error) if np.isfinite(error) else None for error in metrics.landmark_errors(*arrays)
  ]

  if visibility := _visibility(faces, found, *arrays):
    summary["visibility"] = visibility
  if subsets := _subsets(faces, errors, protocol):
    summary["subsets"] = subsets
  if faces.videos is not None and faces.frames is not None:
    videos = [faces.videos[row] for row in np.flatnonzero(found)]
    jitter_stats = jitter.jitter(*arrays, videos=videos, frames=faces.frames[found])
    summary["jitter"] = {"norm": norm, **jitter_stats}
  return summary


def _primary_norm(summary: Mapping[str, Any], protocol: Protocol) -> tuple[str, float]:
  """The protocol's normaliser and threshold.

  Where no face has it, the box's (profiles).
  """
  if f"nme_{protocol.norm}" in summary:
    return protocol.norm, protocol.threshold
  return "box", protocol.thresholds["box"][0]


def _percentiles(errors: Errors) -> dict[str, dict[str, float]]:
  """Percentiles of the errors of valid faces that were found, by normaliser."""
  return {
    name: metrics.percentiles(of_norm.nme[of_norm.found])
    for name, of_norm in errors.by_norm.items()
    if of_norm.found.any()
  }


def _auc_variants(errors: Errors, protocol: Protocol) -> dict[str, dict[str, float]]:
  """Name of an area -> name of a variant -> percent."""
  variants = {}
  for name, of_norm in errors.by_norm.items():
    if not of_norm.valid.any():
      continue
    for at in protocol.thresholds.get(name, ()):
      areas = auc_variants.auc_of_all(of_norm.nme[of_norm.valid], at)
      variants[f"auc_{name}_{at:g}"] = {variant: 100 * area for variant, area in areas.items()}
  return variants


def _intervals(errors: Errors, videos: list[str] | None) -> dict[str, Any]:
  """Bootstrap intervals of all metrics by name, and how they are made."""
  bounds: dict[str, list[float]] = {}
  for of_norm in errors.by_norm.values():
    names = of_norm.means()
    if not names:
      continue
    columns = [metric.name in names for metric in of_norm.metrics]
    groups = [videos[row] for row in np.flatnonzero(of_norm.valid)] if videos else None
    values = of_norm.valid_values()[:, columns]
    ends = intervals.bootstrap(values, seed=0, groups=groups, resamples=RESAMPLES)
    bounds |= zip(names, ends.tolist(), strict=True)

  over = "videos" if videos else "faces"
  return {"level": 95, "resamples": RESAMPLES, "seed": 0, "over": over, **bounds}


def _visibility(
  faces: Faces, found: np.ndarray, pred: np.ndarray, true: np.ndarray, norm: np.ndarray
) -> dict[str, float | None] | None:
  """Errors on visible and on occluded landmarks; None where no landmark is occluded.

  Args:
    faces: all N of them.
    found: (N,) bool, the M faces that count.
    pred: (M, K, 2) predicted landmarks, px.
    true: (M, K, 2) annotated landmarks, same pixels.
    norm: (M,) normalisers, px.

  Returns:
    `occluded_percent` of all annotated landmarks, and the means over faces `visible` and
    `occluded`, percent.
  """
  if faces.visible is None:
    return None
  annotated = np.isfinite(faces.landmarks).all(-1)
  occluded = annotated & ~faces.visible
  if not occluded.any():
    return None

  result: dict[str, float | None] = {
    "occluded_percent": 100 * float(occluded.sum() / annotated.sum())
  }
  for kind, mask in (("visible", ~occluded), ("occluded", occluded)):
    nme = metrics.nme(pred, true, norm, mask=mask[found])
    result[kind] = float(np.nanmean(nme)) if np.isfinite(nme).any() else None
  return result


def _subsets(faces: Faces, errors: Errors, protocol: Protocol) -> dict[str, dict[str, Any]]:
  """The metrics of each subset, with the count that the protocol expects and the paper's results.

  Counts are expected only of a whole split, and only it is beside the paper's results: a slice has
  fewer faces, a union more.
  """
  is_whole_split = faces.name in protocol.splits

  subsets = {}
  for name, rows in _subset_rows(faces, protocol).items():
    summary = errors.take(rows).summary()
    # They are named once, for the whole split.
    del summary["degenerate"]
    del summary["metric_names"]
    if is_whole_split and name in protocol.subsets:
      summary["expected"] = protocol.subsets[name]
    if is_whole_split and name in protocol.paper:
      summary["paper"] = dict(protocol.paper[name])
    subsets[name] = summary
  return subsets


def _subset_rows(faces: Faces, protocol: Protocol) -> dict[str, np.ndarray]:
  """Rows of each subset that has any, subset -> (M,) int.

  The protocol's subsets come first, in its order, then the records' own. There are none where every
  subset holds all faces.
  """
  if faces.subsets is None:
    return {}

  tags = {tag for face_tags in faces.subsets for tag in face_tags}
  merged = {tag for names in protocol.tags.values() for tag in names}
  names = [*protocol.subsets, *sorted(tags - merged)]

  rows = {}
  for name in names:
    wanted = {*protocol.tags.get(name, (name,))}
    members = [row for row, face_tags in enumerate(faces.subsets) if wanted & {*face_tags}]
    if members:
      rows[name] = np.array(members, int)
  return rows if any(len(members) < len(faces.ids) for members in rows.values()) else {}
