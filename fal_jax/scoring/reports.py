"""All numbers of one split under its protocol, for JSON and for the screen; the same for our
networks and for others.
"""

import csv
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

import fal_jax
from fal_jax import landmarks, metrics
from fal_jax.plots import curves, figure, landmark_errors
from fal_jax.scoring import auc_variants, intervals, jitter
from fal_jax.scoring.faces import Faces
from fal_jax.scoring.protocols import Protocol

RESAMPLES = 2000
Norms = Mapping[str, np.ndarray]


def norms(
  faces: Faces, markup: int | landmarks.Markup, protocol: Protocol
) -> dict[str, np.ndarray]:
  """The normalisers (N,) of all faces by name, px; those by the dataset's own box as well where the
  protocol wants them.
  """
  found = metrics.norms(faces.landmarks, markup)
  if protocol.dataset_box_norms and faces.dataset_boxes is not None:
    own = metrics.norms(faces.landmarks, markup, box=faces.dataset_boxes)
    found |= {f"{name}_dataset": own[name] for name in ("box", "diag")}
  return found


def summarise(
  faces: Faces, pred: np.ndarray, markup: int | landmarks.Markup, protocol: Protocol
) -> dict[str, Any]:
  """Every number that there is to say about predictions (N, K, 2), image px; ready for JSON.

  Returns:
    What `metrics.summarise` returns, and in percent where percent is meant
      protocol: title, norm, threshold, source, note, the paper's numbers, and faces `expected` and
      `found` percentiles: of the faces' errors, by normaliser
      intervals: 95 % bootstrap intervals of nme, auc and fr by their names; over videos where there
      are any, else over faces auc_variants: each area as other projects compute it, see
      `auc_variants` regions, landmarks: the protocol's error by part of the face and by landmark
      (null where not annotated) visibility: the protocol's error on visible and on occluded
      landmarks, where some are occluded subsets: num_images, nme, auc and fr of each subset
      jitter: see `jitter.jitter`, where there are videos
  """
  given = norms(faces, markup, protocol)
  thresholds = protocol.thresholds
  summary = metrics.summarise(pred, faces.landmarks, given, ids=faces.ids, thresholds=thresholds)
  norm, threshold = _main(summary, protocol)
  complete = protocol.splits.get(faces.name)
  summary["protocol"] = {
    "title": protocol.title,
    "norm": norm,
    "threshold": threshold,
    "expected": complete,
    "found": len(faces.ids),
    "paper": dict(protocol.paper.get(faces.name, {})),
    "source": protocol.source,
    "note": protocol.note,
  }
  bounds: dict[str, list[float]] = {}
  summary["percentiles"], summary["auc_variants"] = {}, {}
  for name, pixels in given.items():
    errors, sound = metrics.valid_errors(pred, faces.landmarks, pixels)
    if sound.any():
      summary["percentiles"][name] = metrics.percentiles(errors[sound])
      videos = [faces.videos[row] for row in np.flatnonzero(sound)] if faces.videos else None
      bounds |= _intervals(errors[sound], name, thresholds.get(name, ()), videos)
      for at in thresholds.get(name, ()):
        areas = auc_variants.auc_of_all(errors[sound], at)
        summary["auc_variants"][f"auc_{name}_{at:g}"] = {
          variant: 100 * area for variant, area in areas.items()
        }
  over = "videos" if faces.videos else "faces"
  summary["intervals"] = {"level": 95, "resamples": RESAMPLES, "seed": 0, "over": over, **bounds}
  if f"nme_{norm}" not in summary:
    return summary
  errors, sound = metrics.valid_errors(pred, faces.landmarks, given[norm])
  arrays = pred[sound], faces.landmarks[sound], given[norm][sound]
  summary["regions"] = metrics.region_errors(*arrays, markup)
  summary["landmarks"] = [
    float(e) if np.isfinite(e) else None for e in metrics.landmark_errors(*arrays)
  ]
  if faces.visible is not None:
    hidden = np.isfinite(faces.landmarks).all(-1) & ~faces.visible
    if hidden.any():
      summary["visibility"] = {
        "occluded_percent": 100 * float(hidden.sum() / np.isfinite(faces.landmarks).all(-1).sum())
      }
      for kind, mask in (("visible", ~hidden), ("occluded", hidden)):
        of_kind = metrics.nme(*arrays, mask=mask[sound])
        summary["visibility"][kind] = (
          float(np.nanmean(of_kind)) if np.isfinite(of_kind).any() else None
        )
  if subsets := _members(faces, protocol):
    summary["subsets"] = {
      name: _subset(
        faces,
        pred,
        given,
        rows,
        thresholds,
        expected=protocol.subsets.get(name) if complete else None,
      )
      for name, rows in subsets.items()
    }
    for name in summary["subsets"].keys() & protocol.paper.keys():
      summary["subsets"][name]["paper"] = dict(protocol.paper[name])
  if faces.videos is not None and faces.frames is not None:
    moved = jitter.jitter(
      *arrays, videos=[faces.videos[r] for r in np.flatnonzero(sound)], frames=faces.frames[sound]
    )
    summary["jitter"] = {"norm": norm, **moved}
  return summary


