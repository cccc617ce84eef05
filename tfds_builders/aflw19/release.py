"""AFLWinfo_release.mat: 19 landmarks of 24,386 faces of AFLW, their boxes and the split, as the
authors of CCL release them.
"""

import dataclasses
from pathlib import Path, PurePosixPath

import numpy as np

from fal_jax.errors import InputError
from tfds_builders.common.mat import numbers, read_mat

NUM_LANDMARKS = 19
NUM_FACES = 24_386
NUM_TRAIN = 20_000  # first so many of the permutation `ra`


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
  """Reads the file. The one place where its orders become ours: 19 x before 19 y, boxes x before y,
  rows counted from 1.

  Args:
    path: AFLWinfo_release.mat, MATLAB version 5.

  Raises:
    InputError: it cannot be read, lacks a variable, or one is not what it is in the release.
  """
  raw = read_mat(path, ["bbox", "data", "mask_new", "nameList", "ra"])
  data = numbers(raw["data"], (NUM_FACES, 2 * NUM_LANDMARKS), what=f"{path}: data")
  bbox = numbers(raw["bbox"], (NUM_FACES, 4), what=f"{path}: bbox")
  mask = numbers(raw["mask_new"], (NUM_FACES, NUM_LANDMARKS), what=f"{path}: mask_new")
  order = numbers(raw["ra"].reshape(1, -1), (1, NUM_FACES), what=f"{path}: ra")[0]
  if not np.isin(mask, (0, 1)).all():
    raise InputError(
      f"{path}: mask_new holds {mask[~np.isin(mask, (0, 1))][0]:g}, expected 0 and 1 only."
    )
  if not np.array_equal(np.sort(order), np.arange(1, NUM_FACES + 1)):
    raise InputError(
      f"{path}: ra is not a permutation of 1 ... {NUM_FACES}, so it does not say what is train and what test."
    )

  landmarks = data.reshape(NUM_FACES, 2, NUM_LANDMARKS).transpose(0, 2, 1)
  x_min, x_max, y_min, y_max = bbox.T
  boxes = np.stack([x_min, y_min, x_max, y_max], axis=1)
  centres = landmarks.mean(1)
  about = ((centres > boxes[:, :2]) & (centres < boxes[:, 2:])).all(1)
  if about.mean() < 0.5:  # single faces are checked one by one
    raise InputError(
      f"{path}: landmarks and boxes do not belong together, only {about.mean():.0%} of the faces have their centre in the box; "
      "expected data as 19 x then 19 y, and bbox as x_min, x_max, y_min, y_max: is it another version of the file?"
    )
  return Release(
    _names(raw["nameList"], path), landmarks, mask == 1, boxes, order.astype(np.int64) - 1
  )


def _names(cells: np.ndarray, path: Path) -> list[str]:
  """The strings of a MATLAB column of cells, checked to be names below a folder."""
  if cells.dtype != object or cells.size != NUM_FACES:
    raise InputError(
      f"{path}: nameList holds {cells.size} values of {cells.dtype}, expected a cell array of {NUM_FACES} names."
    )
  names = []
  for row, cell in enumerate(cells.ravel(), start=1):
    if (
      not isinstance(cell, np.ndarray)
      or cell.dtype.kind != "U"
      or cell.size != 1
      or not str(cell.item()).strip()
    ):
      raise InputError(f"{path}: nameList, row {row}, holds no file name.")
    name = str(cell.item()).strip()
    if (
      PurePosixPath(name).is_absolute()
      or ".." in PurePosixPath(name).parts
      or "\\" in name
      or "\0" in name
      or len(name) > 255
    ):
      raise InputError(
        f"{path}: nameList, row {row}: {name[:60]!r} leads out of the folder of images or is no file name."
      )
    names.append(name)
  return names
