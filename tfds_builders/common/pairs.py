"""Folders in which each photograph has its landmarks beside it, in a `.pts` file of its name."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fal_jax.errors import InputError
from fal_jax.images import IMAGE_SUFFIXES
from tfds_builders.common.pts import read_pts
from tfds_builders.common.validate import Face, Finding


def read_pairs(
  folder: Path,
  name: str,
  *,
  num_landmarks: int | Collection[int],
  findings: list[Finding],
  **extra: str,
) -> tuple[list[Face | None], int]:
  """Reads one folder of pairs, whose `.pts` files count from 1 as iBUG's do.

  Args:
    folder: where they lie; its own folders are not looked into.
    name: what the dataset calls the folder.
    num_landmarks: how many a face has; several numbers where mark-ups are mixed.
    findings: what is wrong with its files is added here.
    **extra: features that all faces of the folder share.

  Returns:
    A face for each pair of image and `.pts`, sorted by name, None where the pair is bad, so that a
    hold-out of the others does not depend on it; and the number of pairs.
  """
  images: dict[str, list[Path]] = {}
  annotations: dict[str, list[Path]] = {}
  for file in sorted(folder.iterdir()):
    if file.name.startswith("."):
      continue
    suffix = file.suffix.lower()
    if suffix == ".pts":
      annotations.setdefault(file.stem, []).append(file)
    elif suffix in IMAGE_SUFFIXES:
      images.setdefault(file.stem, []).append(file)

  faces = [
    _read_pair(
      images.get(stem, []),
      annotations.get(stem, []),
      folder=name,
      num_landmarks=num_landmarks,
      findings=findings,
      extra=extra,
    )
    for stem in sorted(images.keys() | annotations.keys())
  ]
  return faces, len(images.keys() & annotations.keys())


def _read_pair(
  images: Sequence[Path],
  annotations: Sequence[Path],
  *,
  folder: str,
  num_landmarks: int | Collection[int],
  findings: list[Finding],
  extra: Mapping[str, str],
) -> Face | None:
  """The face of the files of one name; None, and a finding, where they are not a pair."""
  file_name = f"{folder}/{(images or annotations)[0].name}"
  if not annotations:
    findings.append(Finding(file_name, "no .pts file beside this image"))
    return None

  if not images:
    findings.append(Finding(file_name, "no image beside this .pts file"))
    return None

  if len(images) > 1 or len(annotations) > 1:
    names = ", ".join(file.name for file in [*images, *annotations])
    message = f"expected one image and one .pts file of this name, found {names}"
    findings.append(Finding(file_name, message))
    return None

  try:
    landmarks = read_pts(annotations[0], num_landmarks=num_landmarks, origin=1)
  except InputError as error:
    label = f"{folder}/{annotations[0].name}"
    findings.append(Finding.from_error(label, error, path=annotations[0]))
    return None
  return Face(images[0], file_name, landmarks, extra)
