"""Checks of the origin: known first landmarks tell where files count pixels from.

A copy that was shifted, scaled or annotated again shows up there. Which origin is right is for the
builder to know, not for them.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfds_builders.common.validate import Face, Finding, check_image

KNOWN_WITHIN = 0.01  # px; half a pixel or a whole one is what conventions differ by


@dataclasses.dataclass(frozen=True)
class OriginCheck:
  """What the known faces among others say.

  Attributes:
    confirmed: labels of those whose first landmark is the known one.
    differing: index of the face -> an error, for those whose first landmark is another.
    resized: labels of those whose image is a crop or a resized copy: they say nothing.
  """

  confirmed: Sequence[str]
  differing: Mapping[int, Finding]
  resized: Sequence[str]

  def __str__(self) -> str:
    """One line for the log."""
    differing = [finding.file for finding in self.differing.values()]
    crops = "".join(f"; {name} is not the official image but a crop" for name in self.resized)

    if differing:
      but = f" (confirmed by {', '.join(self.confirmed)})" if self.confirmed else ""
      return f"NOT CONFIRMED, contradicted by the first landmark of {', '.join(differing)}{but}"
    if self.confirmed:
      return f"confirmed by the first landmark of {', '.join(self.confirmed)}{crops}"
    if crops:
      return f"not confirmed{crops}"
    return "not confirmed: none of the faces whose first landmark is known is among these files"


def check_origin(
  faces: Sequence[Face],
  known: Mapping[str, tuple[float, float]],
  *,
  sizes: Mapping[str, tuple[int, int]],
) -> OriginCheck:
  """Compares the first landmarks of known faces.

  Args:
    faces: all of them; some may be known.
    known: end of a file name, whole folders -> first landmark, image px, pixel-centre. Whatever
      folders precede it depend on how an archive was unpacked. An image none of whose faces has
      the landmark is an error.
    sizes: the same names -> (width, height) of the official images, where copies of other sizes
      are tolerated.

  Returns:
    What they say.
  """
  of_known: dict[str, list[int]] = {}
  for index, face in enumerate(faces):
    if name := _known_end(face.file_name, known):
      of_known.setdefault(name, []).append(index)

  confirmed: list[str] = []
  resized: list[str] = []
  differing: dict[int, Finding] = {}
  for name, indices in of_known.items():
    firsts = np.array([faces[index].landmarks[0] for index in indices])
    distances = np.abs(firsts - known[name]).max(-1)
    # A bad face may hold NaN, which is an error of its own.
    nearest = int(np.argmin(np.where(np.isnan(distances), np.inf, distances)))
    face = faces[indices[nearest]]

    if distances[nearest] <= KNOWN_WITHIN:
      confirmed.append(face.label)
    elif name in sizes and _size(face) != sizes[name]:
      resized.append(face.label)
    else:
      differing[indices[nearest]] = _differs(face, known[name])
  return OriginCheck(confirmed, differing, resized)


def _known_end(file_name: str, known: Mapping[str, tuple[float, float]]) -> str | None:
  """The known name with which a file name ends, whole folders."""
  end = file_name
  while end not in known:
    _, slash, end = end.partition("/")
    if not slash:
      return None
  return end


def _size(face: Face) -> tuple[int, int] | None:
  """(width, height) of a face's image; None where it cannot be read, which others report."""
  try:
    return check_image(face.image.read_bytes(), file=face.label)[0]
  except OSError:
    return None


def _differs(face: Face, known: tuple[float, float]) -> Finding:
  """The error for a face whose first landmark is not the known one."""
  x, y = known
  got = ", ".join(f"{value:.3f}" for value in face.landmarks[0])
  message = (
    f"the first landmark is ({got}), in the official files ({x:.3f}, {y:.3f}): "
    "another version of them?"
  )
  return Finding(face.label, message)
