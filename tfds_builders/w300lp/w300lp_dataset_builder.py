"""300W-LP: the faces of 300W turned to large poses by a 3-D model, 68 landmarks on each view.

Layout, splits and conventions are described in README.md beside this file.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from fal_jax.errors import InputError
from fal_jax.landmarks import MARKUPS
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.mat import numbers, read_mat
from tfds_builders.common.schema import face_features
from tfds_builders.common.validate import Face, Finding

_CITATION = """\
@inproceedings{zhu2016_300wlp,
  author    = {Xiangyu Zhu and Zhen Lei and Xiaoming Liu and Hailin Shi and Stan Z. Li},
  title     = {Face Alignment Across Large Poses: A 3D Solution},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2016},
}
@inproceedings{bulat2017_fan,
  author    = {Adrian Bulat and Georgios Tzimiropoulos},
  title     = {How Far Are We from Solving the 2D \\& 3D Face Alignment Problem?},
  booktitle = {IEEE International Conference on Computer Vision},
  year      = {2017},
}
"""

COUNTS: Mapping[str, int] = {
  "AFW": 5207,
  "HELEN": 37676,
  "IBUG": 1786,
  "LFPW": 16556,
}  # views, and as many mirrored ones
SIZE = 450  # px, side of every image
# Coordinate of the first pixel's centre in `pts_2d`: README.md says why we take 0 for it and how
# sure that is.
ORIGIN = 0

# Every tenth photograph of each folder is `val` with all its views, the others are `fit`.
_HOLD_OUT = 10


@dataclasses.dataclass(eq=False)
class W300LPConfig(tfds.core.BuilderConfig):
  """Which of the views are built.

  Attributes:
    folders: endings of the folders.
  """

  folders: tuple[str, ...] = ("",)


class Builder(ManualFaceBuilder):
  """Builds 300W-LP from its archive, packed or unpacked."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[W300LPConfig]] = [
    W300LPConfig(name="no_flips", description="The 61,225 views; training mirrors them itself."),
    W300LPConfig(
      name="with_flips",
      description="Them and their mirror images, 122,450 views.",
      folders=("", "_Flip"),
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Download 300W_LP.zip from http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm ("300W-LP", on Google Drive) and
      put it into a folder, or unpack it there; it then holds 300W_LP/AFW, HELEN, IBUG, LFPW and 300W_LP/landmarks.
      """
  ARCHIVES = (Archive("300W_LP.zip", size="2.63 GiB"), Archive("300W-LP.zip", size="2.63 GiB"))

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      description=__doc__,
      features=face_features(68, subset=tfds.features.Text(), photograph=tfds.features.Text()),
      homepage="http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm",
      citation=_CITATION,
      license="Research and other non-commercial use only; the photographs belong to their owners.",
      metadata=tfds.core.MetadataDict(markup=68),
    )

  def official_counts(self) -> Mapping[str, int]:
    return {"train": sum(COUNTS.values()) * len(self.builder_config.folders)}

  def train_flags(self) -> str:
    flags = "--config=configs/w300_private.py"
    name = self.builder_config.name
    return flags if name == "no_flips" else f"{flags} --config.data.name={self.name}/{name}"

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout(splits={"train": [], "fit": [], "val": []}, missing=[], findings=[])
    for name, official in COUNTS.items():
      found: dict[str, list[Face]] = {}
      for ending in self.builder_config.folders:
        found[ending], count = _read_folder(downloads, name, ending, layout.findings)
        if count != official:
          layout.missing.append(
            f"{name}{ending}: expected {official:,} images with landmarks, found {count:,}"
          )
      layout.findings += check_mirrored(*found.values()) if len(found) == 2 else []
      faces = [face for of_folder in found.values() for face in of_folder]
      photographs = sorted({face.extra["photograph"] for face in faces})
      val = set(photographs[::_HOLD_OUT])
      layout.splits["train"] += faces
      layout.splits["val"] += [face for face in faces if face.extra["photograph"] in val]
      layout.splits["fit"] += [face for face in faces if face.extra["photograph"] not in val]
    return layout


def photograph(stem: str) -> str:
  """The photograph that a view was made from: "AFW_134212" for "AFW_134212_1_0", the first view of
  its first face.
  """
  face = re.sub(r"_\d+$", "", stem)
  return re.sub(r"(?<=[\d ])_\d+$", "", face)  # LFPW, and IBUG in part, do not number the faces


def read_landmarks(path: Path) -> np.ndarray:
  """Reads `pts_2d` of a file in `landmarks/`; here the file's convention becomes ours.

  Returns:
    (68, 2) float64, (x, y) in px of the 450-px view, pixel-centre, 0-based.

  Raises:
    InputError: the file cannot be read, has no `pts_2d`, or not 68 points.
  """
  return numbers(read_mat(path, ["pts_2d"])["pts_2d"], (68, 2), what=f"{path}: pts_2d") - ORIGIN


def mirror(landmarks: np.ndarray) -> np.ndarray:
  """(68, 2) landmarks of a view, px, to those of its mirror image."""
  return landmarks[MARKUPS[68].flip] * [-1, 1] + [SIZE - 1, 0]


def check_mirrored(views: Iterable[Face], mirrored: Iterable[Face]) -> list[Finding]:
  """What mirrored views with landmarks of their own say about where pixels are counted from.

  Args:
    views: faces of one folder.
    mirrored: those of the folder with the mirrored images.

  Returns:
    A note for each mirrored view whose landmarks are not where they belong if the first pixel is 0.
  """
  by_name = {Path(face.file_name).name: face.landmarks for face in views}
  findings = []
  for face in mirrored:
    landmarks = by_name.get(Path(face.file_name).name)
    if landmarks is None:
      continue
    shift = float(np.median(face.landmarks[:, 0] - mirror(landmarks)[:, 0]))
    if abs(shift) > 0.1:
      message = f"landmarks lie {shift:+.1f} px beside the mirrored ones of the view: is pts_2d counted from {shift / 2:.1f}?"
      findings.append(Finding(face.file_name, message, "note"))
  return findings


def _read_folder(
  downloads: Downloads, name: str, ending: str, findings: list[Finding]
) -> tuple[list[Face], int]:
  """Reads one folder.

  Args:
    downloads: the dataset's files.
    name: of the set, "AFW".
    ending: of the folder, "" or "_Flip".
    findings: what is wrong with its files is added here.

  Returns:
    A face for each good pair of image and landmarks, sorted by name; and the number of pairs.
  """
  folder, of_landmarks = f"{name}{ending}", f"landmarks/{name}{ending}"
  images, landmarks = _files(downloads, folder, ".jpg"), _files(downloads, of_landmarks, "_pts.mat")
  mirrors = bool(ending) and not landmarks  # the mirrored views have no landmarks of their own
  if mirrors:
    of_landmarks = f"landmarks/{name}"
    landmarks = _files(downloads, of_landmarks, "_pts.mat") if images else {}
  faces = []
  pairs = sorted(images.keys() & landmarks.keys())
  for stem in tqdm(pairs, f"Reading {folder}", unit=" files", disable=None):
    try:
      points = read_landmarks(landmarks[stem])
    except InputError as error:
      message = str(error).removeprefix(str(landmarks[stem])).lstrip(",: ").rstrip(".")
      findings.append(Finding(f"{of_landmarks}/{landmarks[stem].name}", message))
      continue
    extra = {"subset": name.lower(), "photograph": photograph(stem)}
    faces.append(
      Face(
        images[stem], f"{folder}/{images[stem].name}", mirror(points) if mirrors else points, extra
      )
    )
  for stem in images.keys() - landmarks.keys():
    findings.append(
      Finding(f"{folder}/{images[stem].name}", f"no {of_landmarks}/{stem}_pts.mat for this image")
    )
  for stem in landmarks.keys() - images.keys():
    findings.append(
      Finding(
        f"{of_landmarks}/{landmarks[stem].name}",
        f"no image {folder}/{stem}.jpg for these landmarks",
      )
    )
  return faces, len(pairs)


def _files(downloads: Downloads, folder: str, ending: str) -> dict[str, Path]:
  """Files of a folder by what precedes the ending, below the dataset's root or below the archive's
  own folder.
  """
  path = downloads.find(f"300W_LP/{folder}") or downloads.find(folder)
  if path is None or not path.is_dir():
    return {}
  return {
    file.name[: -len(ending)]: file
    for file in path.iterdir()
    if file.name.lower().endswith(ending) and not file.name.startswith(".")
  }
