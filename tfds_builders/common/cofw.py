"""Caltech's COFW files, `COFW_train_color.mat` and `COFW_test_color.mat`: MATLAB 7.3 with the
photographs inside.
"""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from fal_jax.errors import InputError
from tfds_builders.common.downloads import Downloads
from tfds_builders.common.mat import cell, cells, matrix, open_mat73
from tfds_builders.common.validate import Finding

HOW_TO_GET = """
      Download COFW_color.zip from https://data.caltech.edu/records/bc0bf-nc666 into one folder, or unpack it there: it holds
      COFW_train_color.mat and COFW_test_color.mat.
      """

# Where the .mat files lie below the folder: as packed, or in the folder that unpacking made.
_FOLDERS = ("", "COFW_color/", "COFW/")


@dataclasses.dataclass(frozen=True)
class CofwImage:
  """A photograph inside a COFW file; it is read anew each time, one at a time, because all of them
  would fill the memory.

  Attributes:
    path: the .mat file.
    cells: the variable, "IsTr" or "IsT".
    index: of the cell, from 0.
  """

  path: Path
  cells: str
  index: int

  def read_bytes(self) -> bytes:
    """The pixels as a PNG file, RGB, without loss.

    Raises:
      OSError: the pixels are damaged.
    """
    try:
      with open_mat73(self.path, [self.cells]) as file:
        pixels = matrix(cell(file, cells(file, self.cells)[self.index]))
    except InputError as error:
      raise OSError(str(error)) from error
    if pixels.ndim == 2:  # some photographs are grey even in the colour files
      pixels = np.repeat(pixels[..., None], 3, -1)
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def find(downloads: Downloads, name: str) -> Path | None:
  """The .mat file of that name, wherever unpacking has put it."""
  return next((found for folder in _FOLDERS if (found := downloads.find(folder + name))), None)


def read_images(path: Path, variable: str, findings: list[Finding]) -> list[CofwImage | None]:
  """Finds the photographs without reading them.

  Args:
    path: the .mat file.
    variable: "IsTr" or "IsT".
    findings: bad ones are added here, and notes on grey ones.

  Returns:
    One for each cell, None where it is bad.

  Raises:
    InputError: the file cannot be read.
  """
  images: list[CofwImage | None] = []
  with open_mat73(path, [variable]) as file:
    for index, reference in enumerate(cells(file, variable)):
      name = face_name(path, index)
      pixels = cell(file, reference)
      shape: tuple[int, ...] = pixels.shape if pixels is not None else ()
      if (
        pixels is None
        or pixels.dtype != np.uint8
        or len(shape) not in (2, 3)
        or (len(shape) == 3 and shape[0] != 3)
      ):
        got = (
          f"{pixels.dtype} {' x '.join(map(str, shape[::-1]))}" if pixels is not None else "nothing"
        )
        findings.append(
          Finding(
            name,
            f"not an image: {variable}{{{index + 1}}} holds {got}, expected uint8 pixels, grey or RGB",
          )
        )
        images.append(None)
        continue
      if len(shape) == 2:
        findings.append(Finding(name, "stored grey; all three channels hold the same", "note"))
      images.append(CofwImage(path, variable, index))
  return images


def face_name(path: Path, index: int) -> str:
  """What the dataset calls the face of a cell, counted from 0: MATLAB counts from 1."""
  return f"{path.name}/{index + 1:04d}"


def box_from_xywh(box: np.ndarray) -> np.ndarray:
  """(4,) x, y, width, height from a first pixel (1, 1) -> (4,) x0, y0, x1, y1, pixel-centre,
  0-based; NaN without extent.
  """
  x, y, width, height = np.asarray(box, np.float64)
  if not (np.isfinite(box).all() and width > 0 and height > 0):
    return np.full(4, np.nan)
  return np.array([x - 1, y - 1, x - 1 + width, y - 1 + height])
