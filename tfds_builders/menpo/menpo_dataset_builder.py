"""Menpo 2D: 68 landmarks on semi-frontal faces and 39 on profiles.

Layout, splits and conventions are described in README.md beside this file.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.pairs import read_pairs
from tfds_builders.common.schema import RESEARCH_ONLY
from tfds_builders.common.validate import Face, Finding
from tfds_builders.menpo.face_lists import read_list

_CHALLENGE = "challenge of 2017"
_BENCHMARK = "MenpoBenchmark"

# Official numbers of faces by release and mark-up.
_RELEASES: Mapping[str, Mapping[int, Mapping[str, int]]] = {
  _CHALLENGE: {68: {"train": 6679, "test": 5335}, 39: {"train": 2300, "test": 1946}},
  _BENCHMARK: {68: {"train": 6653, "test": 5335}, 39: {"train": 2290, "test": 1946}},
}
_LIST_NAMES = {68: "semifrontal", 39: "profile"}


@dataclasses.dataclass
class MenpoConfig(tfds.core.BuilderConfig):
  """One of the two mark-ups.

  Attributes:
    num_landmarks: 68 or 39.
  """

  num_landmarks: int = 68


class Builder(ManualFaceBuilder):
  """Builds either mark-up, from the files of the challenge or of the MenpoBenchmark release."""

  BUILDER_CONFIGS: ClassVar[list[MenpoConfig]] = [
    MenpoConfig(
      name="frontal68",
      description="Semi-frontal faces, 68 landmarks in the order of 300W.",
      num_landmarks=68,
    ),
    MenpoConfig(name="profile39", description="Profiles, 39 landmarks.", num_landmarks=39),
  ]
  HOMEPAGE = "https://github.com/jiankangdeng/MenpoBenchmark"
  LICENSE = RESEARCH_ONLY
  CITATION = """\
@inproceedings{zafeiriou2017_menpo,
  author    = {Stefanos Zafeiriou and George Trigeorgis and Grigorios Chrysos and Jiankang Deng and
               Jie Shen},
  title     = {The Menpo Facial Landmark Localisation Challenge: A Step Towards the Solution},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition Workshops},
  year      = {2017},
}
@article{deng2019_menpo,
  author  = {Jiankang Deng and Anastasios Roussos and Grigorios Chrysos and Evangelos Ververas and
             Irene Kotsia and Jie Shen and Stefanos Zafeiriou},
  title   = {The Menpo Benchmark for Multi-pose 2D and 3D Facial Landmark Localisation and
             Tracking},
  journal = {International Journal of Computer Vision},
  volume  = {127},
  number  = {6},
  pages   = {599--624},
  year    = {2019},
}
"""
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Download the archive Menpo2D from https://github.com/jiankangdeng/MenpoBenchmark and unpack it
      into the folder, which then holds Menpo2D/Train and Menpo2D/Test; or put the files of the
      challenge of 2017 into its folders trainset and testset.
      """
  ARCHIVES = (Archive("Menpo2D.zip"), Archive("menpo_challenge_trainset.zip", "trainset"))
  # By the file's own name: folders before it differ by release and archive. The files count from
  # 1; two profiles, two frontal faces.
  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "aflw__face_39822.jpg": (79.667, 153.291),
    "aflw__face_39831.jpg": (33.54, 50.058),
    "aflw__face_39823.jpg": (60.724, 66.886),
    "aflw__face_39824.jpg": (40.078, 57.746),
  }

  @property
  def num_landmarks(self) -> int:
    num = self.builder_config.num_landmarks
    if num not in _LIST_NAMES:
      raise InputError(
        f"menpo has the mark-ups 68 and 39, got num_landmarks={num}; choose one of them."
      )
    return num

  def train_flags(self) -> str:
    if self.num_landmarks == 68:
      return "--config=configs/menpo.py --mode=eval"
    name = self.builder_config.name
    return f"--config=configs/default.py --config.data.name=menpo/{name} --config.data.markup=39"

  def workdir(self) -> str:
    return "runs/w300lp" if self.num_landmarks == 68 else f"runs/menpo_{self.builder_config.name}"

  def official_counts(self) -> Mapping[str, int]:
    release = str((self.info.metadata or {}).get("release", _CHALLENGE))
    return _RELEASES[release][self.num_landmarks]

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout.empty(("train", "test"))
    listed = [self._read_split(downloads, split, layout) for split in layout.splits]
    counts = {split: len(faces) for split, faces in layout.splits.items()}

    # The one whose number of training faces is met, or else whose kind of files is there.
    exact = [
      name
      for name, of_markup in _RELEASES.items()
      if of_markup[self.num_landmarks]["train"] == counts["train"]
    ]
    release = [*exact, _BENCHMARK if any(listed) else _CHALLENGE][0]
    self.info.metadata["release"] = release

    for split, official in _RELEASES[release][self.num_landmarks].items():
      if counts[split] == official:
        continue
      of_releases = dict.fromkeys(kind[self.num_landmarks][split] for kind in _RELEASES.values())
      accepted = " or ".join(f"{count:,}" for count in of_releases)
      layout.missing.append(
        f"{split}set or Menpo2D/{split.title()}: expected {accepted} faces "
        f"with {self.num_landmarks} landmarks, found {counts[split]:,}"
      )
    return layout

  def _read_split(self, downloads: Downloads, split: str, layout: Layout) -> bool:
    """Adds the faces of a split to the layout, and says whether they come from a list."""
    faces = _read_pts_folders(downloads, f"{split}set", layout.findings)
    faces = [face for face in faces if len(face.landmarks) == self.num_landmarks]
    path = _find_list(downloads, split, self.num_landmarks)

    if path is None:
      layout.add(split, faces)
      return False

    if faces:
      message = (
        f"the folder {split}set holds this split as well; "
        "keep one of the two, they are releases of the same faces"
      )
      layout.findings.append(Finding(downloads.name(path), message))
      layout.add(split, faces)
      return False

    faces = read_list(path, downloads, num_landmarks=self.num_landmarks, findings=layout.findings)
    layout.add(split, faces)
    return True


def _find_list(downloads: Downloads, split: str, num_landmarks: int) -> Path | None:
  """The list of one split and mark-up in the MenpoBenchmark release, if it is there."""
  name = f"{split.title()}/Menpo2D_{_LIST_NAMES[num_landmarks]}_{split}.txt"
  return downloads.find_in(("Menpo2D/", ""), name)


def _read_pts_folders(downloads: Downloads, name: str, findings: list[Finding]) -> list[Face]:
  """Reads the pairs in a folder and the folders in it.

  Both mark-ups: in the challenge's files they are mixed.
  """
  root = downloads.find(name)
  if root is None:
    return []

  below = sorted(path for path in root.rglob("*") if path.is_dir())
  faces: list[Face] = []
  for folder in (root, *(path for path in below if "__MACOSX" not in path.parts)):
    if not _holds_pts(folder):
      continue  # the challenge distributed its test images without annotations

    pairs, _ = read_pairs(folder, downloads.name(folder), num_landmarks=(68, 39), findings=findings)
    faces += [face for face in pairs if face]
  return faces


def _holds_pts(folder: Path) -> bool:
  return any(
    file.suffix.lower() == ".pts" and not file.name.startswith(".") for file in folder.iterdir()
  )
