"""iBUG `.pts` annotation files: one landmark per line, `x y`."""

import math
import os
import re
from collections.abc import Collection

import numpy as np

from fal_jax.errors import InputError, cut
from fal_jax.parsing import limits
from tfds_builders.common.text import DECIMAL, decode

_COMMENT = re.compile(r"(#|//).*")
_HEADER = re.compile(r"(version|n_points)\s*:\s*(\S*)", re.IGNORECASE)


def read_pts(
  path: str | os.PathLike[str], *, num_landmarks: int | Collection[int], origin: int
) -> np.ndarray:
  """Reads the landmarks of a `.pts` file, with or without the header `version: 1, n_points: 68, {`.

  This is the one place where the file's convention becomes ours: iBUG's tools are MATLAB's, whose
  first pixel has its centre at (1, 1), so `origin=1` subtracts one.

  Args:
    path: the file.
    num_landmarks: how many it must hold; several numbers where any of them will do.
    origin: coordinate of the first pixel's centre in the file: 1 for iBUG's annotations, 0 for
      zero-based ones.

  Returns:
    (K, 2) float64, (x, y) in image px, pixel-centre, 0-based.

  Raises:
    InputError: the file cannot be read, holds another number of landmarks, is truncated, or a
      coordinate is not a finite number.
  """
  if origin not in (0, 1):
    raise InputError(f"origin must be 0 or 1, not {origin!r}.")
  accepted = (num_landmarks,) if isinstance(num_landmarks, int) else tuple(num_landmarks)
  expected = " or ".join(map(str, accepted))
  text = decode(
    path, advice="download it again, or save it as plain text", max_bytes=limits.MAX_PTS_BYTES
  )

  points: list[tuple[float, float]] = []
  opened = closed = False
  for number, line in enumerate(text.splitlines(), start=1):
    if "#" in line or "//" in line:
      line = _COMMENT.sub("", line)
    line = line.strip()
    if not line:
      continue
    before_points = not opened and not points
    header = _HEADER.fullmatch(line) if before_points else None

    if header:
      if header[1].lower() == "n_points":
        if header[2] not in map(str, accepted):
          raise InputError(
            f"{path}: the header says n_points {cut(header[2])!r}, expected {expected}; "
            "different mark-up?"
          )
        accepted = (int(header[2]),)
        expected = header[2]
    elif line == "{" and before_points:
      opened = True
    elif line == "}" and opened and not closed:
      closed = True
    elif closed:
      raise InputError(f"{path}, line {number}: {line[:40]!r} after the closing brace.")
    else:
      points.append(_point(line, path, number))

  if opened and not closed:
    raise InputError(
      f"{path}: no closing brace after {len(points)} landmarks, the file is truncated, "
      "download it again."
    )
  if len(points) not in accepted:
    raise InputError(f"{path} holds {len(points)} landmarks, expected {expected}.")
  return np.array(points, np.float64) - origin


def _point(line: str, path: str | os.PathLike[str], number: int) -> tuple[float, float]:
  """x and y as the file counts them. A dataset has hundreds of thousands of these lines."""
  words = line.split()
  if len(words) != 2 or not (DECIMAL.fullmatch(words[0]) and DECIMAL.fullmatch(words[1])):
    raise InputError(
      f"{path}, line {number}: {line[:40]!r} is not a landmark, expected two decimal numbers `x y`."
    )
  x, y = float(words[0]), float(words[1])
  if not (math.isfinite(x) and math.isfinite(y)):
    large = words[1] if math.isfinite(x) else words[0]
    raise InputError(f"{path}, line {number}: {large[:40]!r} is out of range.")
  return x, y
