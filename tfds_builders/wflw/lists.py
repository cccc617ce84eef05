"""The annotation lists of WFLW: one face per line, spaces between the numbers, then the image."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from fal_jax.errors import InputError
from tfds_builders.common.files import check_download, empty_download
from tfds_builders.common.text import DECIMAL, decode

# In the lists' order; the names are those of the six subset lists.
ATTRIBUTES = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")

_NUM_COORDINATES = 196
_NUM_NUMBERS = _NUM_COORDINATES + 4 + len(ATTRIBUTES)


@dataclass(frozen=True, eq=False)
class Line:
  """One face of a list.

  Attributes:
    name: path of its image below `WFLW_images`, with "/".
    landmarks: (98, 2) float64, (x, y) in image px, pixel-centre, 0-based as in the file; may be
      negative or outside the image.
    box: (4,) float64, x0, y0, x1, y1 in image px, the authors' rectangle; NaN in the subset lists,
      which have none.
    attributes: names of those of `ATTRIBUTES` that the face has, in their order.
  """

  name: str
  landmarks: np.ndarray
  box: np.ndarray
  attributes: tuple[str, ...]

  @property
  def key(self) -> tuple[str, bytes]:
    """Equal for the same face in two lists."""
    return self.name, self.landmarks.tobytes()


def read_lines(path: Path) -> list[tuple[int, str]]:
  """The lines of a list, counted from 1, without empty ones.

  Raises:
    InputError: it cannot be read, is empty, or is not text.
  """
  check_download(path)
  text = decode(path, advice="download it again")

  # splitlines() would also split at rarer characters, which names may hold.
  stripped = map(str.strip, text.split("\n"))
  lines = [(number, line) for number, line in enumerate(stripped, start=1) if line]
  if not lines:
    raise empty_download(path)
  return lines


def parse_line(line: str) -> Line:
  """Reads a line of list_98pt_rect_attr_{train,test}.txt.

  It holds 196 coordinates, the rectangle, six attributes and the image's name.

  Args:
    line: without its end.

  Returns:
    The face.

  Raises:
    InputError: says what is wrong, without the file and the line's number.
  """
  numbers, name = _split(line, _NUM_NUMBERS)
  landmarks = np.array(numbers[:_NUM_COORDINATES]).reshape(-1, 2)
  box = np.array(numbers[_NUM_COORDINATES:-6])
  flags = numbers[-6:]

  if strange := [flag for flag in flags if flag not in (0, 1)]:
    raise InputError(f"an attribute is {strange[0]:g}, expected 0 or 1")
  if not (box[2:] > box[:2]).all():
    raise InputError(f"the rectangle {box.tolist()} has no area, expected x_min y_min x_max y_max")
  attributes = tuple(attribute for attribute, flag in zip(ATTRIBUTES, flags, strict=True) if flag)
  return Line(name, landmarks, box, attributes)


def parse_subset_line(line: str) -> Line:
  """Reads a line of list_98pt_test_*.txt: 196 coordinates, name.

  Args:
    line: without its end.

  Returns:
    The face, without box and attributes.

  Raises:
    InputError: says what is wrong, without the file and the line's number.
  """
  numbers, name = _split(line, _NUM_COORDINATES)
  return Line(name, np.array(numbers).reshape(-1, 2), np.full(4, np.nan), ())


def _split(line: str, count: int) -> tuple[list[float], str]:
  """The first numbers of a line, and its rest: an image's name may hold spaces."""
  words = line.split(maxsplit=count)
  numbers = [float(word) for word in _leading_numbers(words)]
  if len(numbers) < count or len(words) == count:
    raise InputError(f"{len(numbers)} numbers before the image's name, expected {count}")
  if not np.isfinite(numbers).all():
    raise InputError("a number is too large")

  name = words[count]
  if DECIMAL.fullmatch(name.split()[0]):
    raise InputError(f"more than {count} numbers before the image's name")

  path = PurePosixPath(name)
  if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
    raise InputError(f"the image {name[:60]!r} is outside the dataset's folder")
  if not path.parts or max(len(os.fsencode(part)) for part in path.parts) > 255:
    raise InputError(f"{name[:60]!r} is not a valid file name")
  return numbers, name


def _leading_numbers(words: list[str]) -> Iterator[str]:
  for word in words[:_NUM_NUMBERS]:
    if not DECIMAL.fullmatch(word):
      return
    yield word
