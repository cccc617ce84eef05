"""--mode=score: scores predictions of any method exactly as our own evaluation does.

They are compared with a prepared dataset or a file of annotations (`scoring/matching.py`), and
several files with each other. Errors that look like another scale, another origin or another first
pixel lead to warnings beside the results.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

import fal_jax
from fal_jax.errors import InputError
from fal_jax.landmarks import Markup
from fal_jax.output.folders import make_dir, unwritable
from fal_jax.output.provenance import git_commit
from fal_jax.plots import figure
from fal_jax.scoring import comparison, landmark_files, matching, protocols, reports, units
from fal_jax.scoring import summary as summaries
from fal_jax.scoring.face_errors import Errors
from fal_jax.scoring.faces import LandmarkFile, Predictions
from fal_jax.scoring.matching import Truth

COMPARISON = "comparison"  # what the files about several predictions are called

MAPPING_CAVEAT = (
  "98 landmarks were mapped to 68; the annotators of the two mark-ups drew other curves, so this "
  "compares only with numbers made through the same map."
)


@dataclasses.dataclass(frozen=True)
class Scored:
  """A file of predictions beside the truth.

  Attributes:
    predictions: (N, K, 2) landmarks, image px, in the order of the truth's faces.
    errors: of these.
    markup: of the truth.
    summary: what `summary.summarise` returns, with `warnings` and `provenance`.
  """

  predictions: Predictions
  errors: Errors
  markup: Markup
  summary: dict[str, Any]


def run(
  workdir: str | Path,
  predictions: str | Path,
  *,
  name: str | None = None,
  truth: str | Path | None = None,
  config: ConfigDict | None = None,
  num_landmarks: int | None = None,
  origin: int = 0,
  assume_order: bool = False,
  map_98_to_68: bool = False,
) -> tuple[str, dict[str, Any]]:
  """Scores a file of predictions.

  Writes `score/<name>.json`, `<name>_errors.csv`, `<name>_ced.png` and `<name>_landmarks.png`.

  Args:
    workdir: the folder to write to.
    predictions: a file as in `landmark_files`.
    name: of what is written; by default the predictions' file name without its suffix.
    truth: such a file with the annotation, where NaN means not annotated; or None, and the config
      names a prepared dataset.
    config: gives the dataset, its mark-up, and the split: the first of `config.eval.splits`.
    num_landmarks: the mark-up of the truth file; by default the one with as many landmarks as it
      has.
    origin: index of the first pixel in the predictions, 0 or 1.
    assume_order: assume that both have their faces in the same order where one of them has no ids.
    map_98_to_68: first map the predictions' 98 landmarks of WFLW to the 68 of 300W.

  Returns:
    A title for the table, and what `summary.summarise` returns with `warnings` and `provenance`.

  Raises:
    InputError: something about the files or how they fit together needs the user.
  """
  name = name or Path(predictions).stem
  target, scored = _measure_files(
    {name: predictions},
    truth=truth,
    config=config,
    num_landmarks=num_landmarks,
    origin=origin,
    assume_order=assume_order,
    map_98_to_68=map_98_to_68,
  )

  directory = _write(workdir, scored)
  _draw(directory, name, scored[name])
  return f"{Path(predictions).name} on {target.title}", scored[name].summary


def compare(
  workdir: str | Path,
  predictions: Mapping[str, str | Path],
  *,
  truth: str | Path | None = None,
  config: ConfigDict | None = None,
  num_landmarks: int | None = None,
  origin: int = 0,
  assume_order: bool = False,
  map_98_to_68: bool = False,
) -> str:
  """Scores several files of predictions of the same faces beside each other.

  Writes what `run` writes for each, under its label, and `score/comparison.md`, `.json` and
  `comparison_ced.png`: a row per file, and all error curves in one figure.

  Args:
    workdir: the folder to write to.
    predictions: label -> a file as in `landmark_files`. The others are compared with the first.
    truth: as in `run`.
    config: as in `run`.
    num_landmarks: as in `run`.
    origin: as in `run`, for all files.
    assume_order: as in `run`, for all files.
    map_98_to_68: as in `run`, for all files.

  Returns:
    The table, and what is doubtful about the files.

  Raises:
    InputError: as in `run`; then nothing is written.
  """
  target, scored = _measure_files(
    predictions,
    truth=truth,
    config=config,
    num_landmarks=num_landmarks,
    origin=origin,
    assume_order=assume_order,
    map_98_to_68=map_98_to_68,
  )

  errors = {label: one.errors for label, one in scored.items()}
  protocol = next(iter(scored.values())).summary["protocol"]
  report = comparison.compare(errors, protocol)
  page = comparison.page(report, title=target.title)
  for label, one in scored.items():
    page += "".join(f"\n* WARNING: {label}: {text}" for text in one.summary["warnings"])

  directory = _write(workdir, scored)
  report["provenance"] = {label: one.summary["provenance"] for label, one in scored.items()}
  written = json.dumps(report, indent=2)
  try:
    (directory / f"{COMPARISON}.json").write_text(written + "\n", encoding="utf-8")
    (directory / f"{COMPARISON}.md").write_text(f"# {page}\n", encoding="utf-8")
  except OSError as error:
    raise unwritable(workdir, error.strerror or str(error)) from error

  if figure.has_matplotlib():
    for label, one in scored.items():
      _draw(directory, label, one)
    comparison.draw(directory / f"{COMPARISON}_ced.png", errors, protocol)
  else:
    logging.warning("No curves drawn: %s", figure.NO_MATPLOTLIB)
  return page


def label_files(texts: Sequence[str]) -> dict[str, str]:
  """The files that --predictions names, each as PATH or LABEL=PATH.

  Args:
    texts: one per file.

  Returns:
    label -> path. A file without a label has its own name without the suffix.

  Raises:
    InputError: files would share a label, or have one that is no name for what is written.
  """
  files: dict[str, str] = {}
  for text in texts:
    label, equals, path = text.partition("=")
    if not equals or "/" in label or Path(text).expanduser().exists():
      label, path = Path(text).stem, text

    if not label or (label == COMPARISON and len(texts) > 1):
      raise InputError(
        f"--predictions: {text!r} cannot be called {label!r}: give each file a name or a label, "
        "e.g. --predictions=ours=mine.csv,theirs=other.csv."
      )
    if label in files:
      raise InputError(
        f"--predictions: {files[label]} and {path} would both be called {label}: give them labels, "
        f"e.g. --predictions=ours={files[label]},theirs={path}."
      )
    files[label] = path
  return files


def measure(
  file: LandmarkFile, truth: Truth, *, origin: int, assume_order: bool, map_98_to_68: bool
) -> Scored:
  """Everything about a file of predictions.

  Args:
    file: predictions of the truth's faces.
    truth: what they are compared with.
    origin: as in `matching.match`.
    assume_order: as in `matching.match`.
    map_98_to_68: as in `matching.match`.

  Returns:
    Its errors and results.

  Raises:
    InputError: the file does not fit the truth.
  """
  pred = matching.match(
    file, truth, origin=origin, assume_order=assume_order, map_98_to_68=map_98_to_68
  )

  # Everything is measured once.
  faces, scheme = truth.faces, truth.markup
  norm = "ic" if scheme.outer_eyes else "box"
  protocol = protocols.find(faces.dataset, faces.name, norm=norm)
  if faces.dataset_boxes is not None and truth.path is not None:
    protocol = protocols.with_dataset_boxes(protocol)
  matched = Predictions(faces, pred)
  errors = summaries.measure(matched, scheme, protocol)
  summary = summaries.summarise(matched, errors, scheme, protocol)

  # Beside the results: what is doubtful about them, and where they come from.
  norm = summary["protocol"]["norm"]
  summary["warnings"] = units.unit_warnings(pred, faces.landmarks, errors.by_norm[norm])
  if map_98_to_68:
    summary["warnings"].append(MAPPING_CAVEAT)

  summary["provenance"] = {
    "predictions": file.path.name,
    "predictions_sha256": _sha256(file.path),
    "dataset": faces.dataset,
    "split": faces.name,
    "truth_sha256": None if truth.path is None else _sha256(truth.path),
    "origin": origin,
    "joined_by": "id" if truth.has_ids and file.ids is not None else "order",
    "map_98_to_68": map_98_to_68,
    "fal_jax": fal_jax.__version__,
    "git_commit": git_commit(),
  }
  return Scored(matched, errors, scheme, summary)


def _measure_files(
  predictions: Mapping[str, str | Path],
  *,
  truth: str | Path | None,
  config: ConfigDict | None,
  num_landmarks: int | None,
  origin: int,
  assume_order: bool,
  map_98_to_68: bool,
) -> tuple[Truth, dict[str, Scored]]:
  """Reads and measures files, label -> path, before anything is written; options as in `run`."""
  if (truth is None) == (config is None):
    raise InputError(
      "Give exactly one of --truth, a file with the annotated landmarks, and --config, of a "
      "prepared dataset."
    )

  files = {label: landmark_files.read(path) for label, path in predictions.items()}
  target = matching.read_truth(
    truth, config, num_landmarks=num_landmarks, assume_order=assume_order
  )
  scored = {
    label: measure(
      file, target, origin=origin, assume_order=assume_order, map_98_to_68=map_98_to_68
    )
    for label, file in files.items()
  }
  return target, scored


def _write(workdir: str | Path, scored: Mapping[str, Scored]) -> Path:
  """Writes the JSON and the CSV of each, name -> results, and returns the folder."""
  directory = make_dir(workdir, "score")
  try:
    for name, one in scored.items():
      written = json.dumps(one.summary, indent=2)
      (directory / f"{name}.json").write_text(written + "\n", encoding="utf-8")
      reports.write_errors(directory / f"{name}_errors.csv", one.errors)
  except OSError as error:
    raise unwritable(workdir, error.strerror or str(error)) from error
  return directory


def _draw(directory: Path, name: str, scored: Scored) -> None:
  """Draws the figures of one file."""
  norm, threshold = (scored.summary["protocol"][key] for key in ("norm", "threshold"))
  reports.draw(
    directory,
    name,
    scored.predictions,
    scored.errors,
    scored.markup,
    norm=norm,
    threshold=threshold,
  )


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
