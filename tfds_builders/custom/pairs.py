"""`.pts` files, each beside the image of the same name."""

import glob
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from fal_jax.errors import InputError, join_names
from tfds_builders.common.pts import read_pts
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation, images_of_stem, index_stems


def read_pairs(
  root: Path,
  files: Sequence[Path],
  images: Sequence[Path],
  *,
  num_landmarks: int,
  origin: float,
  findings: list[Finding],
) -> list[Annotation]:
  """Reads one face of each `.pts` file.

  The one place where their convention becomes ours: `origin`, what they call the centre of the
  first pixel, is subtracted.

  Args:
    root: the dataset's folder.
    files: the `.pts` files below it.
    images: the images below it.
    num_landmarks: how many each file must hold.
    origin: 0, 0.5 or 1.
    findings: what is wrong with single files is added here.

  Returns:
    The faces in the order of the files.
  """
  index = index_stems(root, images)
  annotations = []
  for file in files:
    where = file.relative_to(root).as_posix()
    beside = images_of_stem(PurePosixPath(where).with_suffix("").as_posix(), index)
    if len(beside) != 1:
      names = ", ".join(PurePosixPath(name).name for name in beside) or f"none{_others(file)}"
      findings.append(Finding(where, f"expected one image of this name beside it, found {names}"))
      continue

    landmarks = None
    try:
      landmarks = read_pts(file, num_landmarks=num_landmarks, origin=0) - origin
    except InputError as error:
      findings.append(Finding.from_error(where, error, path=file))
    annotations.append(Annotation(where, beside[0], landmarks))
  return annotations


def _others(file: Path) -> str:
  """What lies beside a `.pts` file in place of an image, for a message."""
  others = [path.name for path in file.parent.glob(f"{glob.escape(file.stem)}.*") if path != file]
  return f" ({join_names(sorted(others))} is not read: convert it to JPEG)" if others else ""
