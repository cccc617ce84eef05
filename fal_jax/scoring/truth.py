"""What predictions of other methods are compared with: a file, or a split of a prepared dataset."""

import dataclasses
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fal_jax import custom_markup
from fal_jax.errors import InputError, join_names
from fal_jax.landmarks import MARKUPS, Markup, tight_boxes
from fal_jax.scoring import cross_markup, landmark_files
from fal_jax.scoring.faces import Faces, from_file


@dataclasses.dataclass(frozen=True)
class Options:
  """What predictions are compared with, and how; the flags of --mode=score.

  Attributes:
    truth: a file as in `landmark_files` with the annotation, where NaN means not annotated; or
      None, and the config names a prepared dataset.
    config: gives the dataset, its mark-up, and the split: the first of `config.eval.splits`.
    num_landmarks: how many the truth file must have; by default as many as it has.
    markup_file: a YAML file as in `custom_markup` that describes the truth file, its first pixel
      too; by default the mark-up of ours with as many landmarks, if there is one.
    origin: index of the first pixel in the predictions, 0 or 1.
    assume_order: assume that both have their faces in the same order where one of them has no ids.
    map_98_to_68: first map the predictions' 98 landmarks of WFLW to the 68 of 300W.
    map_68_to_51: compare the inner points alone, of all files that have 68.
    missing: whether a face without a prediction is an "error" or counts as a "failure".
  """

  truth: str | Path | None = None
  config: ConfigDict | None = None
  num_landmarks: int | None = None
  markup_file: str | Path | None = None
  origin: int = 0
  assume_order: bool = False
  map_98_to_68: bool = False
  map_68_to_51: bool = False
  missing: str = "error"


@dataclasses.dataclass(frozen=True)
class Truth:
  """What predictions are compared with.

  Attributes:
    faces: the annotated faces.
    markup: theirs.
    has_ids: whether they have ids of their own, or only an order.
    path: the file they were read from; None for a prepared dataset.
    origin: what that file called the first pixel.
    notes: sentences that belong beside every result.
  """

  faces: Faces
  markup: Markup
  has_ids: bool
  path: Path | None
  origin: float = 0.0
  notes: tuple[str, ...] = ()

  @property
  def title(self) -> str:
    """For tables: the dataset and its split, or the file."""
    split = f", {self.faces.name}" if self.path is None else ""
    return f"{self.faces.dataset}{split}"


def read(options: Options) -> Truth:
  """The faces of a file, or of a split of a prepared dataset.

  Args:
    options: say which.

  Returns:
    What predictions are compared with.

  Raises:
    InputError: there is no such file or dataset, or it does not hold what was expected.
  """
  if (options.truth is None) == (options.config is None):
    raise InputError(
      "Give exactly one of --truth, a file with the annotated landmarks, and --config, of a "
      "prepared dataset."
    )
  if options.markup_file and (options.config is not None or options.map_68_to_51):
    other = "--map_68_to_51" if options.config is None else "--config"
    raise InputError(
      f"--markup_file describes the mark-up of --truth, {other} needs one of ours: leave out one "
      "of the two."
    )

  truth = read_dataset(options.config) if options.config is not None else _read_file(options)
  return _inner_points(truth) if options.map_68_to_51 else truth


def _read_file(options: Options) -> Truth:
  """The faces of the file that the options name."""
  assert options.truth is not None
  file = landmark_files.read(options.truth)
  if file.ids is None and not options.assume_order:
    raise InputError(
      f"{file.path} has no ids: add them, or --assume_order if both files list their faces in the "
      "same order."
    )

  count = file.landmarks.shape[1]
  if options.num_landmarks not in (None, count):
    raise InputError(
      f"{file.path} has {count} landmarks per face but --markup is {options.num_landmarks}: they "
      "must agree."
    )
  if options.markup_file is None:
    scheme, origin = MARKUPS.get(count) or _unnamed(count), 0.0
  else:
    described = custom_markup.read_file(options.markup_file)
    scheme, origin = described.markup, described.origin

  if count != scheme.num:
    raise InputError(
      f"{file.path} has {count} landmarks per face, {options.markup_file} describes {scheme.num}: "
      "they must agree."
    )
  boxes = None if file.boxes is None else file.boxes - origin
  file = dataclasses.replace(file, landmarks=file.landmarks - origin, boxes=boxes)
  is_known = options.markup_file is not None or count in MARKUPS
  notes = () if is_known else (_no_eyes(count),)
  has_ids = file.ids is not None
  return Truth(from_file(file), scheme, has_ids, file.path, origin, notes)


