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
from tfds_builders.common.schema import face_features
from tfds_builders.common.validate import Face, Finding
from tfds_builders.menpo.face_lists import read_list

_CITATION = """\
@inproceedings{zafeiriou2017_menpo,
  author    = {Stefanos Zafeiriou and George Trigeorgis and Grigorios Chrysos and Jiankang Deng and Jie Shen},
  title     = {The Menpo Facial Landmark Localisation Challenge: A Step Towards the Solution},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition Workshops},
  year      = {2017},
}
@article{deng2019_menpo,
  author  = {Jiankang Deng and Anastasios Roussos and Grigorios Chrysos and Evangelos Ververas and Irene Kotsia and Jie Shen and
             Stefanos Zafeiriou},
  title   = {The Menpo Benchmark for Multi-pose 2D and 3D Facial Landmark Localisation and Tracking},
  journal = {International Journal of Computer Vision},
  volume  = {127},
  number  = {6},
  pages   = {599--624},
  year    = {2019},
}
"""

# Official numbers of faces by release and mark-up.
_RELEASES: Mapping[str, Mapping[int, Mapping[str, int]]] = {
  "challenge of 2017": {68: {"train": 6679, "test": 5335}, 39: {"train": 2300, "test": 1946}},
  "MenpoBenchmark": {68: {"train": 6653, "test": 5335}, 39: {"train": 2290, "test": 1946}},
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
  """Builds either mark-up of Menpo 2D, from the files of the challenge or of the MenpoBenchmark
  release.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[MenpoConfig]] = [
    MenpoConfig(
      name="frontal68",
      description="Semi-frontal faces, 68 landmarks in the order of 300W.",
      num_landmarks=68,
    ),
    MenpoConfig(name="profile39", description="Profiles, 39 landmarks.", num_landmarks=39),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Download the archive Menpo2D from https://github.com/jiankangdeng/MenpoBenchmark and unpack it into the folder, which then
      holds Menpo2D/Train and Menpo2D/Test; or put the files of the challenge of 2017 into its folders trainset and testset.
      """
  ARCHIVES = (Archive("Menpo2D.zip"), Archive("menpo_challenge_trainset.zip", "trainset"))
  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {  # profiles; the files count from 1
    f"{folder}/aflw__face_{face}.jpg": landmark
    for folder in ("trainset", "Menpo2D/Train/image/profile")
    for face, landmark in (("39822", (79.667, 153.291)), ("39831", (33.54, 50.058)))
  }

  def _info(self) -> tfds.core.DatasetInfo:
    num_landmarks = self.builder_config.num_landmarks
    if num_landmarks not in _LIST_NAMES:
      raise InputError(
        f"menpo has the mark-ups 68 and 39, got num_landmarks={num_landmarks}; choose one of them."
      )
    return self.dataset_info_from_configs(
      features=face_features(num_landmarks),
      homepage="https://github.com/jiankangdeng/MenpoBenchmark",
      citation=_CITATION,
      license="Research and other non-commercial use only; the photographs belong to their owners.",
      metadata=tfds.core.MetadataDict(markup=num_landmarks),
    )

  def train_flags(self) -> str:
    if self.builder_config.num_landmarks == 68:
      return "--config=configs/menpo.py --mode=eval"
    return f"--config=configs/default.py --config.data.name=menpo/{self.builder_config.name} --config.data.markup=39"

  def workdir(self) -> str:
    return (
      "runs/w300lp"
      if self.builder_config.num_landmarks == 68
      else f"runs/menpo_{self.builder_config.name}"
    )

  def official_counts(self) -> Mapping[str, int]:
    release = str((self.info.metadata or {}).get("release", "challenge of 2017"))
    return _RELEASES[release][self.builder_config.num_landmarks]

  def layout(self, downloads: Downloads) -> Layout:
    num_landmarks = self.builder_config.num_landmarks
    layout = Layout(splits={}, missing=[], findings=[])
    listed = False
    for split in ("train", "test"):
      faces = _read_pts_folders(downloads, f"{split}set", layout.findings)
      if path := _find_list(downloads, split, num_landmarks):
        if any(len(face.landmarks) == num_landmarks for face in faces):
          message = f"the folder {split}set holds this split as well; keep one of the two, they are releases of the same faces"
          layout.findings.append(Finding(downloads.name(path), message))
        else:
          listed = True
          faces = read_list(path, downloads, num_landmarks=num_landmarks, findings=layout.findings)
      layout.splits[split] = [face for face in faces if len(face.landmarks) == num_landmarks]

    counts = {split: len(faces) for split, faces in layout.splits.items()}
    exact = [
      name
      for name, of_markup in _RELEASES.items()
      if of_markup[num_landmarks]["train"] == counts["train"]
    ]
    release = exact[0] if exact else "MenpoBenchmark" if listed else "challenge of 2017"
    self.info.metadata["release"] = release
    for split, official in _RELEASES[release][num_landmarks].items():
      if counts[split] != official:
        where = f"{split}set or Menpo2D/{split.title()}"
        accepted = " or ".join(
          f"{n:,}" for n in dict.fromkeys(kind[num_landmarks][split] for kind in _RELEASES.values())
        )
        layout.missing.append(
          f"{where}: expected {accepted} faces with {num_landmarks} landmarks, found {counts[split]:,}"
        )
    return layout


def _find_list(downloads: Downloads, split: str, num_landmarks: int) -> Path | None:
  """The list of one split and mark-up in the MenpoBenchmark release, if it is there."""
  name = f"{split.title()}/Menpo2D_{_LIST_NAMES[num_landmarks]}_{split}.txt"
  return downloads.find(f"Menpo2D/{name}") or downloads.find(name)


def _read_pts_folders(downloads: Downloads, name: str, findings: list[Finding]) -> list[Face]:
  """Reads the pairs in a folder and the folders in it, both mark-ups: in the challenge's files they
  are mixed.
  """
  root = downloads.find(name)
  if root is None:
    return []
  faces: list[Face] = []
  for folder in [
    root,
    *sorted(path for path in root.rglob("*") if path.is_dir() and "__MACOSX" not in path.parts),
  ]:
    # The challenge handed out its test images without annotations.
    if any(
      file.suffix.lower() == ".pts" and not file.name.startswith(".") for file in folder.iterdir()
    ):
      found, _ = read_pairs(
        folder, downloads.name(folder), num_landmarks=(68, 39), findings=findings
      )
      faces += [face for face in found if face]
  return faces