def _main(summary: Mapping[str, Any], protocol: Protocol) -> tuple[str, float]:
  """The protocol's normaliser and threshold, or those of the box where no face has it (profiles
  have no two eyes).
  """
  found = f"nme_{protocol.norm}" in summary
  return (protocol.norm, protocol.threshold) if found else ("box", metrics.THRESHOLDS["box"][0])


def warn_of_degenerate(summary: Mapping[str, Any]) -> None:
  """Prints which faces are in no mean, and why."""
  for norm, ids in summary["degenerate"].items():
    logging.warning(
      "%d faces have no usable normaliser %s and are not in its numbers: %s",
      len(ids),
      norm,
      ", ".join(ids[:10]),
    )


def _intervals(
  errors: np.ndarray, norm: str, thresholds: tuple[float, ...], videos: list[str] | None
) -> dict[str, list[float]]:
  columns = {f"nme_{norm}": errors}
  for at in thresholds:
    columns |= {
      f"auc_{norm}_{at:g}": 100 * np.maximum(0, 1 - errors / at),
      f"fr_{norm}_{at:g}": 100.0 * (errors > at),
    }
  ends = intervals.bootstrap(
    np.stack([*columns.values()], 1), seed=0, groups=videos, resamples=RESAMPLES
  )
  return dict(zip(columns, ends.tolist(), strict=True))


def _members(faces: Faces, protocol: Protocol) -> dict[str, np.ndarray]:
  """Rows of each subset that has any: the protocol's in their order, then what else the records
  name; none if all are in one.
  """
  if faces.subsets is None:
    return {}
  tags = {tag: None for own in faces.subsets for tag in own}
  merged = {tag for names in protocol.tags.values() for tag in names}
  wanted = {
    name: protocol.tags.get(name, (name,))
    for name in [*protocol.subsets, *(sorted(tags.keys() - merged))]
  }
  rows = {
    name: np.array([row for row, own in enumerate(faces.subsets) if {*of} & {*own}], int)
    for name, of in wanted.items()
  }
  rows = {name: members for name, members in rows.items() if len(members)}
  return rows if any(len(members) < len(faces.ids) for members in rows.values()) else {}


def _subset(
  faces: Faces,
  pred: np.ndarray,
  given: Norms,
  rows: np.ndarray,
  thresholds: Mapping[str, Any],
  *,
  expected: int | None,
) -> dict[str, Any]:
  found = metrics.summarise(
    pred[rows],
    faces.landmarks[rows],
    {name: pixels[rows] for name, pixels in given.items()},
    thresholds=thresholds,
  )
  numbers = {name: value for name, value in found.items() if name != "degenerate"}
  return numbers if expected is None else {**numbers, "expected": expected}


def table(split: str, summary: Mapping[str, Any]) -> str:
  """The numbers of a split for the screen: a line per normaliser, then whatever the protocol adds."""
  lines = [
    f"{split}: {summary['num_images']} images, {summary['num_degenerate']} without a usable normaliser"
  ]
  for norm in ("ic", "ip", "box", "diag", "box_dataset", "diag_dataset"):
    of_norm = re.compile(rf"(nme|auc|fr)_{norm}(_[0-9.]+)?")
    cells = [
      f"{name} {value:.2f}"
      for name, value in summary.items()
      if isinstance(value, float) and of_norm.fullmatch(name)
    ]
    if cells:
      lines.append("  " + "".join(f"{cell:<18}" for cell in cells).rstrip())
  return "\n".join([*lines, *_more(summary)])