def _unnamed(count: int) -> Markup:
  """A mark-up of which only the number of landmarks is known."""
  return Markup(names=tuple(f"landmark_{k}" for k in range(count)), edges=(), mirror=())


def _no_eyes(count: int) -> str:
  known = ", ".join(map(str, sorted(MARKUPS)))
  return (
    f"There is no nme_ic, because none of our mark-ups ({known}) has {count} landmarks and nothing "
    "says which are the eye corners: name them in a file for --markup_file, see "
    "fal_jax/scoring/README.md."
  )


def _inner_points(truth: Truth) -> Truth:
  """The 51 inner points of a truth with 68; one with 51 as it is."""
  faces = truth.faces
  count = faces.landmarks.shape[1]
  if count not in (68, 51):
    raise InputError(
      f"--map_68_to_51 needs 68 or 51 annotated landmarks, {faces.dataset} has {count}: leave it "
      "out."
    )
  if count == 51:
    return truth

  landmarks = cross_markup.map_68_to_51(faces.landmarks)
  boxes = tight_boxes(landmarks)
  if empty := [faces.ids[row] for row in np.flatnonzero(np.isnan(boxes).any(1))]:
    raise InputError(
      f"{faces.dataset} has faces without a single inner landmark, leave them out: "
      f"{join_names(empty)}."
    )
  faces = dataclasses.replace(
    faces,
    # Not the dataset that its papers report on: no protocol knows it.
    dataset=f"{faces.dataset}, 51 inner points",
    box="landmarks",
    landmarks=landmarks,
    boxes=boxes,
    visible=None if faces.visible is None else faces.visible[:, cross_markup.JAW :],
  )
  return dataclasses.replace(truth, faces=faces, markup=MARKUPS[51])


def read_dataset(config: ConfigDict) -> Truth:
  """The faces of a prepared dataset.

  Args:
    config: gives the dataset, its mark-up, and the split: the first of `config.eval.splits`.

  Returns:
    What predictions are compared with.

  Raises:
    InputError: the config names no dataset, or one that is not prepared.
  """
  from fal_jax import build  # imports TFDS, which takes seconds and is not needed for files

  scheme = build.markup(config)
  name = build.eval_dataset(config)
  if not name or not config.eval.splits:
    raise InputError(
      "config.data.name or config.eval.splits is empty: name a prepared dataset and a split, or "
      "give --truth."
    )
  faces = _read_split(config, name, config.eval.splits[0])
  return Truth(faces, scheme, has_ids=True, path=None)


def read_training(config: ConfigDict) -> Faces | None:
  """The faces that a config trains on; None where it names none.

  Args:
    config: gives the dataset and its `config.data.train_split`.

  Returns:
    Faces with (M, K, 2) landmarks, image px.

  Raises:
    InputError: they are not prepared.
  """
  return (
    _read_split(config, config.data.name, config.data.train_split) if config.data.name else None
  )


def _read_split(config: ConfigDict, name: str, split: str) -> Faces:
  """The annotations of a split, with boxes tight around them."""
  # These import TFDS, which takes seconds and is not needed for files.
  from fal_jax.crop import CropRule
  from fal_jax.scoring import annotations

  return annotations.read_split(
    name,
    split,
    data_dir=config.data.dir,
    num_landmarks=config.data.markup,
    rule=CropRule(box="landmarks"),
  )
