"""300W: 68 landmarks on photographs from AFW, HELEN, LFPW and iBUG, and the private test set.

Layout, splits and conventions are described in README.md beside this file.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.pairs import read_pairs
from tfds_builders.common.schema import RESEARCH_ONLY
from tfds_builders.common.validate import Face


@dataclasses.dataclass(frozen=True)
class _Folder:
  path: str  # below manual_dir
  subset: str
  count: int  # official number of images
  splits: tuple[str, ...]


_FOLDERS = (
  _Folder("afw", "afw", 337, ("train",)),
  _Folder("helen/trainset", "helen", 2000, ("train",)),
  _Folder("lfpw/trainset", "lfpw", 811, ("train",)),
  _Folder("helen/testset", "helen", 330, ("test_common", "test_full")),
  _Folder("lfpw/testset", "lfpw", 224, ("test_common", "test_full")),
  _Folder("ibug", "ibug", 135, ("test_challenge", "test_full")),
  _Folder("300W/01_Indoor", "indoor", 300, ("test_private",)),
  _Folder("300W/02_Outdoor", "outdoor", 300, ("test_private",)),
)


class Builder(ManualFaceBuilder):
  """Builds 300W from the archives of the iBUG group, packed or unpacked.

  Every tenth image of each training folder is `val`, the others are `fit`.
  """

  NUM_LANDMARKS = 68
  EXTRA_FEATURES: ClassVar[Mapping[str, Any]] = {"subset": tfds.features.Text()}
  HOMEPAGE = "https://ibug.doc.ic.ac.uk/resources/300-W/"
  LICENSE = RESEARCH_ONLY
  CITATION = """\
@inproceedings{sagonas2013_300w,
  author    = {Christos Sagonas and Georgios Tzimiropoulos and Stefanos Zafeiriou and Maja Pantic},
  title     = {300 Faces in-the-Wild Challenge: The First Facial Landmark Localization Challenge},
  booktitle = {IEEE International Conference on Computer Vision Workshops},
  year      = {2013},
}
@article{sagonas2016_300w,
  author  = {Christos Sagonas and Epameinondas Antonakos and Georgios Tzimiropoulos and
             Stefanos Zafeiriou and Maja Pantic},
  title   = {300 Faces In-The-Wild Challenge: Database and Results},
  journal = {Image and Vision Computing},
  volume  = {47},
  year    = {2016},
}
"""
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Ask for the archives afw.zip, helen.zip, lfpw.zip, ibug.zip and 300w.zip.001 to .004 on
      https://ibug.doc.ic.ac.uk/resources/300-W/ and put them into one folder, or unpack them there;
      it then holds afw, helen/trainset, helen/testset, lfpw/trainset, lfpw/testset, ibug,
      300W/01_Indoor and 300W/02_Outdoor.
      """
  ARCHIVES = (
    Archive("afw.zip", "afw"),
    Archive("helen.zip", "helen"),
    Archive("lfpw.zip", "lfpw"),
    Archive("ibug.zip", "ibug"),
    Archive("300w.zip.001"),
  )
  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "300W/01_Indoor/indoor_001.png": (445.0, 90.0),  # the file says 446 91, counted from 1
    "300W/01_Indoor/indoor_029.png": (267.0, 397.882),
    "helen/testset/296814969_3.jpg": (265.30896, 352.499651),
    "lfpw/testset/image_0001.png": (156.404624, 294.066474),
    "ibug/image_003_1.jpg": (335.820955, 239.86451),
    "afw/2437602091_1.jpg": (1.346066, 241.548934),
    "helen/trainset/1142136696_1.jpg": (207.303681, 270.452887),
    "lfpw/trainset/image_0827.png": (196.719011, 153.076921),
  }
  # Training images circulate cropped and resized, with landmarks that fit.
  FIRST_LANDMARK_SIZES: ClassVar[dict[str, tuple[int, int]]] = {
    "afw/2437602091_1.jpg": (393, 564),
    "helen/trainset/1142136696_1.jpg": (502, 607),
    "lfpw/trainset/image_0827.png": (548, 306),
  }
  OFFICIAL_COUNTS: ClassVar[dict[str, int]] = {
    "train": 3148,
    "fit": 2832,
    "val": 316,
    "test_common": 554,
    "test_challenge": 135,
    "test_full": 689,
    "test_private": 600,
  }

  def train_flags(self) -> str:
    complete = self.info.metadata and not self.info.metadata.get("partial")
    return f"--config=configs/{'w300' if complete else 'w300_small'}.py"

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout.empty(self.OFFICIAL_COUNTS)
    for folder in _FOLDERS:
      faces, count = _read_folder(folder, downloads, layout)

      if count != folder.count:
        layout.missing.append(
          f"{folder.path}: expected {folder.count} annotated images, found {count}"
        )

      for split in folder.splits:
        if split == "train":
          layout.add_train(faces)
        else:
          layout.add(split, faces)
    return layout


def _read_folder(
  folder: _Folder, downloads: Downloads, layout: Layout
) -> tuple[list[Face | None], int]:
  """The faces of a folder and the number of its pairs; none of either where it is missing."""
  path = downloads.find(folder.path)
  if path is None:
    return [], 0

  return read_pairs(
    path,
    folder.path,
    num_landmarks=Builder.NUM_LANDMARKS,
    findings=layout.findings,
    subset=folder.subset,
  )
