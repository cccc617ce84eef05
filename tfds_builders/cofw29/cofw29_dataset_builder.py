"""COFW: 29 landmarks on faces that are partly occluded, with an occlusion flag for each landmark.

Layout, splits and conventions are described in README.md beside this file.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from fal_jax.errors import InputError
from tfds_builders.common import cofw
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.mat import numbers, read_mat73
from tfds_builders.common.validate import Face, Finding

_NUM_LANDMARKS = 29


class Builder(ManualFaceBuilder):
  """Builds COFW-29 from Caltech's colour files.

  Every tenth face of the training file is `val`, the others are `fit`.
  """

  NUM_LANDMARKS = _NUM_LANDMARKS
  HOMEPAGE = "https://data.caltech.edu/records/bc0bf-nc666"
  LICENSE = (
    "CC BY 4.0, as its page on data.caltech.edu says; the photographs belong to their owners."
  )
  CITATION = """\
@inproceedings{burgosartizzu2013_cofw,
  author    = {Xavier P. Burgos-Artizzu and Pietro Perona and Piotr Doll{\\'a}r},
  title     = {Robust Face Landmark Estimation Under Occlusion},
  booktitle = {IEEE International Conference on Computer Vision},
  year      = {2013},
}
"""
  MANUAL_DOWNLOAD_INSTRUCTIONS = cofw.HOW_TO_GET
  ARCHIVES = (Archive("COFW_color.zip", size="503 MB"),)
  OFFICIAL_COUNTS: ClassVar[dict[str, int]] = {"train": 1345, "fit": 1210, "val": 135, "test": 507}
  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "COFW_test_color.mat/0001": (64.091, 12.455),  # the file counts from 1
    "COFW_test_color.mat/0460": (111.026, 99.603),
  }

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout.empty(self.OFFICIAL_COUNTS)
    layout.add_train(self._read_split(downloads, "train", "Tr", layout))
    layout.add("test", self._read_split(downloads, "test", "T", layout))
    return layout

  def _read_split(
    self, downloads: Downloads, split: str, suffix: str, layout: Layout
  ) -> list[Face | None]:
    """The faces of one file, see `_read_faces`; none where it is missing or cannot be read."""
    name = f"COFW_{split}_color.mat"
    official = self.OFFICIAL_COUNTS[split]

    faces: list[Face | None] = []
    reason = ""
    if path := cofw.find(downloads, name):
      try:
        faces = _read_faces(path, suffix, layout.findings)
      except InputError as error:
        reason = f": {error}"

    if len(faces) != official:
      layout.missing.append(f"{name}: expected {official:,} faces, found {len(faces):,}{reason}")
    return faces


def _read_faces(path: Path, suffix: str, findings: list[Finding]) -> list[Face | None]:
  """Reads one file; here its convention becomes ours.

  Args:
    path: the .mat file.
    suffix: what the names of its variables end with, "Tr" or "T".
    findings: what is wrong with single faces is added here.

  Returns:
    The faces in their order, None where one is bad, so that the hold-out of the others does not
    depend on it.

  Raises:
    InputError: the file cannot be read.
  """
  images_name, points_name, boxes_name = f"Is{suffix}", f"phis{suffix}", f"bboxes{suffix}"
  variables = read_mat73(path, [images_name, points_name, boxes_name])
  points = numbers(
    variables[points_name], (None, 3 * _NUM_LANDMARKS), what=f"{path}: {points_name}"
  )
  boxes = numbers(variables[boxes_name], (len(points), 4), what=f"{path}: {boxes_name}")
  images = cofw.read_images(path, images_name, findings)
  if len(images) != len(points):
    raise InputError(
      f"{path} holds {len(images)} images but {len(points)} rows of landmarks: download it again."
    )

  faces: list[Face | None] = []
  for index, image in enumerate(images):
    name = cofw.face_name(path, index)
    x, y, occluded = points[index].reshape(3, _NUM_LANDMARKS)
    box = cofw.box_from_xywh(boxes[index])
    if np.isnan(box).any():
      findings.append(Finding(name, "its box has no extent; the record has none", "note"))
    try:
      visible = cofw.visible_from_occlusion(occluded)
    except InputError as error:
      findings.append(Finding.from_error(name, error))
      image = None
    if image is None:
      faces.append(None)
      continue

    # MATLAB's first pixel has its centre at (1, 1).
    landmarks = np.stack([x, y], -1) - 1
    faces.append(Face(image, name, landmarks, {"visible": visible, "box_dataset": box}))
  return faces
