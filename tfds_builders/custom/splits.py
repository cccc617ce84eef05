"""Which image of a user's dataset is in which split."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fal_jax.errors import InputError
from tfds_builders.common.hold_out import hold_out
from tfds_builders.common.text import read_text
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation, ImageIndex, find_image

LISTS = ("train.txt", "val.txt", "test.txt")
_SPLIT = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


def splits_of_images(
  root: Path,
  images: Mapping[str, Sequence[Annotation]],
  index: ImageIndex,
  findings: list[Finding],
) -> dict[str, str]:
  """The split of each image.

  A column `split` of the table, or a folder of Roboflow's or YOLO's, determines it, or the lists
  `train.txt`, `val.txt`, `test.txt`. Without either, every tenth image in the order of names,
  beginning with the first, is `test` and the others are `train`, and a note says so.

  Args:
    root: the dataset's folder.
    images: path below the root -> faces.
    index: of all images below the root.
    findings: what is wrong with single images is added here.

  Returns:
    Path below the root -> name of the split; an image without one is left out, and a finding says
    why.

  Raises:
    InputError: two ways at once, or too few images to hold any out.
  """
  lists = [root / name for name in LISTS if (root / name).is_file()]
  has_column = any(face.split is not None for faces in images.values() for face in faces)
  if lists and has_column:
    raise InputError(f"{root} has both a column `split` and {lists[0].name}: keep one of them.")

  if has_column:
    return _from_column(images, findings)
  if lists:
    return _from_lists(root, lists, images, index, findings)
  if len(images) == 1:
    raise InputError(
      f"{root} has one annotated image, expected two or more: one is held out as `test`."
    )

  test, train = hold_out(sorted(images))
  message = "no split is given, so every tenth image is held out as `test`, the others are `train`"
  findings += [Finding(name, message, "note") for name in test]
  return dict.fromkeys(test, "test") | dict.fromkeys(train, "train")


def _from_column(
  images: Mapping[str, Sequence[Annotation]], findings: list[Finding]
) -> dict[str, str]:
  """The splits that the faces name."""
  splits: dict[str, str] = {}
  bad = set()

  for name, faces in images.items():
    for face in faces:
      split = face.split or ""
      if not _SPLIT.fullmatch(split) or split == "all":  # TFDS's name for everything
        message = f"split is {split!r}, expected a name of small letters such as train or test"
      elif splits.setdefault(name, split) != split:
        message = (
          f"split is {split!r} but {splits[name]!r} for another face of this image, "
          "which would be trained and tested on"
        )
      else:
        continue

      findings.append(Finding(face.where, message))
      bad.add(name)
  return {name: split for name, split in splits.items() if name not in bad}


def _from_lists(
  root: Path,
  lists: Sequence[Path],
  images: Mapping[str, Sequence[Annotation]],
  index: ImageIndex,
  findings: list[Finding],
) -> dict[str, str]:
  """The splits that the lists give, one image per line."""
  splits: dict[str, str] = {}
  for file in lists:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
      where = f"{file.name}, line {number}"
      if not line.strip():
        continue
      try:
        name, _ = find_image(root, line.strip(), index)
      except InputError as error:
        findings.append(Finding(where, str(error)))
        continue

      if name in splits:
        findings.append(Finding(where, f"{name} is listed twice, in {splits[name]}.txt before"))
      elif name not in images:
        findings.append(Finding(where, f"{name} is not annotated"))
      else:
        splits[name] = file.stem

  message = f"is annotated but not listed in {', '.join(file.name for file in lists)}"
  findings += [Finding(name, message) for name in images if name not in splits]
  return splits
