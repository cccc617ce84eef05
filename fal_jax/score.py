"""--mode=score: anybody's predictions against a dataset or a file of annotations, with the numbers
of our own evaluation.

Faces are joined by id; by order only if asked. Whatever does not fit is refused in one sentence,
and what looks like another scale, another corner or another first pixel is said beside the numbers.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

import fal_jax
from fal_jax import metrics
from fal_jax.errors import InputError, join_names
from fal_jax.landmarks import Markup, markup
from fal_jax.scoring import cross_markup, landmark_files, protocols, reports
from fal_jax.scoring.faces import Faces
from fal_jax.scoring.landmark_files import LandmarkFile

MAPPED = (
  "98 landmarks were mapped to 68; the annotators of the two mark-ups drew other curves, so this compares only with numbers "
  "made through the same map."
)


def run(
  workdir: str | Path,
  predictions: str | Path,
  *,
  truth: str | Path | None = None,
  config: ConfigDict | None = None,
  num_landmarks: int | None = None,
  origin: int = 0,
  assume_order: bool = False,
  map_98_to_68: bool = False,
) -> tuple[str, dict[str, Any]]:
  """Scores a file and writes `score/<name>.json`, `<name>_errors.csv`, `<name>_ced.png` and
  `<name>_landmarks.png`.

  Args:
    workdir: the folder to write to; <name> is the predictions' file name without its ending.
    predictions: a file as in `landmark_files`.
    truth: such a file with the annotation, where NaN means not annotated; or None, and the config
      names a prepared dataset.
    config: gives the dataset, its mark-up, and the split: the first of `config.eval.splits`.
    num_landmarks: the mark-up of the truth file; by default the one with as many landmarks as it
      has.
    origin: number of the first pixel in the predictions, 0 or 1.
    assume_order: take the order of the faces for granted where one of the files has no ids.
    map_98_to_68: make the 68 landmarks of 300W of the 98 of WFLW in the predictions first.

  Returns:
    A title for the table, and the summary of `reports.summarise` with `warnings` and `provenance`.

  Raises:
    InputError: something about the files or how they fit together needs the user.
  """
  if (truth is None) == (config is None):
    raise InputError(
      "Give --truth, a file with the annotated landmarks, or --config, of a prepared dataset; one of them."
    )
  found = landmark_files.read(predictions)
  if truth is not None:
    file = landmark_files.read(truth)
    if file.ids is None and not assume_order:
      raise InputError(
        f"{file.path} has no ids: add them, or --assume_order if both files have their faces in the same order."
      )
    scheme = markup(num_landmarks or file.landmarks.shape[1])
    faces, ordered = _faces(file, scheme), file.ids is None
  else:
    assert config is not None
    from fal_jax import build  # as in `_dataset`

    scheme = build.markup(config)
    faces, ordered = _dataset(config), False
  pred = _joined(faces, found, ordered=ordered, assume_order=assume_order)
  if map_98_to_68:
    pred = cross_markup.map_98_to_68(_of_98(pred, found.path))
  if pred.shape[1] != faces.landmarks.shape[1]:
    hint = ": add --map_98_to_68" if (pred.shape[1], faces.landmarks.shape[1]) == (98, 68) else ""
    expected = f"{faces.dataset} has {faces.landmarks.shape[1]}"
    raise InputError(f"{found.path} has {pred.shape[1]} landmarks per face, {expected}{hint}.")
  pred = pred - origin
  _refuse_broken(faces, pred, found.path)

  norm = "ic" if scheme.outer_eyes else "box"
  protocol = protocols.find(faces.dataset, faces.name, norm=norm)
  if faces.dataset_boxes is not None and truth is not None:
    protocol = protocols.with_dataset_boxes(protocol)
  summary = reports.summarise(faces, pred, scheme, protocol)
  norm = summary["protocol"]["norm"]
  given = reports.norms(faces, scheme, protocol)
  summary["warnings"] = suspicions(pred, faces.landmarks, given[norm])
  if map_98_to_68:
    summary["warnings"].append(MAPPED)
  summary["provenance"] = {
    "predictions": found.path.name,
    "predictions_sha256": _sha256(found.path),
    "dataset": faces.dataset,
    "split": faces.name,
    "truth_sha256": None if truth is None else _sha256(Path(truth).expanduser()),
    "origin": origin,
    "joined_by": "order" if ordered or found.ids is None else "id",
    "map_98_to_68": map_98_to_68,
    "fal_jax": fal_jax.__version__,
    "git_commit": reports.git_commit(),
  }
  directory, name = Path(workdir).expanduser() / "score", found.path.stem
  try:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
  except OSError as error:
    raise InputError(
      f"Nothing can be written to --workdir={workdir} ({error.strerror}): name another folder."
    ) from error
  reports.write_errors(directory / f"{name}_errors.csv", faces, pred, given)
  reports.draw(
    directory, name, faces, pred, scheme, norm=norm, threshold=summary["protocol"]["threshold"]
  )
  return (
    f"{found.path.name} on {faces.dataset}{f', {faces.name}' if truth is None else ''}",
    summary,
  )


def suspicions(pred: np.ndarray, true: np.ndarray, norm: np.ndarray) -> list[str]:
  """What the errors themselves say about a mistake in units: sentences, none if all looks well.

  Args:
    pred: (N, K, 2) predictions, px.
    true: (N, K, 2) annotation, px, NaN where not annotated.
    norm: (N,) normalisers, px.
  """
  errors, sound = metrics.valid_errors(pred, true, norm)
  if not sound.any():
    return []
  pred, true, norm, median = pred[sound], true[sound], norm[sound], float(np.median(errors[sound]))
  if median > 100:
    text = f"Half of the faces are off by more than {median:.0f} % of the normaliser"
    swapped = float(np.median(metrics.nme(pred[..., ::-1], true, norm)))
    fitted = float(np.median(metrics.nme(_moved_and_scaled(pred, true), true, norm)))
    if swapped < 25:
      return [
        f"{text}, but by {swapped:.1f} % if x and y change places: the predictions seem to be (y, x)."
      ]
    if fitted < 25:
      return [
        f"{text}, but by {fitted:.1f} % once each face is moved and scaled: these seem to be coordinates of a crop or of a "
        "resized image; map them back to pixels of the original."
      ]
    return [f"{text}: are these the same faces, in pixels of the original images?"]
  offset = np.nanmedian(np.where(np.isfinite(true), pred - true, np.nan), (0, 1))
  if (np.abs(np.abs(offset) - 1) < 0.25).all() and offset[0] * offset[1] > 0:
    hint = (
      "predictions that count pixels from 1 need --origin=1"
      if offset[0] > 0
      else "does the annotation count pixels from 1?"
    )
    return [
      f"The predictions lie ({offset[0]:+.2f}, {offset[1]:+.2f}) px beside the annotation in the median: {hint}."
    ]
  return []


def _moved_and_scaled(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
  """Predictions (N, K, 2) with the scale and the shift of each face that fit the annotation best."""
  known = np.isfinite(true).all(-1, keepdims=True)
  count = np.maximum(known.sum(1, keepdims=True), 1)
  centres = [np.where(known, points, 0).sum(1, keepdims=True) / count for points in (pred, true)]
  a, b = (
    np.where(known, points - centre, 0)
    for points, centre in zip((pred, true), centres, strict=True)
  )
  scale = (a * b).sum((1, 2), keepdims=True) / np.maximum((a * a).sum((1, 2), keepdims=True), 1e-12)
  return (pred - centres[0]) * scale + centres[1]


def _faces(file: LandmarkFile, scheme: Markup) -> Faces:
  """The faces of a truth file."""
  landmarks = file.landmarks
  if landmarks.shape[1] != scheme.num:
    raise InputError(
      f"{file.path} has {landmarks.shape[1]} landmarks per face but --markup is {scheme.num}: they must agree."
    )
  annotated = np.isfinite(landmarks).all(-1, keepdims=True)
  ids = file.ids or [str(row) for row in range(len(landmarks))]
  if empty := [ids[row] for row in np.flatnonzero(~annotated.any((1, 2)))]:
    raise InputError(
      f"{file.path} has faces without a single landmark, leave them out: {join_names(empty)}."
    )
  landmarks = np.where(annotated, landmarks, np.nan)
  boxes = np.concatenate([np.nanmin(landmarks, 1), np.nanmax(landmarks, 1)], -1)
  return Faces(
    name=file.path.stem,
    dataset=file.path.name,
    box="landmarks",
    ids=ids,
    landmarks=landmarks,
    boxes=boxes,
    visible=file.visible,
    dataset_boxes=file.boxes,
    subsets=file.subsets,
  )


def _dataset(config: ConfigDict) -> Faces:
  from fal_jax import build
  from fal_jax.crop import CropRule
  from fal_jax.scoring import (
    annotations,
  )  # reads TFDS, which takes seconds to import and is not needed for files

  name = build.eval_dataset(config)
  if not name or not config.eval.splits:
    raise InputError(
      "config.data.name or config.eval.splits is empty: name a prepared dataset and a split, or give --truth."
    )
  return annotations.read_split(
    name,
    config.eval.splits[0],
    data_dir=config.data.dir,
    num_landmarks=config.data.markup,
    rule=CropRule(box="landmarks"),
  )


def _joined(faces: Faces, found: LandmarkFile, *, ordered: bool, assume_order: bool) -> np.ndarray:
  """(N, K, 2) predictions in the order of the faces."""
  if ordered or found.ids is None:
    if not assume_order:
      raise InputError(
        f"{found.path} has no ids: add them, or --assume_order if its faces are in the order of {faces.dataset}."
      )
    if len(found.landmarks) != len(faces.ids):
      counts = (
        f"{found.path} has {len(found.landmarks)} faces, {faces.dataset} has {len(faces.ids)}"
      )
      raise InputError(f"{counts}: no order joins them.")
    return found.landmarks
  row = {name: index for index, name in enumerate(found.ids)}
  known = set(faces.ids)
  if len(known) < len(faces.ids):
    raise InputError(
      f"{faces.dataset} has ids more than once, so faces cannot be told apart: make them unique."
    )
  missing, unknown = (
    [name for name in faces.ids if name not in row],
    [name for name in found.ids if name not in known],
  )
  if missing or unknown:
    parts = [
      f"{len(missing)} of {len(faces.ids)} faces have no prediction ({join_names(missing)})"
    ] * bool(missing)
    parts += [
      f"{len(unknown)} predictions have ids that {faces.dataset} does not know ({join_names(unknown)})"
    ] * bool(unknown)
    raise InputError(
      f"{found.path}: {'; '.join(parts)}. Failing faces count too: give exactly one prediction for each face."
    )
  return found.landmarks[[row[name] for name in faces.ids]]


def _of_98(pred: np.ndarray, path: Path) -> np.ndarray:
  if pred.shape[1] != 98:
    raise InputError(
      f"--map_98_to_68 needs predictions of 98 landmarks, {path} has {pred.shape[1]}: leave it out."
    )
  return pred


def _refuse_broken(faces: Faces, pred: np.ndarray, path: Path) -> None:
  annotated = np.isfinite(faces.landmarks).all(-1)
  broken = (annotated & ~np.isfinite(pred).all(-1)).any(1)
  if broken.any():
    names = [faces.ids[row] for row in np.flatnonzero(broken)]
    raise InputError(
      f"{path}: the predictions of {len(names)} faces are NaN or missing where landmarks are annotated "
      f"({join_names(names)}): predict every landmark; one that is not found costs what it is off."
    )
  size = float(np.median((faces.boxes[:, 2:] - faces.boxes[:, :2]).max(-1)))
  greatest = np.nanmax(np.abs(pred))
  if size > 10 and greatest <= 2:
    raise InputError(
      f"{path}: no coordinate is greater than {greatest:.3g}, but faces are {size:.0f} px large: these are parts "
      "of an image's size; multiply them by it."
    )


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
