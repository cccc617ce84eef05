"""A small AFLW-19, in the archives' layout and formats, made by the tests themselves."""

import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from tfds_builders.aflw19 import release
from tfds_builders.aflw19.aflw19_dataset_builder import Builder

# Image of each row: one with two faces.
NAMES = [
  "0/image00002.jpg",
  "2/image00013.jpg",
  "2/image00013.jpg",
  "3/image00035.png",
  "0/image00042.jpg",
  "3/image00050.jpg",
  "2/image00061.jpg",
  "0/image00070.jpg",
]
NUM_TRAIN = 3
# Rows of train, then of test, counted from 1 as in the file.
RA = [5, 1, 8, 3, 2, 7, 4, 6]
INVISIBLE = {1: [0, 5], 6: [18]}  # row from 0 -> landmarks


def landmarks(row: int) -> np.ndarray:
  """(19, 2) float64 inside a 60 x 50 image; that of row 3 has its chin on the edge of its box."""
  points = np.random.default_rng(row).uniform([12, 12], [48, 40], (19, 2))
  if row == 3:
    points[18] = [30, 45]
  return points


def box(row: int) -> list[float]:
  """x0, y0, x1, y1."""
  return [6.0, 5.0, 55.0 + row / 4, 45.0]


def variables() -> dict[str, np.ndarray]:
  """What the release holds.

  bbox as x_min, x_max, y_min, y_max; data as 19 x, then 19 y; a column of cells; `ra` as a row.
  """
  rows = range(len(NAMES))
  mask = np.ones((len(NAMES), 19))
  for row, invisible in INVISIBLE.items():
    mask[row, invisible] = 0
  names = np.empty((len(NAMES), 1), object)
  names[:, 0] = NAMES
  return {
    "bbox": np.array([[box(row)[0], box(row)[2], box(row)[1], box(row)[3]] for row in rows]),
    "data": np.array([[*landmarks(row)[:, 0], *landmarks(row)[:, 1]] for row in rows]),
    "mask_new": mask,
    "nameList": names,
    "ra": np.array([RA], np.float64),
  }


def write_mat(root: Path, **changed: np.ndarray | None) -> None:
  """Writes AFLWinfo_release.mat, MATLAB version 5; None leaves a variable out."""
  values = {name: value for name, value in (variables() | changed).items() if value is not None}
  scipy.io.savemat(root / "AFLWinfo_release.mat", values, do_compression=True)


def write_dataset(root: Path) -> None:
  """Writes the images as unpacked archives have them, and the annotations."""
  for seed, name in enumerate(dict.fromkeys(NAMES)):
    path = root / "aflw" / "data" / "flickr" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = cv2.resize(
      np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8), (60, 50)
    )
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())

  write_mat(root)


def pack(root: Path, into: Path) -> None:
  """Writes the archives of the images beside a copy of the annotations."""
  into.mkdir()
  (into / "AFLWinfo_release.mat").write_bytes((root / "AFLWinfo_release.mat").read_bytes())
  for folder in "023":
    with tarfile.open(into / f"aflw-images-{folder}.tar.gz", "w:gz") as archive:
      archive.add(root / "aflw" / "data" / "flickr" / folder, f"aflw/data/flickr/{folder}")


def expect_counts(monkeypatch: pytest.MonkeyPatch) -> None:
  """Makes the builder take this dataset's numbers for the official ones, and know no face."""
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {})
  monkeypatch.setattr(release, "NUM_FACES", len(NAMES))
  monkeypatch.setattr(release, "NUM_TRAIN", NUM_TRAIN)
  monkeypatch.setattr(
    Builder, "OFFICIAL_COUNTS", {"train": NUM_TRAIN, "test_full": len(NAMES) - NUM_TRAIN}
  )
