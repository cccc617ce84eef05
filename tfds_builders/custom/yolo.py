"""YOLO's pose labels, as Ultralytics, Roboflow and CVAT write them: a text file for each image.

A line is a face: class, box (centre, width, height), then x, y, and perhaps v, of each landmark in
the order of the mark-up. Coordinates are parts of the image's width and height, 0 to 1, measured
from its corner, so that in pixels `origin: 0.5`; they belong to the image turned upright, as
Ultralytics reads it. The labels of `images/a.jpg` are in `labels/a.txt`.

Visibility 0 is "not annotated", 1 hidden, 2 visible; without v, 0 0 is "not annotated".

Source: docs.ultralytics.com/datasets/pose (lines, `kpt_shape`, `kpt_names`); ultralytics/data/
utils.py (`exif_size`, and the path of the labels).
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from fal_jax.custom_markup import MarkupFile
from fal_jax.errors import InputError, join_names
from fal_jax.images import read_header
from fal_jax.parsing import limits
from fal_jax.parsing.plain_yaml import read_yaml
from tfds_builders.common.text import decimal, decode
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation, images_of_stem, index_stems
from tfds_builders.custom.json_files import shown
from tfds_builders.custom.names import order_of
from tfds_builders.custom.roboflow import SPLITS

LABELS = "labels"
_BEFORE = 5  # class and box
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def is_label_file(root: Path, file: Path) -> bool:
  """Whether a file is where YOLO's labels are."""
  return file.suffix.lower() == ".txt" and LABELS in file.relative_to(root).parts[:-1]


def read_yolo(
  root: Path,
  files: Sequence[Path],
  images: Sequence[Path],
  *,
  description: Path,
  content: MarkupFile,
  findings: list[Finding],
) -> list[Annotation]:
  """Reads the faces of all label files.

  The one place where YOLO's convention becomes ours: from parts of the image's size to pixels, from
  which `origin`, what the first pixel's centre would be called there, is subtracted.

  Args:
    root: the dataset's folder.
    files: the label files below the root.
    images: the images below the root.
    description: data.yaml.
    content: the mark-up file's content. With `upright: false` coordinates are parts of the size of
      the stored pixels.
    findings: what is wrong with single files is added here.

  Returns:
    The faces in the order of the files; their split is that of the folder that is called so.

  Raises:
    InputError: `kpt_shape` or `kpt_names` is not the mark-up's, or there are faces of several
      classes.
  """
  order, dims = _layout(description, content.markup.names)
  index = index_stems(root, images)
  annotations = []
  classes: dict[str, str] = {}
  for file in files:
    where = file.relative_to(root).as_posix()
    stem = _image_stem(where)
    beside = images_of_stem(stem.as_posix(), index)
    if len(beside) != 1:
      found = join_names(beside) or "none"
      message = f"expected one image of this name in {stem.parent}, found {found}"
      findings.append(Finding(where, message))
      continue
    try:
      size = _size(root / beside[0], upright=content.upright is not False)
      text = decode(file, advice="save it as plain text", max_bytes=limits.MAX_LABEL_BYTES)
      lines = text.splitlines()
    except InputError as error:
      findings.append(Finding.from_error(where, error, path=file))
      continue

    split = next((SPLITS[part] for part in Path(where).parts if part in SPLITS), None)
    for number, line in enumerate(lines, start=1):
      if not line.strip():
        continue
      place = f"{where}, line {number}"
      try:
        face_class, landmarks, box, visible = _face(
          line, order, dims, size=size, origin=content.origin
        )
      except InputError as error:
        findings.append(Finding(place, str(error)))
        annotations.append(Annotation(place, beside[0], None, split=split))
        continue
      classes.setdefault(face_class, place)
      if np.isnan(landmarks).all():
        findings.append(Finding(place, "no landmark is annotated, left out", "note"))
        continue
      annotations.append(
        Annotation(place, beside[0], landmarks, box, visible, split=split, size=size)
      )

  if len(classes) > 1:
    listed = join_names([f"{name} ({place})" for name, place in classes.items()])
    raise InputError(
      f"{root}: there are faces of the classes {listed}, expected one: leave out the others' lines."
    )
  return annotations


