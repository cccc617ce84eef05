"""Faces whose points have names, as tools for clicking points give them: matched by name."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from fal_jax.errors import InputError, join_names
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation
from tfds_builders.custom.names import landmarks_of


@dataclasses.dataclass(frozen=True, eq=False)
class NamedFace:
  """One face as a file gives it.

  Attributes:
    where: file and place, for messages.
    image: as the file names it.
    points: (name, x, y) of each point, image px, pixel-centre, 0-based.
    box: x0, y0, x1, y1, image px; None where there is none.
    size: (width, height) of the image as the file gives it.
    is_bad: whether it could not be read; a finding says so.
  """

  where: str
  image: str
  points: Sequence[tuple[str, float, float]] = ()
  box: tuple[float, float, float, float] | None = None
  size: tuple[int, int] | None = None
  is_bad: bool = False


def to_annotations(
  faces: Sequence[NamedFace], *, source: str, names: Sequence[str], findings: list[Finding]
) -> list[Annotation]:
  """Puts the points in the mark-up's order.

  A landmark whose name a face lacks is not annotated there. Points of other names are not read,
  and a note says so.

  Args:
    faces: of the whole dataset.
    source: where they are from, for messages on all of them.
    names: of the mark-up's landmarks.
    findings: what is wrong with single faces is added here.

  Returns:
    The faces in their order, without those that have no landmark.

  Raises:
    InputError: no point has the name of a landmark, or names may mean two landmarks.
  """
  occurring = Counter(name for face in faces for name, _, _ in face.points)
  try:
    landmarks = landmarks_of(occurring, names)
  except InputError as error:
    raise InputError(f"{source}: {error}.") from error
  if occurring and not landmarks:
    raise InputError(
      f"{source}: no point is called as a landmark of the mark-up file; they are called "
      f"{join_names([_quoted(name) for name in occurring])}, expected {join_names(list(names))}."
    )

  annotations = []
  for face in faces:
    if face.is_bad:
      annotations.append(Annotation(face.where, face.image, None))
      continue
    unknown = dict.fromkeys(name for name, _, _ in face.points if name not in landmarks)
    for name in unknown:
      message = f"points called {_quoted(name)} are not read, the mark-up has no such landmark"
      findings.append(Finding(face.where, message, "note"))

    try:
      points = _in_order(face, landmarks, len(names))
    except InputError as error:
      findings.append(Finding(face.where, str(error)))
      annotations.append(Annotation(face.where, face.image, None))
      continue
    if np.isnan(points).all():
      findings.append(Finding(face.where, "no landmark is annotated, left out", "note"))
      continue
    box = None if face.box is None else np.array(face.box, np.float64)
    annotations.append(Annotation(face.where, face.image, points, box=box, size=face.size))
  return annotations


def _in_order(face: NamedFace, landmarks: dict[str, int], num_landmarks: int) -> np.ndarray:
  """(K, 2) float64 image px; NaN where the face has no such point."""
  points = np.full((num_landmarks, 2), np.nan)
  for name, x, y in face.points:
    if name not in landmarks:
      continue
    if not np.isnan(points[landmarks[name]]).any():
      raise InputError(
        f"the landmark {_quoted(name)} is there twice; are these two faces? "
        "Group the points of each"
      )
    points[landmarks[name]] = x, y
  return points


def box_of_corners(corners: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
  """x0, y0, x1, y1 around two opposite corners, or all four.

  Raises:
    InputError: it has no extent.
  """
  x, y = zip(*corners, strict=True)
  if min(x) == max(x) or min(y) == max(y):
    raise InputError("its box has no extent")
  return min(x), min(y), max(x), max(y)


def _quoted(name: str) -> str:
  return repr(name) if len(name) <= 60 else f"{name[:57]!r}..."
