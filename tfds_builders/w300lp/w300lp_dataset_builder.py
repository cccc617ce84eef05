"""300W-LP: the faces of 300W turned to large poses by a 3-D model, 68 landmarks on each view.

Layout, splits and conventions are described in README.md beside this file.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from tqdm import tqdm

from fal_jax.errors import InputError
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.hold_out import hold_out
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.schema import RESEARCH_ONLY
from tfds_builders.common.validate import Face, Finding
from tfds_builders.w300lp import views

# Views, and as many mirrored ones.
COUNTS: Mapping[str, int] = {"AFW": 5207, "HELEN": 37676, "IBUG": 1786, "LFPW": 16556}


@dataclasses.dataclass(eq=False)
class W300LPConfig(tfds.core.BuilderConfig):
  """Which of the views are built.

  Attributes:
    folders: endings of the folders.
  """

  folders: tuple[str, ...] = ("",)


class Builder(ManualFaceBuilder):
  """Builds 300W-LP from its archive, packed or unpacked.

  Every tenth photograph of each folder is `val` with all its views, the others are `fit`.
  """

  BUILDER_CONFIGS: ClassVar[list[W300LPConfig]] = [
    W300LPConfig(name="no_flips", description="The 61,225 views; training mirrors them itself."),
    W300LPConfig(
      name="with_flips",
      description="Them and their mirror images, 122,450 views.",
      folders=("", "_Flip"),
    ),
  ]
  NUM_LANDMARKS = views.NUM_LANDMARKS
  EXTRA_FEATURES: ClassVar[Mapping[str, Any]] = {
    "subset": tfds.features.Text(),
    "photograph": tfds.features.Text(),
  }
  HOMEPAGE = "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"
  LICENSE = RESEARCH_ONLY
  CITATION = """\
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
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Download 300W_LP.zip from
      http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm ("300W-LP", on Google Drive)
      and put it into a folder, or unpack it there; it then holds 300W_LP/AFW, HELEN, IBUG, LFPW and
      300W_LP/landmarks.
      """
  ARCHIVES = (Archive("300W_LP.zip", size="2.63 GiB"), Archive("300W-LP.zip", size="2.63 GiB"))

  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "AFW/AFW_134212_1_0.jpg": (144.78085, 253.39178),  # `pts_2d` as it stands
    "AFW/AFW_134212_2_0.jpg": (135.04941, 222.44279),
  }

  def official_counts(self) -> Mapping[str, int]:
    return {"train": sum(COUNTS.values()) * len(self.builder_config.folders)}

  def train_flags(self) -> str:
    flags = "--config=configs/w300_private.py"
    name = self.builder_config.name
    return flags if name == "no_flips" else f"{flags} --config.data.name={self.name}/{name}"

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout.empty(("train", "fit", "val"))
    for name, official in COUNTS.items():
      by_ending: dict[str, list[Face]] = {}
      for ending in self.builder_config.folders:
        by_ending[ending], count = _read_folder(downloads, name, ending, layout.findings)
        if count != official:
          layout.missing.append(
            f"{name}{ending}: expected {official:,} images with landmarks, found {count:,}"
          )
      if len(by_ending) == 2:
        layout.findings += views.check_mirrored(*by_ending.values())

      faces = [face for of_folder in by_ending.values() for face in of_folder]
      photographs = sorted({face.extra["photograph"] for face in faces})
      held_out = set(hold_out(photographs)[0])

      layout.add("train", faces)
      layout.add("val", (face for face in faces if face.extra["photograph"] in held_out))
      layout.add("fit", (face for face in faces if face.extra["photograph"] not in held_out))
    return layout


def _read_folder(
  downloads: Downloads, name: str, ending: str, findings: list[Finding]
) -> tuple[list[Face], int]:
  """Reads one folder.

  Args:
    downloads: the dataset's files.
    name: name of the set, e.g. "AFW".
    ending: ending of the folder's name, "" or "_Flip".
    findings: what is wrong with its files is added here.

  Returns:
    A face for each good pair of image and landmarks, sorted by name; and the number of pairs.
  """
  folder = f"{name}{ending}"
  landmark_folder = f"landmarks/{name}{ending}"
  images = _files(downloads, folder, ".jpg")
  landmarks = _files(downloads, landmark_folder, "_pts.mat")
  mirrors = bool(ending) and not landmarks  # the mirrored views have no landmarks of their own

  if mirrors:
    landmark_folder = f"landmarks/{name}"
    landmarks = _files(downloads, landmark_folder, "_pts.mat") if images else {}

  faces = []
  pairs = sorted(images.keys() & landmarks.keys())
  for stem in tqdm(pairs, f"Reading {folder}", unit=" files", disable=None):
    file = landmarks[stem]
    try:
      points = views.read_landmarks(file)
    except InputError as error:
      findings.append(Finding.from_error(f"{landmark_folder}/{file.name}", error, path=file))
      continue
    if mirrors:
      points = views.mirror(points)

    extra = {"subset": name.lower(), "photograph": views.photograph(stem)}
    faces.append(Face(images[stem], f"{folder}/{images[stem].name}", points, extra))

  for stem in images.keys() - landmarks.keys():
    message = f"no {landmark_folder}/{stem}_pts.mat for this image"
    findings.append(Finding(f"{folder}/{images[stem].name}", message))
  for stem in landmarks.keys() - images.keys():
    message = f"no image {folder}/{stem}.jpg for these landmarks"
    findings.append(Finding(f"{landmark_folder}/{landmarks[stem].name}", message))
  return faces, len(pairs)


def _files(downloads: Downloads, folder: str, ending: str) -> dict[str, Path]:
  """Files of a folder by what precedes the ending.

  The folder lies below the dataset's root or below the archive's own folder.
  """
  path = downloads.find_in(("300W_LP/", ""), folder)
  if path is None or not path.is_dir():
    return {}
  return {
    file.name[: -len(ending)]: file
    for file in path.iterdir()
    if file.name.lower().endswith(ending) and not file.name.startswith((".", "_"))
  }
