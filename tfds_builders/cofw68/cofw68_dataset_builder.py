"""COFW-68: the test faces of COFW with the 68 landmarks of 300W and an occlusion flag for each.

Layout and conventions are described in README.md beside this file.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from tfds_builders.common import cofw
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.mat import numbers, read_mat
from tfds_builders.common.schema import face_features
from tfds_builders.common.validate import Face, Finding

_CITATION = """\
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
_NUM_LANDMARKS = 68
_IMAGES = "COFW_test_color.mat"
_BOXES = "cofw68_test_bboxes.mat"
# Where the benchmark's files lie: in a clone or an archive of its repository, or alone.
_FOLDERS = (
  "cofw68-benchmark/COFW68_Data/",
  "cofw68-benchmark-master/COFW68_Data/",
  "COFW68_Data/",
  "",
)


class Builder(ManualFaceBuilder):
  """Builds COFW-68 from the benchmark's annotations and Caltech's photographs."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
      {cofw.HOW_TO_GET.strip()}
      Clone https://github.com/golnazghiasi/cofw68-benchmark into the same folder, or put its archive there,
      cofw68-benchmark-master.zip.
      """
  ARCHIVES = (Archive("COFW_color.zip", size="503 MB"), Archive("cofw68-benchmark-master.zip"))
  OFFICIAL_COUNTS: ClassVar[dict[str, int]] = {"test": 507}
  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "COFW_test_color.mat/0001": (57.006, 30.044),  # the file counts from 1
    "COFW_test_color.mat/0507": (124.321, 93.326),
  }

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=face_features(_NUM_LANDMARKS),
      homepage="https://github.com/golnazghiasi/cofw68-benchmark",
      citation=_CITATION,
      license="Photographs: CC BY 4.0, as COFW's page on data.caltech.edu says; annotations: none stated.",
      metadata=tfds.core.MetadataDict(markup=_NUM_LANDMARKS),
    )

  def train_flags(self) -> str:
    return "--config=configs/cofw68.py --mode=eval"

  def workdir(self) -> str:
    return "runs/w300lp"

  def layout(self, downloads: Downloads) -> Layout:
    count = self.OFFICIAL_COUNTS["test"]
    layout = Layout(splits={"test": []}, missing=[], findings=[])
    images: list[cofw.CofwImage | None] = []
    boxes = np.full((count, 4), np.nan)
    found = {name: _find(downloads, name) for name in ("test_annotations", _BOXES)}
    try:
      path = cofw.find(downloads, _IMAGES)
      images = cofw.read_images(path, "IsT", layout.findings) if path else []
      reason = ""
    except InputError as error:
      reason = f": {error}"
    if len(images) != count:
      layout.missing.append(f"{_IMAGES}: expected {count} faces, found {len(images)}{reason}")
      images = []  # of another file, it may have another order
    try:
      if path := found[_BOXES]:
        boxes = numbers(read_mat(path, ["bboxes"])["bboxes"], (count, 4), what=f"{path}: bboxes")
      else:
        layout.missing.append(f"COFW68_Data/{_BOXES}: expected {count} boxes, found no such file")
    except InputError as error:
      layout.missing.append(f"COFW68_Data/{_BOXES}: expected {count} boxes: {error}")

    num_points = 0
    for index in range(count):
      folder = found["test_annotations"]
      file = folder / f"{index + 1}_points.mat" if folder else None
      if file and file.is_file():
        num_points += 1
        if images and (
          face := _read_face(file, downloads, images[index], boxes[index], layout.findings)
        ):
          layout.splits["test"].append(face)
    if num_points != count:
      layout.missing.append(
        f"COFW68_Data/test_annotations: expected {count} files 1_points.mat and so on, found {num_points}"
      )
    return layout


def _find(downloads: Downloads, name: str) -> Path | None:
  return next((found for folder in _FOLDERS if (found := downloads.find(folder + name))), None)


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
  """
  try:
    variables = read_mat(file, ["Points", "Occ"])
    points = numbers(variables["Points"], (_NUM_LANDMARKS, 2), what=f"{file}: Points")
    occluded = numbers(variables["Occ"], (1, _NUM_LANDMARKS), what=f"{file}: Occ")[0]
    if not np.isin(occluded, (0, 1)).all():
      raise InputError(
        f"{file}: occlusion {occluded[~np.isin(occluded, (0, 1))][0]:g}, expected 0 or 1."
      )
  except InputError as error:
    findings.append(
      Finding(downloads.name(file), str(error).removeprefix(str(file)).lstrip(",: ").rstrip("."))
    )
    return None
  if image is None:
    return None
  name = cofw.face_name(image.path, image.index)
  # MATLAB's first pixel has its centre at (1, 1).
  return Face(
    image, name, points - 1, {"visible": occluded == 0, "box_dataset": cofw.box_from_xywh(box)}
  )
