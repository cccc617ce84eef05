"""Roboflow's folders: `train/`, `valid/` and `test/`, each with its images and a COCO file.

The folders are the splits, `valid` as `val`.

Source: rfdetr.roboflow.com/learn/train/dataset-formats and roboflow.com/formats/coco-keypoint.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from fal_jax.custom_markup import MarkupFile
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import Annotation, beside
from tfds_builders.custom.coco import read_coco

FILE = "_annotations.coco.json"
SPLITS = {"train": "train", "valid": "val", "val": "val", "test": "test"}


def read_roboflow(
  root: Path, files: Sequence[Path], *, content: MarkupFile, findings: list[Finding]
) -> list[Annotation]:
  """Reads the faces of all folders.

  Args:
    root: the dataset's folder.
    files: the COCO files, in folders called as in `SPLITS`.
    content: the mark-up file's content.
    findings: what is wrong with single annotations is added here.

  Returns:
    The faces in the order of the folders' names, each with its split.

  Raises:
    InputError: see `read_coco`.
  """
  annotations = []
  for file in files:
    folder = file.parent.relative_to(root).as_posix()
    own: list[Finding] = []
    faces = read_coco(
      file,
      markup=content.markup,
      origin=content.origin,
      findings=own,
      categories=content.categories,
    )
    for face in faces:
      image, where = beside(root, file, face.image), f"{folder}/{face.where}"
      split = SPLITS[file.parent.name]
      annotations.append(dataclasses.replace(face, where=where, image=image, split=split))
    findings += [dataclasses.replace(finding, file=f"{folder}/{finding.file}") for finding in own]
  return annotations
