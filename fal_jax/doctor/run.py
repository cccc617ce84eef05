"""--mode=doctor: looks at a prepared dataset and says what is wrong, odd or good to know, on one
page with pictures.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from fal_jax import build, data, evaluate, metrics
from fal_jax.doctor import faces, findings, page, procrustes, sheets, stats
from fal_jax.doctor.findings import SEVERITIES, Finding
from fal_jax.doctor.stats import Split
from fal_jax.errors import InputError
from fal_jax.images import read_header
from fal_jax.landmarks import Markup

SIZE_EDGES = np.geomspace(4, 4096, 41)  # px, quarters of an octave


def run(config: ConfigDict, workdir: str | Path, *, command: str) -> str:
  """Writes `doctor/<dataset>.html` and `.json`.

  Args:
    config: names the dataset and its mark-up; gives crop, codec, and which splits train and test.
    workdir: the folder to write to.
    command: what makes the page again.

  Returns:
    What belongs on the screen.

  Raises:
    InputError: the dataset is absent, damaged or of another mark-up, or nothing can be written.
  """
  if not config.data.name:
    raise InputError(
      "config.data.name is empty: name a prepared dataset, e.g. --config.data.name=wflw."
    )
  build.crop_rule(config), build.codec(config)  # their mistakes come up before anything is read
  scheme = build.markup(config)
  place = {"data_dir": config.data.dir, "num_landmarks": scheme.num}
  builder = data.open_dataset(config.data.name, **place)
  names = [name for name, split in builder.info.splits.items() if split.num_examples]
  sources = {name: data.open_split(config.data.name, name, **place) for name in names}
  if not sources:
    raise InputError(f"The dataset {config.data.name!r} holds no image: prepare it again.")
  directory = Path(workdir).expanduser() / "doctor"
  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(
      f"Nothing can be written to --workdir={workdir} ({error.strerror}): name another folder."
    ) from error
  splits = {name: read_split(source, title=name) for name, source in sources.items()}
  metadata = dict(builder.info.metadata or {})
  report, found, flags = examine(splits, config, metadata=metadata)
  report = {"dataset": builder.info.full_name, "command": command, **report}
  numbers = {key: value for key, value in report.items() if key not in ("heat", "distances")}
  path = directory / f"{config.data.name.replace('/', '_').replace(':', '_')}.html"
  listed = [dataclasses.asdict(finding) for finding in found]
  path.with_suffix(".json").write_text(
    json.dumps({**numbers, "findings": listed}, indent=2) + "\n", encoding="utf-8"
  )
  shown = page.largest(report)
  sheet_html = sheets.sheets(
    splits, sources, scheme, distances=report["distances"], flags=flags, shown=shown
  )
  path.write_text(page.page(report, found, sheet_html, scheme), encoding="utf-8")
  return summary(report, found) + f"\nPage: {path}"


def read_split(source: data.Source, *, title: str) -> Split:
  """Reads all faces of a split, on all cores; of the images only the headers.

  Args:
    source: the split.
    title: of the progress bar, which is shown on terminals only.
  """

  def look(index: int) -> tuple[Any, ...]:
    record = source[index]
    name, image = data.example_id(record), record["image"]
    try:
      width, height, mode, orientation = read_header(image, name=name)
    except InputError:
      width, height, mode, orientation = 0, 0, "", 1  # counted and listed as unreadable
    file = record["file_name"]
    return (
      name,
      file.decode() if isinstance(file, bytes) else str(file),
      hashlib.blake2b(image, digest_size=16).digest(),
      (width, height),
      mode,
      orientation,
      record["landmarks"],
      record["visible"],
      record["box_dataset"],
    )

  pool = ThreadPoolExecutor(os.cpu_count())
  try:
    rows = list(
      tqdm(
        pool.map(look, range(len(source))), title, total=len(source), unit=" faces", disable=None
      )
    )
  finally:
    pool.shutdown(cancel_futures=True)
  ids, files, pictures, sizes, modes, orientations, landmarks, visible, boxes = map(
    list, zip(*rows, strict=True)
  )
  points = np.array(landmarks, np.float64)
  points[~np.isfinite(points).all(-1)] = np.nan
  return Split(
    ids=ids,
    files=files,
    pictures=pictures,
    sizes=np.array(sizes),
    modes=modes,
    orientations=np.array(orientations),
    landmarks=points,
    visible=np.array(visible, bool),
    boxes=np.array(boxes, np.float64),
  )


def examine(
  splits: Mapping[str, Split], config: ConfigDict, *, metadata: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Finding], dict[str, dict[str, np.ndarray]]]:
  """Measures everything.

  Args:
    splits: all of the dataset's.
    config: mark-up, crop, codec, and which splits train and test.
    metadata: what the builder noted.

  Returns:
    The numbers, ready for JSON but for `heat` and `distances`, which are arrays by split; the
    findings, worst first; and split -> flag -> (N,) bool.
  """
  scheme, rule, band = build.markup(config), build.crop_rule(config), config.codec.window // 2
  landmarks = np.concatenate([split.landmarks for split in splits.values()])
  mean = procrustes.mean_shape(landmarks, mirror_invariant=faces.has_no_pairs(scheme))
  shape = describe_shape(mean, scheme)
  numbers, flags, heat, distances = {}, {}, {}, {}
  for name, split in splits.items():
    boxes = stats.landmark_boxes(split.landmarks) if rule.box == "landmarks" else split.boxes
    heat[name] = stats.heatmap_positions(split.landmarks, boxes, rule, stride=build.STRIDE)
    depth = stats.border_distance(heat[name], rule.size // build.STRIDE)
    flags[name] = faces.flags(split, mean=mean, markup=scheme, rule=rule, depth=depth)
    distances[name], _ = faces.shape_distances(split, mean, scheme)
    official = (metadata.get("official_counts") or {}).get(name)
    numbers[name] = {
      "faces": len(split.ids),
      "official": official,
      **measure(split, depth, distances[name], scheme, band),
    }
    numbers[name]["flags"] = {flag: int(mask.sum()) for flag, mask in flags[name].items()}
  overlaps, names = {}, {}
  for a, split in splits.items():
    shared = {b: stats.shared(split, other) for b, other in splits.items()}
    overlaps[a] = {
      b: {"pictures": int(picture.sum()), "faces": int(face.sum())}
      for b, (picture, face) in shared.items()
    }
    names[a] = {
      b: [split.ids[row] for row in np.flatnonzero(picture)] for b, (picture, _) in shared.items()
    }
  train = config.data.train_split.split("[", maxsplit=1)[0]
  # Faces cut out for training are evaluated on the photographs, a dataset of another name.
  here = config.eval.get("name") in (None, "", config.data.name)
  tests = [name.split("[", maxsplit=1)[0] for name in config.eval.splits] if here else []
  percents = {
    name: {"band": row["percent_in_band"], "outside": row["percent_outside_crop"]}
    for name, row in numbers.items()
  }
  found = [
    *findings.of_config([train, *tests], list(splits)),
    *findings.of_shape(shape, scheme),
    *findings.of_overlaps(overlaps, train, tests, names=names),
    *faces.of_faces({name: split.ids for name, split in splits.items()}, flags),
    *findings.of_metadata(metadata),
    *findings.of_crop(percents, rule, band),
  ]
  provenance = evaluate.provenance(config, split="", step=0)
  report = {
    "splits": numbers,
    "face_size_edges": SIZE_EDGES.round(3).tolist(),
    "shape": shape,
    "overlaps": overlaps,
    "metadata": dict(metadata),
    "heat": {
      name: stats.heat_counts(positions, rule.size // build.STRIDE)
      for name, positions in heat.items()
    },
    "distances": distances,
    "band": band,
    "train": train,
    "tests": tests,
    "markup": scheme.num,
    "box": rule.box,
    "crop": config.crop.to_dict(),
    **{key: provenance[key] for key in ("fal_jax", "git_commit")},
  }
  return report, sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)), flags


def measure(
  split: Split, depth: np.ndarray, distance: np.ndarray, scheme: Markup, band: int
) -> dict[str, Any]:
  """Numbers about one split, ready for JSON.

  Args:
    split: its faces.
    depth: (N, K) heatmap px of each landmark from the crop's border, negative outside, NaN where
      unknown.
    distance: (N,) distances to the mean shape.
    scheme: the mark-up.
    band: width of the border band, heatmap px.
  """
  known = np.isfinite(split.landmarks).all(-1)
  tight = stats.landmark_boxes(split.landmarks)
  norms = metrics.norms(split.landmarks, scheme)
  iou = stats.box_iou(split.boxes, tight)
  placed, annotated = np.isfinite(depth), max(int(known.sum()), 1)
  beyond = stats.beyond_image(split.landmarks, split.sizes)
  return {
    "pictures": len(set(split.pictures)),
    "landmarks": int(known.sum()),
    "missing": int((~known).sum()),
    "percent_visible": 100 * float((split.visible & known).sum()) / annotated,
    "outside_image": int((beyond > 0).sum()),
    "outside_image_px": float(np.nanmax(beyond, initial=0)),
    "face_size": _five_numbers(norms["box"]),
    "face_sizes": np.histogram(norms["box"][np.isfinite(norms["box"])], SIZE_EDGES)[0].tolist(),
    "eye_distance": _five_numbers(norms["ic"]),
    "image_width": _five_numbers(split.sizes[split.sizes[:, 0] > 0, 0]),
    "image_height": _five_numbers(split.sizes[split.sizes[:, 1] > 0, 1]),
    "box_iou": _five_numbers(iou),
    "shape_distance": _five_numbers(distance),
    "percent_in_band": 100 * float((placed & (depth >= 0) & (depth < band)).sum()) / annotated,
    "percent_outside_crop": 100 * float((placed & (depth < 0)).sum()) / annotated,
  }


def describe_shape(mean: np.ndarray, scheme: Markup) -> dict[str, Any]:
  """The mean shape and how far it agrees with the mark-up, ready for JSON.

  Args:
    mean: (K, 2), see `procrustes.mean_shape`.
    scheme: the mark-up.

  Returns:
    `mean` (K, 2), `mirror` (K, 2) its mirror image under the flip permutation; `sides`: "right",
    "exchanged" or None where the mark-up does not tell; `asymmetry_percent` and `worst_percent` of
    `unit`; `better_partners`: [k, the landmark that is rather its mirror image].
  """
  eyes = scheme.outer_eyes
  unit, size = (
    "the distance of the outer eye corners",
    float(np.linalg.norm(mean[eyes[1]] - mean[eyes[0]])) if eyes else np.nan,
  )
  if not np.isfinite(size):
    unit, size = "the box's size", float(metrics.norms(mean[None], scheme)["box"][0])
  shape: dict[str, Any] = {
    "mean": _listed(mean),
    "unit": unit,
    "sides": None,
    "asymmetry_percent": None,
    "worst_percent": None,
    "better_partners": [],
    "mirror": None,
  }
  if faces.has_no_pairs(scheme):
    return shape
  mirror, distance, nearest, gap = procrustes.mirror_disagreement(mean, scheme.flip)
  if np.isfinite(distance).any():
    # Twice as near, and the partner further off than any annotator's hand: neighbours on a dense
    # jaw are no better partners.
    wrong = np.flatnonzero(
      (gap < distance / 2) & (distance > 0.02 * size) & (nearest != scheme.flip)
    )
    shape |= {
      "mirror": _listed(mirror),
      "asymmetry_percent": 100 * float(np.nanmean(distance)) / size,
      "worst_percent": 100 * float(np.nanmax(distance)) / size,
      "better_partners": [[int(k), int(nearest[k])] for k in wrong],
    }
  return shape | {"sides": findings.sides(mean, scheme)}


def summary(report: Mapping[str, Any], found: list[Finding]) -> str:
  """Counts of each split and the findings, for the screen."""
  lines = [
    f"{report['dataset']}: "
    + ", ".join(f"{name} {row['faces']:,}" for name, row in report["splits"].items())
    + " faces"
  ]
  for finding in found:
    affected = ", ".join(f"{split} {len(ids):,}" for split, ids in finding.faces.items())
    lines.append(
      f"  {finding.severity:<8} {finding.title}" + (f" ({affected})" if affected else "")
    )
  counts = {
    severity: sum(finding.severity == severity for finding in found) for severity in SEVERITIES
  }
  return "\n".join(
    [
      *lines,
      ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items()),
    ]
  )


def _five_numbers(values: np.ndarray) -> list[float] | None:
  """Smallest, 5 %, median, 95 % and largest of what is known; None where nothing is."""
  known = np.asarray(values, np.float64)[np.isfinite(values)]
  return (
    [round(float(value), 3) for value in np.percentile(known, [0, 5, 50, 95, 100])]
    if known.size
    else None
  )


def _listed(points: np.ndarray) -> list[list[float] | None]:
  return [
    [round(float(x), 5), round(float(y), 5)] if np.isfinite([x, y]).all() else None
    for x, y in points
  ]
