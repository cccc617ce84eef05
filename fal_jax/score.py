"""--mode=score: scores predictions of any method exactly as our own evaluation does.

They are compared with a prepared dataset or a file of annotations (`scoring/matching.py`), with
several files of predictions, and with the mean shape. Errors that look like another scale, another
origin or another first pixel lead to warnings beside the results.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

import fal_jax
from fal_jax.errors import InputError, cut
from fal_jax.landmarks import Markup
from fal_jax.output.commit import git_commit
from fal_jax.output.folders import make_dir, unwritable, write_atomic
from fal_jax.plots import figure
from fal_jax.scoring import (
  comparison,
  cross_markup,
  landmark_files,
  matching,
  mean_shape,
  protocols,
  reports,
  truth,
  units,
)
from fal_jax.scoring import summary as summaries
from fal_jax.scoring.face_errors import Errors
from fal_jax.scoring.faces import LandmarkFile, Predictions
from fal_jax.scoring.truth import Options, Truth

COMPARISON = "comparison"  # what the files about several predictions are called
MEAN_SHAPE = "mean_shape"  # and those about the baseline

MAPPING_CAVEAT = (
  "98 landmarks were mapped to 68; the annotators of the two mark-ups drew other curves, so this "
  "compares only with numbers made through the same map."
)
INNER_CAVEAT = (
  "Only the 51 inner points are compared, and boxes are tight around them: this does not compare "
  "with results on 68."
)


@dataclasses.dataclass(frozen=True)
class Scored:
  """A set of predictions beside the truth.

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
  options: Options,
  *,
  name: str | None = None,
  thresholds: tuple[float, ...] = (),
) -> tuple[str, dict[str, Any]]:
  """Scores a file of predictions.

  Writes `score/<name>.json`, `<name>_errors.csv`, `<name>_ced.png` and `<name>_landmarks.png`.

  Args:
    workdir: the folder to write to.
    predictions: a file as in `landmark_files`.
    options: name the truth, and say how the two are joined.
    name: of what is written; by default the predictions' file name without its suffix.
    thresholds: percents of areas and failure rates; by default those of the protocol.

  Returns:
    A title for the table, and what `summary.summarise` returns with `warnings` and `provenance`.

  Raises:
    InputError: something about the files or how they fit together needs the user.
  """
  name = name or Path(predictions).stem
  target, scored = _measure_files({name: predictions}, options, thresholds)

  directory = _write(workdir, scored)
  _draw(directory, name, scored[name])
  return f"{Path(predictions).name} on {target.title}", scored[name].summary


def compare(
  workdir: str | Path,
  predictions: Mapping[str, str | Path],
  options: Options,
  *,
  thresholds: tuple[float, ...] = (),
  baseline: bool = False,
) -> str:
  """Scores files of predictions of the same faces beside each other.

  Writes what `run` writes for each, under its label, and `score/comparison.md`, `.json` and
  `comparison_ced.png`: a row per file, and all error curves in one figure.

  Args:
    workdir: the folder to write to.
    predictions: label -> a file as in `landmark_files`. The others are compared with the first.
    options: as in `run`, for all files.
    thresholds: as in `run`.
    baseline: whether the last row is the mean shape, of the config's training faces where there is
      a config.

  Returns:
    The table, and what is doubtful about the files.

  Raises:
    InputError: as in `run`; then nothing is written.
  """
  target, scored = _measure_files(predictions, options, thresholds)
  notes = []
  if baseline:
    if MEAN_SHAPE in scored:
      raise InputError(
        f"--baseline's row is called {MEAN_SHAPE}: give the file of that name another label, e.g. "
        f"--predictions=mine={predictions[MEAN_SHAPE]}."
      )
    scored[MEAN_SHAPE], note = _baseline(target, options.config, thresholds)
    notes.append(f"{MEAN_SHAPE}: {note}")

  errors = {label: one.errors for label, one in scored.items()}
  protocol = next(iter(scored.values())).summary["protocol"]
  report = comparison.compare(errors, protocol, videos=target.faces.videos)
  page = comparison.page(report, title=target.title)
  page += "".join(f"\n* {note}" for note in notes)
  for label, one in scored.items():
    page += "".join(f"\n* WARNING: {label}: {text}" for text in one.summary["warnings"])

  directory = _write(workdir, scored)
  report["provenance"] = {label: one.summary["provenance"] for label, one in scored.items()}
  written = json.dumps(report, indent=2)
  try:
    write_atomic(directory / f"{COMPARISON}.json", written + "\n")
    write_atomic(directory / f"{COMPARISON}.md", f"# {page}\n")
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


