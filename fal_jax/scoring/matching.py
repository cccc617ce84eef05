"""Predictions of other methods joined with the annotated faces that they are of.

Faces are joined by id; by order only if asked. Whatever does not fit is refused in one sentence.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from fal_jax.errors import InputError, cut, join_names
from fal_jax.scoring import cross_markup, ids
from fal_jax.scoring.faces import Faces, LandmarkFile, Predictions
from fal_jax.scoring.truth import Options, Truth

Joining = Literal["id", "end of path", "order"]

# What helps predictions of so many landmarks to an annotation of so many.
_MAPS = {
  (98, 68): ": add --map_98_to_68",
  (98, 51): ": add --map_98_to_68 --map_68_to_51",
  (68, 51): ": add --map_68_to_51",
  (51, 68): ": add --map_68_to_51",
}


def match(file: LandmarkFile, truth: Truth, options: Options) -> tuple[Predictions, Joining]:
  """The predictions of a file for the N faces of the truth.

  Args:
    file: holds them in any order.
    truth: gives the faces and their order.
    options: say what to do with missing faces, other mark-ups and first pixels.

  Returns:
    (N, K, 2) landmarks in image px, pixel-centre, and by what they were joined with the faces.

  Raises:
    InputError: they do not fit together.
  """
  faces = truth.faces
  joined_by: Joining = "order"
  if truth.has_ids and file.ids is not None:
    pred, joined_by = _join_by_id(faces, file, may_miss=options.missing == "failure")
  else:
    pred = _join_by_order(faces, file, assume_order=options.assume_order)

  pred = _map(pred, file.path, options)
  expected = faces.landmarks.shape[1]
  if pred.shape[1] != expected:
    hint = _MAPS.get((pred.shape[1], expected), "")
    raise InputError(
      f"{file.path} has {pred.shape[1]} landmarks per face, {faces.dataset} has {expected}{hint}."
    )

  pred = pred - options.origin
  annotated = np.isfinite(faces.landmarks).all(-1)
  found = (~annotated | np.isfinite(pred).all(-1)).all(1)
  if options.missing == "error":
    _check_found(faces, found, file.path)
  elif not found.any():
    raise InputError(
      f"{file.path}: none of the {len(found)} faces of {faces.dataset} has a prediction: there is "
      "nothing to score."
    )
  _check_pixels(faces, pred[found], file.path)
  return Predictions(faces, pred, found=found if options.missing == "failure" else None), joined_by


def _map(pred: np.ndarray, path: Path, options: Options) -> np.ndarray:
  """Predictions (N, K, 2) in the mark-up that the options ask for."""
  if options.map_98_to_68:
    if pred.shape[1] != 98:
      raise InputError(
        f"--map_98_to_68 needs predictions of 98 landmarks, {path} has {pred.shape[1]}: leave it "
        "out."
      )
    pred = cross_markup.map_98_to_68(pred)
  if options.map_68_to_51 and pred.shape[1] == 68:
    pred = cross_markup.map_68_to_51(pred)
  return pred


def _join_by_order(faces: Faces, file: LandmarkFile, *, assume_order: bool) -> np.ndarray:
  """(N, K, 2) predictions as they are in the file."""
  if not assume_order:
    raise InputError(
      f"{file.path} has no ids: add them, or --assume_order if it lists its faces in the order of "
      f"{faces.dataset}."
    )
  if len(file.landmarks) != len(faces.ids):
    raise InputError(
      f"{file.path} has {len(file.landmarks)} faces, {faces.dataset} has {len(faces.ids)}: they "
      "cannot be matched by order."
    )
  return file.landmarks


def _join_by_id(faces: Faces, file: LandmarkFile, *, may_miss: bool) -> tuple[np.ndarray, Joining]:
  """(N, K, 2) predictions in the order of the faces, NaN for those without any; and by what."""
  assert file.ids is not None
  if len({*faces.ids}) < len(faces.ids):
    raise InputError(
      f"{faces.dataset} has duplicate ids, so faces cannot be told apart: make them unique."
    )

  given = ids.join(faces.ids, file.ids)
  missing = [name for name in faces.ids if name not in given]
  used = {*given.values()}
  unknown = [name for name in file.ids if name not in used]
  problems = []
  if missing and (not may_miss or not given):
    problems.append(
      f"{len(missing)} of {len(faces.ids)} faces have no prediction ({join_names(missing)})"
    )
  if unknown:
    problems.append(
      f"{len(unknown)} predictions have ids that {faces.dataset} does not know "
      f"({join_names(unknown)})"
    )
  if problems:
    raise InputError(f"{file.path}: {'; '.join(problems)}. {_remedy(missing, unknown)}")

  row = {name: index for index, name in enumerate(file.ids)}
  pred = np.full((len(faces.ids), *file.landmarks.shape[1:]), np.nan)
  for index, name in enumerate(faces.ids):
    if name in given:
      pred[index] = file.landmarks[row[given[name]]]
  is_equal = all(name == other for name, other in given.items())
  return pred, "id" if is_equal else "end of path"


def _remedy(missing: list[str], unknown: list[str]) -> str:
  """What to do about ids without a partner."""
  if missing and unknown:
    fitting = ids.alike(missing, unknown)
    for name in missing:
      if len(fitting[name]) > 1:
        first, second, *_ = sorted(fitting[name])
        return f"{cut(name)} may be {cut(first)} or {cut(second)}: write longer paths."
    return "Ids are paths of images that end alike, with #1, #2 for further faces."
  if unknown:
    return "Leave them out, or correct their ids."
  return (
    "Failing faces count too: give exactly one prediction for each face, or --missing=failure to "
    "count them as failures."
  )


def _check_found(faces: Faces, found: np.ndarray, path: Path) -> None:
  """Refuses faces, where found (N,) is False, that are missing where landmarks are annotated."""
  if not found.all():
    names = [faces.ids[row] for row in np.flatnonzero(~found)]
    raise InputError(
      f"{path}: the predictions of {len(names)} faces are NaN or missing where landmarks are "
      f"annotated ({join_names(names)}): predict every landmark, for a missed one still counts "
      "with its distance, or give --missing=failure to count these faces as failures."
    )


def _check_pixels(faces: Faces, pred: np.ndarray, path: Path) -> None:
  """Refuses predictions (M, K, 2) that are fractions of the image's size."""
  size = float(np.median((faces.boxes[:, 2:] - faces.boxes[:, :2]).max(-1)))
  max_abs = np.nanmax(np.abs(pred))
  if size > 10 and max_abs <= 2:
    raise InputError(
      f"{path}: no coordinate exceeds {max_abs:.3g}, but faces are {size:.0f} px large: these are "
      "fractions of the image's size, as MediaPipe gives them; multiply them by it."
    )
