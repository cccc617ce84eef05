"""Measures all splits of a dataset and collects the findings; nothing is read or written here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

import fal_jax
from fal_jax import build, metrics
from fal_jax.doctor import findings, procrustes, stats, symmetry
from fal_jax.doctor.face_findings import face_findings
from fal_jax.doctor.face_flags import flag_faces, shape_distances
from fal_jax.doctor.findings import SEVERITIES, Finding
from fal_jax.doctor.splits import Split
from fal_jax.landmarks import Markup, box_iou, tight_boxes
from fal_jax.output.commit import git_commit
from fal_jax.prepared import split_names

SIZE_EDGES = np.geomspace(4, 4096, 41)  # px, quarters of an octave


def examine(
  splits: Mapping[str, Split], config: ConfigDict, *, metadata: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Finding], dict[str, dict[str, np.ndarray]]]:
  """Measures everything.

  Args:
    splits: all of the dataset's.
    config: mark-up, crop, codec, and which splits train and test.
    metadata: what the builder noted.

  Returns:
    The report, ready for JSON but for `heat` (H, W) and `distances` (N,), which are arrays by
    split; the findings, worst first; and split -> flag -> (N,) bool.
  """
  markup = build.markup(config)
  rule = build.crop_rule(config)
  codec = build.codec(config)
  band = codec.window // 2

  landmarks = np.concatenate([split.landmarks for split in splits.values()])
  mean = procrustes.mean_shape(landmarks, mirror_invariant=symmetry.has_no_pairs(markup))
  shape = symmetry.describe_shape(mean, markup)

  numbers = {}
  flags = {}
  heat = {}
  distances = {}
  for name, split in splits.items():
    # Where the config's crops put the landmarks.
    boxes = tight_boxes(split.landmarks) if rule.box == "landmarks" else split.boxes
    positions = stats.heatmap_positions(split.landmarks, boxes, rule, stride=codec.stride)
    heat[name] = stats.heat_counts(positions, codec.size)
    depth = stats.border_distance(positions, codec.size)

    flags[name] = flag_faces(split, mean=mean, markup=markup, rule=rule, depth=depth)
    distances[name], _ = shape_distances(split, mean, markup)

    numbers[name] = {
      "faces": len(split.ids),
      "official": (metadata.get("official_counts") or {}).get(name),
      **measure(split, depth, distances[name], markup, band),
      "flags": {flag: int(mask.sum()) for flag, mask in flags[name].items()},
    }

  overlaps, shared_ids = _overlaps(splits)
  train, tests = _configured_splits(config)
  percents = {
    name: {"band": row["percent_in_band"], "outside": row["percent_outside_crop"]}
    for name, row in numbers.items()
  }
  unsorted = [
    *findings.config_findings(train, tests, list(splits)),
    *findings.shape_findings(shape, markup),
    *findings.overlap_findings(overlaps, _bases(train), _bases(tests), names=shared_ids),
    *face_findings({name: split.ids for name, split in splits.items()}, flags),
    *findings.metadata_findings(metadata),
    *findings.crop_findings(percents, rule, band),
  ]

  report = {
    "splits": numbers,
    "face_size_edges": SIZE_EDGES.round(3).tolist(),
    "shape": shape,
    "overlaps": overlaps,
    "metadata": dict(metadata),
    "heat": heat,
    "distances": distances,
    "band": band,
    "train": train,
    "tests": tests,
    "markup": markup.num,
    "box": rule.box,
    "crop": config.crop.to_dict(),
    "fal_jax": fal_jax.__version__,
    "git_commit": git_commit(),
  }
  return report, sorted(unsorted, key=lambda each: SEVERITIES.index(each.severity)), flags


def measure(
  split: Split, depth: np.ndarray, distance: np.ndarray, markup: Markup, band: int
) -> dict[str, Any]:
  """Measures one split.

  Args:
    split: N faces.
    depth: (N, K) heatmap px of each landmark from the crop's border, negative outside, NaN where
      unknown.
    distance: (N,) distances to the mean shape, in units of it.
    markup: the mark-up.
    band: width of the border band, heatmap px.

  Returns:
    Counts, percentages and five-number summaries, ready for JSON.
  """
  known = np.isfinite(split.landmarks).all(-1)
  annotated = max(int(known.sum()), 1)  # percentages are of these

  norms = metrics.norms(split.landmarks, markup)
  face_sizes = norms["box"][np.isfinite(norms["box"])]
  iou = box_iou(split.boxes, tight_boxes(split.landmarks))
  beyond = stats.beyond_image(split.landmarks, split.sizes)
  in_band = (depth >= 0) & (depth < band)  # NaN is neither in the band nor outside
  outside = depth < 0

  return {
    "pictures": len(set(split.digests)),
    "landmarks": int(known.sum()),
    "missing": int((~known).sum()),
    "percent_visible": 100 * float((split.visible & known).sum()) / annotated,
    "outside_image": int((beyond > 0).sum()),
    "outside_image_px": float(np.nanmax(beyond, initial=0)),
    "face_size": stats.five_numbers(norms["box"]),
    "face_sizes": np.histogram(face_sizes, SIZE_EDGES)[0].tolist(),
    "eye_distance": stats.five_numbers(norms["ic"]),
    "image_width": stats.five_numbers(split.sizes[split.sizes[:, 0] > 0, 0]),
    "image_height": stats.five_numbers(split.sizes[split.sizes[:, 1] > 0, 1]),
    "box_iou": stats.five_numbers(iou),
    "shape_distance": stats.five_numbers(distance),
    "percent_in_band": 100 * float(in_band.sum()) / annotated,
    "percent_outside_crop": 100 * float(outside.sum()) / annotated,
  }


def _overlaps(
  splits: Mapping[str, Split],
) -> tuple[dict[str, dict[str, dict[str, int]]], dict[str, dict[str, list[str]]]]:
  """Counts and names of shared images and faces, see `findings.overlap_findings`."""
  counts: dict[str, dict[str, dict[str, int]]] = {}
  names: dict[str, dict[str, list[str]]] = {}
  for a, split in splits.items():
    counts[a] = {}
    names[a] = {}

    for b, other in splits.items():
      image, face = stats.shared(split, other)
      counts[a][b] = {"pictures": int(image.sum()), "faces": int(face.sum())}
      names[a][b] = [split.ids[row] for row in np.flatnonzero(image)]
  return counts, names


def _configured_splits(config: ConfigDict) -> tuple[list[str], list[str]]:
  """The dataset's splits that train and those that test: the parts of unions, slices included."""
  mixed = [split for name, split, _ in config.data.mix if name == config.data.name]
  train = [part for split in (config.data.train_split, *mixed) for part in split_names.parts(split)]
  # Faces cut out for training are evaluated on the photographs, a dataset of another name.
  if build.eval_dataset(config) != config.data.name:
    return train, []
  return train, [part for split in config.eval.splits for part in split_names.parts(split)]


def _bases(parts: Sequence[str]) -> list[str]:
  """The splits that parts such as "fit[:50%]" are of."""
  return [base for part in parts for base in split_names.bases(part)]
