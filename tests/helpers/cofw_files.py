"""Small COFW files in the genuine format, MATLAB 7.3, made by the tests themselves."""

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

SIZE = (70, 60)  # rows and columns of a photograph
GREY = 3  # the face whose photograph is grey
_HEADER = (
  b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jun 20 19:13:39 2016 HDF5 schema 1.00 ."
)


def photo(index: int) -> np.ndarray:
  """(H, W, 3) uint8, or (H, W): no two of its sides or channels look alike."""
  pixels = np.random.default_rng(index).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
  return pixels[..., 0] if index == GREY else pixels


def face_landmarks(index: int, num_landmarks: int) -> np.ndarray:
  """(K, 2) float64, 0-based, inside the photograph."""
  return np.random.default_rng(index).uniform(
    [4, 4], [SIZE[1] - 5, SIZE[0] - 5], (num_landmarks, 2)
  )


def face_visible(index: int, num_landmarks: int) -> np.ndarray:
  """(K,) bool."""
  return np.random.default_rng(100 + index).random(num_landmarks) > 0.3


def face_box(index: int) -> np.ndarray:
  """(4,) x0, y0, x1, y1, 0-based."""
  return np.array([3.0 + index, 5.0, 40.0 + index, 52.0])


def write_mat73(
  path: Path, matrices: dict[str, np.ndarray], cells: dict[str, Sequence[np.ndarray]]
) -> None:
  """Writes variables as MATLAB 7.3 does.

  The axes are the other way round, cells are references, and a header of MATLAB's precedes HDF5's.

  Args:
    path: the file.
    matrices: name -> array as MATLAB shows it.
    cells: name -> what a cell array of one column holds.
  """
  with h5py.File(path, "w", userblock_size=512) as file:
    for name, value in matrices.items():
      file.create_dataset(name, data=value.T).attrs["MATLAB_class"] = np.bytes_("double")
    contents = file.create_group("#refs#")

    for name, values in cells.items():
      references = np.empty((len(values), 1), h5py.ref_dtype)

      for index, value in enumerate(values):
        cell = contents.create_dataset(
          f"{name}_{index}", data=value.T, chunks=True, compression="gzip"
        )
        cell.attrs["MATLAB_class"] = np.bytes_("uint8")
        references[index, 0] = cell.ref

      file.create_dataset(name, data=references.T).attrs["MATLAB_class"] = np.bytes_("cell")
  with path.open("r+b") as file:
    file.write(_HEADER.ljust(124) + b"\x00\x02IM")


def cofw_row(landmarks: np.ndarray, visible: np.ndarray) -> np.ndarray:
  """(87,): 29 x, 29 y, 29 occlusions, counted from 1 as in the files."""
  return np.concatenate([landmarks[:, 0] + 1, landmarks[:, 1] + 1, ~visible])


def write_cofw(path: Path, suffix: str, indices: Sequence[int]) -> None:
  """Writes one COFW file.

  Args:
    path: the file.
    suffix: of its variables, "Tr" or "T".
    indices: the faces in it.
  """
  rows = [cofw_row(face_landmarks(index, 29), face_visible(index, 29)) for index in indices]
  x0, y0, x1, y1 = np.array([face_box(index) for index in indices]).T
  boxes = np.stack([x0 + 1, y0 + 1, x1 - x0, y1 - y0], -1)
  write_mat73(
    path,
    {f"phis{suffix}": np.array(rows), f"bboxes{suffix}": boxes},
    {f"Is{suffix}": list(map(photo, indices))},
  )


def change_variable(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
  """Changes one variable of a file in place."""
  with h5py.File(path, "r+") as file:
    value = change(file[name][()].T)
    del file[name]
    file[name] = value.T
