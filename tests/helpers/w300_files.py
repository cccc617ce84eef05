"""A small 300W, in the archives' layout and formats, made by the tests themselves."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tfds_builders.w300 import w300_dataset_builder

# Images per folder: enough for a hold-out of more than one image in the first.
COUNTS = {
  "afw": 12,
  "helen/trainset": 3,
  "lfpw/trainset": 3,
  "helen/testset": 2,
  "lfpw/testset": 2,
  "ibug": 2,
  "300W/01_Indoor": 1,
  "300W/02_Outdoor": 1,
}


def face_landmarks(seed: int) -> np.ndarray:
  """(68, 2) float64, 0-based, inside a 60 x 50 image, with six decimals as in genuine files."""
  return np.round(np.random.default_rng(seed).uniform([4, 4], [55, 45], (68, 2)), 6)


def write_pts(path: Path, landmarks: np.ndarray, *, header: bool = True) -> None:
  """Writes 0-based landmarks as iBUG does: 1-based, with or without the header."""
  lines = "".join(f"{x:.6f} {y:.6f}\n" for x, y in landmarks + 1)
  path.write_text(f"version: 1\nn_points:  {len(landmarks)}\n{{\n{lines}}}" if header else lines)


def write_image(path: Path, seed: int) -> None:
  pixels = cv2.resize(
    np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8), (60, 50)
  )
  assert cv2.imwrite(str(path), pixels)


def write_dataset(root: Path) -> None:
  """Writes `COUNTS` pairs: jpg and no header in AFW and HELEN, png with header elsewhere."""
  seed = 0

  for folder, count in COUNTS.items():
    (root / folder).mkdir(parents=True)
    for index in range(count):
      old = folder.startswith(("afw", "helen"))
      stem = root / folder / f"image_{index + 1:04d}"
      write_image(stem.with_suffix(".jpg" if old else ".png"), seed)
      write_pts(stem.with_suffix(".pts"), face_landmarks(seed), header=not old)
      seed += 1


def bad_pairs(name: str) -> dict[str, tuple[Callable[[Path], Any], str, str]]:
  """What may be wrong with an image and its `.pts` file.

  Args:
    name: of the two, without their suffixes.

  Returns:
    kind -> what spoils them in their folder, the file that the finding must name, and what it must
    say.
  """
  image, points = f"{name}.jpg", f"{name}.pts"
  return {
    "login page": (
      lambda d: (d / image).write_text("<html>"),
      image,
      "not an image: looks like HTML",
    ),
    "empty image": (
      lambda d: (d / image).write_bytes(b""),
      image,
      "not an image: the file is empty",
    ),
    "image cut short": (
      lambda d: (d / image).write_bytes((d / image).read_bytes()[:-1]),
      image,
      "this JPEG file cannot be decoded",
    ),
    "image without points": (
      lambda d: (d / points).unlink(),
      image,
      "no .pts file beside this image",
    ),
    "points without image": (
      lambda d: (d / image).unlink(),
      points,
      "no image beside this .pts file",
    ),
  }


def expect_counts(monkeypatch: pytest.MonkeyPatch) -> None:
  """Makes the builder take `COUNTS` for the official numbers, and know no face."""
  folders = tuple(
    dataclasses.replace(folder, count=COUNTS[folder.path])
    for folder in w300_dataset_builder._FOLDERS
  )
  monkeypatch.setattr(w300_dataset_builder, "_FOLDERS", folders)
  monkeypatch.setattr(w300_dataset_builder.Builder, "FIRST_LANDMARKS", {})