def _more(summary: Mapping[str, Any]) -> list[str]:
  if "regions" not in summary:
    return []
  protocol, bounds = summary["protocol"], summary["intervals"]
  norm, at = protocol["norm"], f"{protocol['threshold']:g}"
  names = [f"nme_{norm}", *(f"{kind}_{norm}_{at}" for kind in ("auc", "fr"))]
  names = [name for name in names if name in summary]
  paper = ", ".join(f"{name} {value:g}" for name, value in protocol["paper"].items())
  lines = [f"  WARNING: {warning}" for warning in summary.get("warnings", [])]
  lines.append(f"  protocol: {protocol['title']}" + (f"; the paper: {paper}" if paper else ""))
  lines += [f"  note: {protocol['note']}"] * bool(protocol["note"])
  if protocol["expected"] not in (None, protocol["found"]):
    lines.append(
      f"  NOT COMPARABLE: the protocol has {protocol['expected']} faces, these are {protocol['found']}"
    )
  ends = ", ".join(f"{name} {bounds[name][0]:.2f} to {bounds[name][1]:.2f}" for name in names)
  lines.append(f"  95 % interval over {bounds['over']}: {ends}")
  spread = ", ".join(f"{name} {value:.2f}" for name, value in summary["percentiles"][norm].items())
  lines.append(f"  nme_{norm} of a face: {spread}")
  lines.append(
    f"  nme_{norm} by region: "
    + ", ".join(f"{name} {value:.2f}" for name, value in summary["regions"].items())
  )
  for name in names[1:2]:
    others = ", ".join(
      f"{k} {v:.2f}" for k, v in summary["auc_variants"][name].items() if k != "exact"
    )
    lines.append(f"  {name} by other projects' formulas: {others}")
  if "visibility" in summary:
    kinds = ", ".join(
      f"{k} {v:.2f}"
      for k, v in summary["visibility"].items()
      if k != "occluded_percent" and v is not None
    )
    lines.append(
      f"  nme_{norm} of landmarks: {kinds} ({summary['visibility']['occluded_percent']:.1f} % occluded)"
    )
  if "jitter" in summary and summary["jitter"]["mean"] is not None:
    lines.append(
      f"  jitter {summary['jitter']['mean']:.3f} % of {norm}, frames {summary['jitter']['frames_apart']} apart"
    )
  if subsets := summary.get("subsets"):
    lines += _subset_lines(subsets, names)
  return lines


def _subset_lines(subsets: Mapping[str, Any], names: list[str]) -> list[str]:
  width = max(len("subset"), *map(len, subsets))
  papers = any("paper" in numbers for numbers in subsets.values())
  heads = [*names, *["the paper"] * papers]
  lines = [f"  {'subset':<{width}}  images" + "".join(f"{head:>12}" for head in heads)]
  for subset, numbers in subsets.items():
    values = [numbers.get(name) for name in names] + [
      numbers.get("paper", {}).get(names[0])
    ] * papers
    cells = "".join(f"{'-':>12}" if value is None else f"{value:>12.2f}" for value in values)
    count, expected = numbers["num_images"], numbers.get("expected")
    note = f"  (the protocol has {expected})" if expected not in (None, count) else ""
    lines.append(f"  {subset:<{width}}  {count:>6}{cells}{note}")
  return lines


def draw(
  directory: Path,
  name: str,
  faces: Faces,
  pred: np.ndarray,
  markup: int | landmarks.Markup,
  *,
  norm: str,
  threshold: float,
) -> None:
  """Draws `<name>_ced.png` up to the threshold, in percent, and `<name>_landmarks.png` for
  predictions (N, K, 2).
  """
  if not figure.has_matplotlib():
    logging.warning("No curves drawn: %s", figure.NO_MATPLOTLIB)
    return
  pixels = metrics.norms(faces.landmarks, markup)[norm]
  errors, sound = metrics.valid_errors(pred, faces.landmarks, pixels)
  if not sound.any():
    logging.warning("No face of %s has the normaliser %s: no curves drawn.", name, norm)
    return
  curves.draw_ced(
    directory / f"{name}_ced.png", {name: errors[sound]}, norm=norm, max_error=threshold
  )
  landmark_errors.draw_landmark_errors(
    directory / f"{name}_landmarks.png",
    faces.landmarks[sound],
    pixels[sound],
    metrics.landmark_errors(pred[sound], faces.landmarks[sound], pixels[sound]),
    markup=markup,
    norm=norm,
  )


def write_errors(path: Path, faces: Faces, pred: np.ndarray, given: Norms) -> None:
  """A CSV with the error of each face in percent, a column per normaliser; empty where the face has
  none.
  """
  columns = {
    name: metrics.valid_errors(pred, faces.landmarks, pixels) for name, pixels in given.items()
  }
  with path.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["id", *(f"nme_{name}" for name in columns)])
    for row, face in enumerate(faces.ids):
      writer.writerow(
        [face, *(f"{errors[row]:.6f}" if sound[row] else "" for errors, sound in columns.values())]
      )


def git_commit() -> str | None:
  """Commit of the checkout this package runs from; None when it is installed elsewhere."""
  here = Path(fal_jax.__file__).parent
  try:
    found = subprocess.run(
      ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return found.stdout.strip()
