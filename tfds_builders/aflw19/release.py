"""AFLWinfo_release.mat: landmarks of 24,386 faces of AFLW, their boxes and the split."""

import dataclasses
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fal_jax.errors import InputError
from tfds_builders.common.mat import numbers, read_mat

NUM_LANDMARKS = 19
NUM_FACES = 24_386
NUM_TRAIN = 20_000  # the first of the permutation `ra`


@dataclasses.dataclass(frozen=True, eq=False)
class Release:
  """The file's N faces, row by row.

  Attributes:
    names: N images below `flickr`, e.g. "0/image00002.jpg".
    landmarks: (N, 19, 2) float64, (x, y) in image px, taken as 0-based (README.md says why); all of
      them are annotated.
    visible: (N, 19) bool.
    boxes: (N, 4) float64, x0, y0, x1, y1 in image px.
    order: (N,) int, rows from 0: those of the training set, then those of the test.
  """

  names: list[str]
  landmarks: np.ndarray
  visible: np.ndarray
  boxes: np.ndarray
  order: np.ndarray

  @property
  def inside(self) -> np.ndarray:
    """(N,) bool: every landmark lies inside the face's box, not on its edge."""
    low, high = self.boxes[:, None, :2], self.boxes[:, None, 2:]
    return np.all((self.landmarks > low) & (self.landmarks < high), axis=(1, 2))


def read_release(path: Path) -> Release:
  """Reads the file.

  The one place where its orders become ours: 19 x before 19 y, boxes x before y, rows counted from
  1.

  Args:
    path: AFLWinfo_release.mat, MATLAB version 5.

  Returns:
    Its faces.

  Raises:
    InputError: it cannot be read, lacks a variable, or one is not what it is in the release.
  """
  raw = read_mat(path, ["bbox", "data", "mask_new", "nameList", "ra"])
  data = numbers(raw["data"], (NUM_FACES, 2 * NUM_LANDMARKS), what=f"{path}: data")
  bbox = numbers(raw["bbox"], (NUM_FACES, 4), what=f"{path}: bbox")
  mask = numbers(raw["mask_new"], (NUM_FACES, NUM_LANDMARKS), what=f"{path}: mask_new")
  order = numbers(raw["ra"].reshape(1, -1), (1, NUM_FACES), what=f"{path}: ra")[0]

  is_flag = np.isin(mask, (0, 1))
  if not is_flag.all():
    raise InputError(f"{path}: mask_new holds {mask[~is_flag][0]:g}, expected 0 and 1 only.")
  if not np.array_equal(np.sort(order), np.arange(1, NUM_FACES + 1)):
    raise InputError(
      f"{path}: ra is not a permutation of 1 ... {NUM_FACES}, "
      "so it does not say what is train and what test."
    )

  landmarks = data.reshape(NUM_FACES, 2, NUM_LANDMARKS).transpose(0, 2, 1)
  x_min, x_max, y_min, y_max = bbox.T
  boxes = np.stack([x_min, y_min, x_max, y_max], axis=1)
  _check_order(path, landmarks, boxes)
  names = _names(raw["nameList"], path)
  return Release(names, landmarks, mask == 1, boxes, order.astype(np.int64) - 1)


def _check_order(path: Path, landmarks: np.ndarray, boxes: np.ndarray) -> None:
  """Refuses (N, 19, 2) landmarks and (N, 4) boxes, image px, that are in another order than ours.

  Single faces are checked one by one later: here the majority decides.
  """
  centres = landmarks.mean(1)
  in_box = ((centres > boxes[:, :2]) & (centres < boxes[:, 2:])).all(1)
  if in_box.mean() < 0.5:
    raise InputError(
      f"{path}: landmarks and boxes do not belong together, only {in_box.mean():.0%} of the faces "
      "have their centre in the box; expected data as 19 x then 19 y, and bbox as "
      "x_min, x_max, y_min, y_max: is it another version of the file?"
    )


def _names(cells: np.ndarray, path: Path) -> list[str]:
  """The strings of a MATLAB column of cells, checked to be names below a folder."""
  if cells.dtype != object or cells.size != NUM_FACES:
    raise InputError(
      f"{path}: nameList holds {cells.size} values of {cells.dtype}, "
      f"expected a cell array of {NUM_FACES} names."
    )

  names = []
  for row, cell in enumerate(cells.ravel(), start=1):
    name = _text(cell)
    if not name:
      raise InputError(f"{path}: nameList, row {row}, holds no file name.")

    if not _stays_below(name):
      raise InputError(
        f"{path}: nameList, row {row}: {name[:60]!r} is outside the folder of images "
        "or is not a file name."
      )
    names.append(name)
  return names


def _text(cell: Any) -> str:
  """The string in a cell, as SciPy gives it; empty where it holds something else."""
  if not isinstance(cell, np.ndarray) or cell.dtype.kind != "U" or cell.size != 1:
    return ""
  return str(cell.item()).strip()


def _stays_below(name: str) -> bool:
  """Whether a name is a path below the folder that it is joined to."""
  path = PurePosixPath(name)
  if path.is_absolute() or ".." in path.parts:
    return False
  return "\\" not in name and "\0" not in name and len(name) <= 255
