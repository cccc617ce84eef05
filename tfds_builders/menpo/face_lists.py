"""The face lists of the MenpoBenchmark release: `Menpo2D_semifrontal_train.txt` and so on.

A line is one face: the image's path below the list's folder, then numbers: x0, y0, x1, y1 of
RetinaFace's box, its five points as x and y each, and the landmarks as x and y each.
"""

from pathlib import Path

import numpy as np

from fal_jax.errors import InputError
from fal_jax.images import IMAGE_SUFFIXES
from tfds_builders.common.downloads import Downloads
from tfds_builders.common.text import decode
from tfds_builders.common.validate import Face, Finding

_NUM_DETECTED = 4 + 2 * 5


def read_list(
  path: Path, downloads: Downloads, *, num_landmarks: int, findings: list[Finding]
) -> list[Face]:
  """Reads a list; here its convention becomes ours.

  Args:
    path: the list.
    downloads: keeps the images that it names below the dataset's folder.
    num_landmarks: how many a line must hold.
    findings: what is wrong with single lines is added here, and one finding if the list cannot be
      read.

  Returns:
    Its faces, each image once.
  """
  name = downloads.name(path)
  try:
    lines = decode(path, advice="download it again").splitlines()
  except InputError as error:
    findings.append(Finding.from_error(name, error, path=path))
    return []

  first: dict[str, Face] = {}
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    try:
      face = _read_line(line, path.parent, downloads, num_landmarks=num_landmarks)
    except InputError as error:
      findings.append(Finding(name, f"line {number}: {str(error).rstrip('.')}"))
      continue

    if first.setdefault(face.file_name, face) is not face:
      findings.append(Finding(face.file_name, f"is in {name} more than once"))
  return list(first.values())


def _read_line(line: str, folder: Path, downloads: Downloads, *, num_landmarks: int) -> Face:
  """The face of one line of a list in `folder`."""
  count = _NUM_DETECTED + 2 * num_landmarks
  image, *words = line.strip().rsplit(maxsplit=count)  # from the right: a path may hold spaces
  try:
    values = np.array(words, np.float64)
  except ValueError as error:
    raise InputError(f"expected a path and {count} numbers: {error}.") from error

  is_image = Path(image).suffix.lower() in IMAGE_SUFFIXES
  if len(values) != count or not np.isfinite(values).all() or not is_image:
    got = f"{len(words)} words after {image[:40]!r}"
    raise InputError(f"expected an image's path and {count} numbers, got {got}.")
  file = downloads.inside(folder / image, named=repr(image))

  # The landmarks are those of the .pts files, whose first pixel has its centre at (1, 1).
  landmarks = values[_NUM_DETECTED:].reshape(num_landmarks, 2) - 1
  return Face(file, downloads.name(file), landmarks, {"box_dataset": values[:4]})
