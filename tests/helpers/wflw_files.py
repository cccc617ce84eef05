"""A small WFLW, in the archives' layout and formats, made by the tests themselves."""

import tarfile
from pathlib import Path

import cv2
import numpy as np

ATTRIBUTES = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")
COUNTS = {"train": 12, "fit": 10, "val": 2, "test": 5}
FACES = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{}.txt"
SUBSET = "WFLW_annotations/list_98pt_test/list_98pt_test_{}.txt"
# Image of each line: several faces of one image, one image of both lists, a name with a blank and
# one beyond ASCII.
NAMES = {
  "train": [
    *(f"0--Parade/0_Parade_Parade_0_{index}.jpg" for index in range(9)),
    *["12--Group/12_Group_12_1.jpg"] * 3,
  ],
  "test": [
    "12--Group/12_Group_12_1.jpg",
    "37--Soccer/37_Soccer soccer_37_2.jpg",
    *["53--Raid/53_Raid_été_53_3.jpg"] * 2,
    "0--Parade/0_Parade_Parade_0_77.jpg",
  ],
}
# Attributes of each face of test, in the lists' order.
FLAGS = ["100000", "000000", "010011", "111111", "000001"]


def landmarks(split: str, index: int) -> np.ndarray:
  """(98, 2) float64 inside a 60 x 50 image, with six decimals as in genuine lists.

  The first one has a negative x.
  """
  points = np.random.default_rng([len(split), index]).uniform([4, 4], [55, 45], (98, 2))
  points[0, 0] = -1.25
  return np.round(points, 6)


def box(index: int) -> list[int]:
  """Integers, as in genuine lists."""
  return [3 + index, 2, 57, 46 - index]


def face_line(split: str, index: int) -> str:
  coordinates = " ".join(f"{value:.6f}" for value in landmarks(split, index).ravel())
  flags = FLAGS[index] if split == "test" else "000010"
  return f"{coordinates} {' '.join(map(str, box(index)))} {' '.join(flags)} {NAMES[split][index]}\n"


def subset_line(index: int) -> str:
  coordinates = " ".join(f"{value:.6f}" for value in landmarks("test", index).ravel())
  return f"{coordinates} {NAMES['test'][index]}\n"


def write_dataset(root: Path) -> None:
  """Writes both folders, unpacked."""
  for seed, name in enumerate(sorted({name for names in NAMES.values() for name in names})):
    path = root / "WFLW_images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = cv2.resize(
      np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8), (60, 50)
    )
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())

  for split, names in NAMES.items():
    path = root / FACES.format(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
      "".join(face_line(split, index) for index in range(len(names))), encoding="utf-8"
    )

  for column, attribute in enumerate(ATTRIBUTES):
    path = root / SUBSET.format(attribute)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [subset_line(index) for index, flags in enumerate(FLAGS) if flags[column] == "1"]
    path.write_text("".join(lines), encoding="utf-8")


def pack(root: Path, into: Path) -> None:
  """Writes both archives, as the authors distribute them."""
  into.mkdir()
  for folder in ("WFLW_images", "WFLW_annotations"):
    with tarfile.open(into / f"{folder}.tar.gz", "w:gz") as archive:
      archive.add(root / folder, folder)
