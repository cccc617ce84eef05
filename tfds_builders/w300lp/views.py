"""The views of 300W-LP: their names, their landmarks and their mirror images."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fal_jax.landmarks import MARKUPS
from tfds_builders.common.mat import numbers, read_mat
from tfds_builders.common.validate import Face, Finding

NUM_LANDMARKS = 68
SIZE = 450  # px, side of every image

# Coordinate of the first pixel's centre in `pts_2d`: README.md says why we take 0 for it and how
# sure that is.
ORIGIN = 0


def photograph(stem: str) -> str:
  """The photograph that a view was made from.

  It is "AFW_134212" for "AFW_134212_1_0", the first view of its first face.
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
  points = read_mat(path, ["pts_2d"])["pts_2d"]
  return numbers(points, (NUM_LANDMARKS, 2), what=f"{path}: pts_2d") - ORIGIN


def mirror(landmarks: np.ndarray) -> np.ndarray:
  """(68, 2) landmarks of a view, px, to (68, 2) those of its mirror image, px."""
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
      message = (
        f"landmarks are offset by {shift:+.1f} px from the mirrored ones of the view: "
        f"is pts_2d counted from {shift / 2:.1f}?"
      )
      findings.append(Finding(face.file_name, message, "note"))
  return findings