def parse_thresholds(texts: Sequence[str]) -> tuple[float, ...]:
  """The percents that --thresholds names.

  Args:
    texts: one per threshold.

  Returns:
    Each once, in their order.

  Raises:
    InputError: one is not a percentage of a normaliser.
  """
  percents = []
  for text in texts:
    try:
      percent = float(text)
    except ValueError:
      percent = math.nan
    if not 0.5 <= percent <= 100:
      hint = f": write {100 * percent:g}" if 0.005 <= percent < 0.5 else ""
      raise InputError(
        f"--thresholds are percents between 0.5 and 100, e.g. --thresholds=7,8,10, got "
        f"{cut(text)!r}{hint}."
      )
    percents.append(float(f"{percent:g}"))  # as the metric is called
  return tuple(dict.fromkeys(percents))


def measure(
  file: LandmarkFile, target: Truth, options: Options, *, thresholds: tuple[float, ...] = ()
) -> Scored:
  """Everything about a file of predictions.

  Args:
    file: predictions of the truth's faces.
    target: what they are compared with.
    options: say how they are joined.
    thresholds: as in `run`.

  Returns:
    Its errors and results.

  Raises:
    InputError: the file does not fit the truth.
  """
  predictions, joined_by = matching.match(file, target, options)
  scored = _score(predictions, target, thresholds)

  # Beside the results: what is doubtful about them, and where they come from.
  warnings = scored.summary["warnings"]
  if joined_by == "end of path":
    warnings.append(
      f"Ids of {file.path.name} and {target.faces.dataset} differ, and were joined where their "
      "paths end alike."
    )
  if options.map_98_to_68:
    warnings.append(MAPPING_CAVEAT)
  if options.map_68_to_51:
    warnings.append(INNER_CAVEAT)

  scored.summary["provenance"] |= {
    "predictions": file.path.name,
    "predictions_sha256": _sha256(file.path),
    "origin": options.origin,
    "joined_by": joined_by,
    "map_98_to_68": options.map_98_to_68,
    "map_68_to_51": options.map_68_to_51,
    "missing": options.missing,
  }
  return scored


def _score(predictions: Predictions, target: Truth, thresholds: tuple[float, ...]) -> Scored:
  """Everything about predictions of the truth's faces; their provenance is that of the truth."""
  faces, scheme = target.faces, target.markup
  norm = "ic" if scheme.outer_eyes else "box"
  protocol = protocols.find(faces.dataset, faces.name, norm=norm)
  if faces.dataset_boxes is not None and target.path is not None:
    protocol = protocols.with_dataset_boxes(protocol)
  if thresholds:
    protocol = protocols.with_thresholds(protocol, thresholds)

  # Everything is measured once.
  errors = summaries.measure(predictions, scheme, protocol)
  summary = summaries.summarise(predictions, errors, scheme, protocol)
  of_norm = errors.by_norm[summary["protocol"]["norm"]]
  warnings = units.unit_warnings(predictions.landmarks, faces.landmarks, of_norm)
  summary["warnings"] = [*target.notes, *warnings]
  summary["provenance"] = {
    "dataset": faces.dataset,
    "split": faces.name,
    "truth_sha256": None if target.path is None else _sha256(target.path),
    "truth_origin": target.origin,
    "fal_jax": fal_jax.__version__,
    "git_commit": git_commit(),
  }
  return Scored(predictions, errors, scheme, summary)


def _baseline(
  target: Truth, config: ConfigDict | None, thresholds: tuple[float, ...]
) -> tuple[Scored, str]:
  """The mean shape in the truth's boxes, and a sentence on what it is."""
  training = None if config is None else truth.read_training(config)
  landmarks = None
  whose = None
  if training is not None:
    landmarks, whose = training.landmarks, f"{training.dataset}, {training.name}"
    if landmarks.shape[1] != target.markup.num:
      landmarks = cross_markup.map_68_to_51(landmarks)
  elif len(target.faces.ids) < 2:
    raise InputError("--baseline is the mean shape of the other faces, and there is only one face.")

  scored = _score(mean_shape.predict(target.faces, training=landmarks), target, thresholds)
  note = mean_shape.describe(training=whose)
  scored.summary["warnings"].clear()  # they are about files
  scored.summary["provenance"] |= {"predictions": note}
  return scored, note


def _measure_files(
  predictions: Mapping[str, str | Path], options: Options, thresholds: tuple[float, ...]
) -> tuple[Truth, dict[str, Scored]]:
  """Reads and measures files, label -> path, before anything is written."""
  target = truth.read(options)
  files = {label: landmark_files.read(path) for label, path in predictions.items()}
  scored = {
    label: measure(file, target, options, thresholds=thresholds) for label, file in files.items()
  }
  return target, scored


def _write(workdir: str | Path, scored: Mapping[str, Scored]) -> Path:
  """Writes the JSON and the CSV of each, name -> results, and returns the folder."""
  directory = make_dir(workdir, "score")
  try:
    for name, one in scored.items():
      written = json.dumps(one.summary, indent=2)
      write_atomic(directory / f"{name}.json", written + "\n")
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
