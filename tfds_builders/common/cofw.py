"""Caltech's COFW files, `COFW_train_color.mat` and `COFW_test_color.mat`.

They are MATLAB 7.3 with the photographs inside.
"""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from fal_jax.errors import InputError
from tfds_builders.common.downloads import Downloads
from tfds_builders.common.mat import CellKind, read_cell, read_cell_kinds
from tfds_builders.common.validate import Finding

HOW_TO_GET = """
      Download COFW_color.zip from https://data.caltech.edu/records/bc0bf-nc666 into one folder,
      or unpack it there: it holds COFW_train_color.mat and COFW_test_color.mat.
      """

# Where the .mat files lie below the folder: as packed, or in the folder that unpacking made.
_FOLDERS = ("", "COFW_color/", "COFW/")


@dataclasses.dataclass(frozen=True)
class CofwImage:
  """A photograph inside a COFW file.

  It is read again each time, one at a time, because all of them would fill the memory.

  Attributes:
    path: the .mat file.
    cells: the variable, "IsTr" or "IsT".
    index: number of the cell, from 0.
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
      pixels = read_cell(self.path, self.cells, self.index)
    except InputError as error:
      raise OSError(str(error)) from error

    if pixels.ndim == 2:  # some photographs are grey even in the colour files
      pixels = np.repeat(pixels[..., None], 3, -1)
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def find(downloads: Downloads, name: str) -> Path | None:
  """The .mat file of that name, wherever unpacking has put it."""
  return downloads.find_in(_FOLDERS, name)


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
  for index, kind in enumerate(read_cell_kinds(path, variable)):
    name = face_name(path, index)
    if kind is None or not _holds_pixels(kind):
      message = (
        f"not an image: {variable}{{{index + 1}}} holds {_content(kind)}, "
        "expected uint8 pixels, grey or RGB"
      )
      findings.append(Finding(name, message))
      images.append(None)
      continue

    if len(kind.shape) == 2:
      findings.append(Finding(name, "stored grey; all three channels hold the same", "note"))
    images.append(CofwImage(path, variable, index))
  return images


def _holds_pixels(kind: CellKind) -> bool:
  """Whether a cell holds (rows, columns) or (rows, columns, 3) uint8."""
  is_grey = len(kind.shape) == 2
  is_rgb = len(kind.shape) == 3 and kind.shape[2] == 3
  return kind.dtype == "uint8" and (is_grey or is_rgb)


def _content(kind: CellKind | None) -> str:
  """Type and shape of a cell's content, as MATLAB shows them."""
  return "nothing" if kind is None else f"{kind.dtype} {' x '.join(map(str, kind.shape))}"


def face_name(path: Path, index: int) -> str:
  """What the dataset calls the face of a cell, counted from 0: MATLAB counts from 1."""
  return f"{path.name}/{index + 1:04d}"


def box_from_xywh(box: np.ndarray) -> np.ndarray:
  """A box as COFW's files have it, to ours.

  Args:
    box: (4,) x, y, width, height, image px, counted from a first pixel (1, 1).

  Returns:
    (4,) float64, x0, y0, x1, y1, image px, pixel-centre, 0-based; NaN without extent.
  """
  x, y, width, height = np.asarray(box, np.float64)
  if not (np.isfinite(box).all() and width > 0 and height > 0):
    return np.full(4, np.nan)
  return np.array([x - 1, y - 1, x - 1 + width, y - 1 + height])


def visible_from_occlusion(occluded: np.ndarray) -> np.ndarray:
  """Occlusion flags as COFW's files have them, 1 for a hidden landmark, to ours.

  Args:
    occluded: (K,) float64.

  Returns:
    (K,) bool, whether a landmark is visible.

  Raises:
    InputError: a flag is neither 0 nor 1.
  """
  valid = np.isin(occluded, (0, 1))
  if not valid.all():
    raise InputError(f"occlusion {occluded[~valid][0]:g}, expected 0 or 1")
  return occluded == 0