def _layout(description: Path, names: Sequence[str]) -> tuple[list[int], int]:
  """Where each landmark stands in a line, and how many numbers it has there, 2 or 3."""
  content = read_yaml(description)
  shape = content.get("kpt_shape")
  expected = [[len(names), 2], [len(names), 3]]
  if shape not in expected:
    raise InputError(
      f"{description}: kpt_shape is {shown(shape)}, expected {expected[1]} or {expected[0]} for a "
      f"mark-up of {len(names)} landmarks."
    )

  named = content.get("kpt_names")
  classes = list(named.values()) if isinstance(named, dict) else named
  if not isinstance(classes, list) or len(classes) != 1 or not isinstance(classes[0], list):
    return list(range(len(names))), shape[1]  # without names, their order is the mark-up's
  try:
    order = order_of([str(name) for name in classes[0]], names)
  except InputError as error:
    raise InputError(f"{description}: kpt_names: {error}.") from error
  if missing := [name for name, k in zip(names, order, strict=True) if k is None]:
    raise InputError(
      f"{description}: kpt_names lacks the landmarks {join_names(missing)} of the mark-up file; "
      f"it has {join_names([repr(name) for name in classes[0]])}."
    )
  return [k for k in order if k is not None], shape[1]


def _image_stem(labels: str) -> PurePosixPath:
  """The path of the image, without ending, that belongs to a label file."""
  parts = list(PurePosixPath(labels).with_suffix("").parts)
  last = len(parts) - 1 - parts[::-1].index(LABELS)
  parts[last] = "images"
  return PurePosixPath(*parts)


def _size(image: Path, *, upright: bool) -> tuple[int, int]:
  """(width, height) of an image as stored, or turned as its EXIF orientation says."""
  try:
    data = image.read_bytes()
  except OSError as error:
    raise InputError(f"{image.name} cannot be read: {error.strerror or error}.") from error
  width, height, _, orientation = read_header(data, name=image.name)
  return (height, width) if upright and orientation in _TURNED else (width, height)


def _face(
  line: str, order: Sequence[int], dims: int, *, size: tuple[int, int], origin: float
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
  """Class, (K, 2) landmarks and (4,) box in image px, (K,) visible."""
  words = line.split()
  expected = _BEFORE + dims * len(order)
  if len(words) != expected:
    raise InputError(
      f"it has {len(words)} numbers, expected {expected}: class, box, and {dims} for each of "
      f"{len(order)} landmarks"
    )
  numbers = np.array([decimal(word) for word in words])
  table = numbers[_BEFORE:].reshape(-1, dims)[list(order)]
  if np.abs(numbers[1:_BEFORE]).max() > 2 or np.abs(table[:, :2]).max() > 2:
    raise InputError("its coordinates are not parts of the image's size, from 0 to 1")

  landmarks = table[:, :2] * size - origin
  if dims == 3:
    visibility = table[:, 2]
    if wrong := sorted(set(visibility[~np.isin(visibility, (0, 1, 2))].tolist())):
      raise InputError(
        f"the visibility of a landmark is {wrong[0]:g}, expected 0, 1 or 2; is it a prediction?"
      )
  else:
    visibility = np.where((table == 0).all(-1), 0, 2)

  centre, extent = numbers[1:3] * size, numbers[3:5] * size
  if not (extent > 0).all():
    raise InputError(f"its box has width {words[3]} and height {words[4]}, expected both above 0")
  box = np.concatenate([centre - extent / 2, centre + extent / 2]) - origin
  return words[0], np.where(visibility[:, None] > 0, landmarks, np.nan), box, visibility == 2
