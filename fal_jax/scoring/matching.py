"""Predictions of other methods joined with the annotated faces that they are of.

Faces are joined by id; by order only if asked. Whatever does not fit is refused in one sentence.
"""

import dataclasses
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fal_jax.errors import InputError, join_names
from fal_jax.landmarks import Markup, markup
from fal_jax.scoring import cross_markup, landmark_files
from fal_jax.scoring.faces import Faces, LandmarkFile, from_file


@dataclasses.dataclass(frozen=True)
class Truth:
  """What predictions are compared with.

  Attributes:
    faces: the annotated faces.
    markup: theirs.
    has_ids: whether they have ids of their own, or only an order.
    path: the file they were read from; None for a prepared dataset.
  """

  faces: Faces
  markup: Markup
  has_ids: bool
  path: Path | None

  @property
  def title(self) -> str:
    """For tables: the dataset and its split, or the file."""
    split = f", {self.faces.name}" if self.path is None else ""
    return f"{self.faces.dataset}{split}"


def read_truth(
  truth: str | Path | None,
  config: ConfigDict | None,
  *,
  num_landmarks: int | None,
  assume_order: bool,
) -> Truth:
  """The faces of a file, or of a split of a prepared dataset.

  Args:
    truth: a file as in `landmark_files`, where NaN means not annotated; or None for the config's
      dataset.
    config: see `read_dataset`; None for the file.
    num_landmarks: the mark-up of the file; by default the one with as many landmarks as it has.
    assume_order: whether faces without ids may be joined by their order.

  Returns:
    What predictions are compared with.

  Raises:
    InputError: there is no such file or dataset, or it does not hold what was expected.
  """
  if truth is None:
    assert config is not None
    return read_dataset(config)

  file = landmark_files.read(truth)
  if file.ids is None and not assume_order:
    raise InputError(
      f"{file.path} has no ids: add them, or --assume_order if both files list their faces in the "
      "same order."
    )

  count = file.landmarks.shape[1]
  scheme = markup(num_landmarks or count)
  if count != scheme.num:
    raise InputError(
      f"{file.path} has {count} landmarks per face but --markup is {scheme.num}: they must agree."
    )
  return Truth(from_file(file), scheme, has_ids=file.ids is not None, path=file.path)


def read_dataset(config: ConfigDict) -> Truth:
  """The faces of a prepared dataset.

  Args:
    config: gives the dataset, its mark-up, and the split: the first of `config.eval.splits`.

  Returns:
    What predictions are compared with.

  Raises:
    InputError: the config names no dataset, or one that is not prepared.
  """
  # These import TFDS, which takes seconds and is not needed for files.
  from fal_jax import build
  from fal_jax.crop import CropRule
  from fal_jax.scoring import annotations

  scheme = build.markup(config)
  name = build.eval_dataset(config)
  if not name or not config.eval.splits:
    raise InputError(
      "config.data.name or config.eval.splits is empty: name a prepared dataset and a split, or "
      "give --truth."
    )
  faces = annotations.read_split(
    name,
    config.eval.splits[0],
    data_dir=config.data.dir,
    num_landmarks=config.data.markup,
    rule=CropRule(box="landmarks"),
  )
  return Truth(faces, scheme, has_ids=True, path=None)


def match(
  file: LandmarkFile,
  truth: Truth,
  *,
  origin: int = 0,
  assume_order: bool = False,
  map_98_to_68: bool = False,
) -> np.ndarray:
  """The predictions of a file for the N faces of the truth.

  Args:
    file: holds them in any order, and in the mark-up of WFLW if they are to be mapped.
    truth: gives the faces and their order.
    origin: index of the first pixel in the file, 0 or 1.
    assume_order: assume that both have their faces in the same order where one of them has no ids.
    map_98_to_68: first map the file's 98 landmarks of WFLW to the 68 of 300W.

  Returns:
    (N, K, 2) float64, image px, pixel-centre.

  Raises:
    InputError: they do not fit together.
  """
  faces = truth.faces
  if truth.has_ids and file.ids is not None:
    pred = _join_by_id(faces, file)
  else:
    pred = _join_by_order(faces, file, assume_order=assume_order)

  if map_98_to_68:
    pred = cross_markup.map_98_to_68(_require_98(pred, file.path))
  expected = faces.landmarks.shape[1]
  if pred.shape[1] != expected:
    hint = ": add --map_98_to_68" if (pred.shape[1], expected) == (98, 68) else ""
    raise InputError(
      f"{file.path} has {pred.shape[1]} landmarks per face, {faces.dataset} has {expected}{hint}."
    )

  pred = pred - origin
  _check_predictions_finite(faces, pred, file.path)
  _check_pixels(faces, pred, file.path)
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


def _join_by_id(faces: Faces, file: LandmarkFile) -> np.ndarray:
  """(N, K, 2) predictions in the order of the faces."""
  assert file.ids is not None
  row = {name: index for index, name in enumerate(file.ids)}
  known = set(faces.ids)
  if len(known) < len(faces.ids):
    raise InputError(
      f"{faces.dataset} has duplicate ids, so faces cannot be told apart: make them unique."
    )

  missing = [name for name in faces.ids if name not in row]
  unknown = [name for name in file.ids if name not in known]
  problems = []
  if missing:
    problems.append(
      f"{len(missing)} of {len(faces.ids)} faces have no prediction ({join_names(missing)})"
    )
  if unknown:
    problems.append(
      f"{len(unknown)} predictions have ids that {faces.dataset} does not know "
      f"({join_names(unknown)})"
    )
  if problems:
    raise InputError(
      f"{file.path}: {'; '.join(problems)}. Failing faces count too: give exactly one prediction "
      "for each face."
    )
  return file.landmarks[[row[name] for name in faces.ids]]


def _require_98(pred: np.ndarray, path: Path) -> np.ndarray:
  """The predictions (N, K, 2) themselves, if there are 98 landmarks per face."""
  if pred.shape[1] != 98:
    raise InputError(
      f"--map_98_to_68 needs predictions of 98 landmarks, {path} has {pred.shape[1]}: leave it out."
    )
  return pred


def _check_predictions_finite(faces: Faces, pred: np.ndarray, path: Path) -> None:
  """Refuses predictions (N, K, 2) that are missing where landmarks are annotated."""
  annotated = np.isfinite(faces.landmarks).all(-1)
  broken = (annotated & ~np.isfinite(pred).all(-1)).any(1)
  if broken.any():
    names = [faces.ids[row] for row in np.flatnonzero(broken)]
    raise InputError(
      f"{path}: the predictions of {len(names)} faces are NaN or missing where landmarks are "
      f"annotated ({join_names(names)}): predict every landmark; a missed one still "
      "counts with its distance."
    )


def _check_pixels(faces: Faces, pred: np.ndarray, path: Path) -> None:
  """Refuses predictions (N, K, 2) that are fractions of the image's size."""
  size = float(np.median((faces.boxes[:, 2:] - faces.boxes[:, :2]).max(-1)))
  max_abs = np.nanmax(np.abs(pred))
  if size > 10 and max_abs <= 2:
    raise InputError(
      f"{path}: no coordinate exceeds {max_abs:.3g}, but faces are {size:.0f} px large: these are "
      "fractions of the image's size; multiply them by it."
    )
