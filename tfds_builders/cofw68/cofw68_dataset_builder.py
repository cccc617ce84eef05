"""COFW-68: the test faces of COFW with the 68 landmarks of 300W and an occlusion flag for each.

Layout and conventions are described in README.md beside this file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from fal_jax.errors import InputError
from tfds_builders.common import cofw
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.mat import numbers, read_mat
from tfds_builders.common.validate import Face, Finding

_NUM_LANDMARKS = 68
_IMAGES = "COFW_test_color.mat"
_BOXES = "cofw68_test_bboxes.mat"
_ANNOTATIONS = "test_annotations"

# Where the benchmark's files lie: in a clone or an archive of its repository, or alone.
_FOLDERS = (
  "cofw68-benchmark/COFW68_Data/",
  "cofw68-benchmark-master/COFW68_Data/",
  "COFW68_Data/",
  "",
)


class Builder(ManualFaceBuilder):
  """Builds COFW-68 from the benchmark's annotations and Caltech's photographs."""

  NUM_LANDMARKS = _NUM_LANDMARKS
  HOMEPAGE = "https://github.com/golnazghiasi/cofw68-benchmark"
  LICENSE = (
    "Photographs: CC BY 4.0, as COFW's page on data.caltech.edu says; annotations: none stated."
  )
  CITATION = """\
@article{ghiasi2015_cofw68,
  author  = {Golnaz Ghiasi and Charless C. Fowlkes},
  title   = {Occlusion Coherence: Detecting and Localizing Occluded Faces},
  journal = {arXiv:1506.08347},
  year    = {2015},
}
@inproceedings{burgosartizzu2013_cofw,
  author    = {Xavier P. Burgos-Artizzu and Pietro Perona and Piotr Doll{\\'a}r},
  title     = {Robust Face Landmark Estimation Under Occlusion},
  booktitle = {IEEE International Conference on Computer Vision},
  year      = {2013},
}
"""
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
      {cofw.HOW_TO_GET.strip()}
      Clone https://github.com/golnazghiasi/cofw68-benchmark into the same folder, or put its
      archive there, cofw68-benchmark-master.zip.
      """
  ARCHIVES = (Archive("COFW_color.zip", size="503 MB"), Archive("cofw68-benchmark-master.zip"))
  OFFICIAL_COUNTS: ClassVar[dict[str, int]] = {"test": 507}
  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "COFW_test_color.mat/0001": (57.006, 30.044),  # the file counts from 1
    "COFW_test_color.mat/0507": (124.321, 93.326),
  }

  def train_flags(self) -> str:
    return "--config=configs/cofw68.py --mode=eval"

  def workdir(self) -> str:
    return "runs/w300lp"

  def layout(self, downloads: Downloads) -> Layout:
    count = self.OFFICIAL_COUNTS["test"]
    layout = Layout.empty(["test"])
    images = _read_images(downloads, count, layout)
    boxes = _read_boxes(downloads, count, layout)

    folder = downloads.find_in(_FOLDERS, _ANNOTATIONS)
    files = [folder / f"{index + 1}_points.mat" for index in range(count)] if folder else []
    present = [index for index, file in enumerate(files) if file.is_file()]
    if images:
      layout.add(
        "test",
        [
          _read_face(files[index], downloads, images[index], boxes[index], layout.findings)
          for index in present
        ],
      )

    if len(present) != count:
      layout.missing.append(
        f"COFW68_Data/{_ANNOTATIONS}: expected {count} files 1_points.mat and so on, "
        f"found {len(present)}"
      )
    return layout


def _read_images(
  downloads: Downloads, count: int, layout: Layout
) -> Sequence[cofw.CofwImage | None]:
  """The photographs in the order of the faces; none where they are not all there."""
  images: list[cofw.CofwImage | None] = []
  reason = ""
  try:
    if path := cofw.find(downloads, _IMAGES):
      images = cofw.read_images(path, "IsT", layout.findings)
  except InputError as error:
    reason = f": {error}"

  if len(images) == count:
    return images

  layout.missing.append(f"{_IMAGES}: expected {count} faces, found {len(images)}{reason}")
  return []  # those of another file may have another order


def _read_boxes(downloads: Downloads, count: int, layout: Layout) -> np.ndarray:
  """(count, 4) float64, x, y, width, height from (1, 1); NaN where they are missing."""
  path = downloads.find_in(_FOLDERS, _BOXES)
  if path is None:
    reason = ", found no such file"
  else:
    try:
      return numbers(read_mat(path, ["bboxes"])["bboxes"], (count, 4), what=f"{path}: bboxes")
    except InputError as error:
      reason = f": {error}"

  layout.missing.append(f"COFW68_Data/{_BOXES}: expected {count} boxes{reason}")
  return np.full((count, 4), np.nan)


def _read_face(
  file: Path,
  downloads: Downloads,
  image: cofw.CofwImage | None,
  box: np.ndarray,
  findings: list[Finding],
) -> Face | None:
  """Reads the landmarks of one face; here the file's convention becomes ours.

  Args:
    file: `<i>_points.mat`.
    downloads: knows what to call it.
    image: the photograph; None if it is bad, which is in `findings` already.
    box: (4,) x, y, width, height from (1, 1).
    findings: what is wrong with the file is added here.

  Returns:
    The face; None where the file or the photograph is bad.
  """
  try:
    variables = read_mat(file, ["Points", "Occ"])
    points = numbers(variables["Points"], (_NUM_LANDMARKS, 2), what=f"{file}: Points")
    occluded = numbers(variables["Occ"], (1, _NUM_LANDMARKS), what=f"{file}: Occ")[0]
    visible = cofw.visible_from_occlusion(occluded)
  except InputError as error:
    findings.append(Finding.from_error(downloads.name(file), error, path=file))
    return None

  if image is None:
    return None

  # MATLAB's first pixel has its centre at (1, 1).
  landmarks = points - 1
  extra = {"visible": visible, "box_dataset": cofw.box_from_xywh(box)}
  return Face(image, cofw.face_name(image.path, image.index), landmarks, extra)
