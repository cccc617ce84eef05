"""From a face box to the square that the network sees."""

import dataclasses
import hashlib
from typing import Literal, get_args

import cv2
import numpy as np

from fal_jax import affine
from fal_jax.errors import InputError

BoxKind = Literal["dataset", "landmarks", "detector"]

# What is left of a detector's box after its mean offset from the landmark box is taken off, as
# standard deviations over faces: of the centre, across and down, in units of sqrt(width * height),
# and of the logarithm of the size. Measured on 300W with YuNet; others leave about as much.
_DETECTOR_CENTRE = (0.030, 0.045)
_DETECTOR_LOG_SIZE = 0.052


@dataclasses.dataclass(frozen=True)
class CropRule:
  """How a box becomes a crop.

  Attributes:
    size: side of the crop, the network's input, px.
    stored_size: side of the stored square, px: the crop with a margin on all sides, at the same
      scale, from which random views are rendered. A view of `size` px turned by 30 degrees and
      shrunk to 0.85 reaches 0.81 size from the centre, so 1.625 size leaves no empty corner.
    face: length of the box's larger side in the crop, px. Bulat et al. 2021, Sec. 5.1: the face is
      "approximately equal to 220 x 220 px" of 256; the larger side is our reading.
    box: which box: "dataset", the one given by the dataset's authors; "landmarks", tight around the
      annotated landmarks; or "detector", the latter displaced as by `detector_box`. The tight box
      uses ground truth: metrics computed with it are not comparable to those computed with a
      detector's boxes.
  """

  size: int = 256
  stored_size: int = 416
  face: float = 220.0
  box: BoxKind = "landmarks"

  def __post_init__(self) -> None:
    if self.box not in get_args(BoxKind):
      raise InputError(f"data.box is {self.box!r}; choose one of {', '.join(get_args(BoxKind))}.")

    if self.stored_size < self.size:
      raise InputError(
        f"crop.stored_size ({self.stored_size}) must be at least crop.size ({self.size})."
      )

    if not self.face > 0:
      raise InputError(f"crop.face must be positive, got {self.face}.")

  @property
  def crop_from_stored(self) -> np.ndarray:
    """(2, 3) float32, stored px to crop px: the crop is the middle of the stored square."""
    margin = (self.stored_size - self.size) / 2
    return affine.translation(np.array([-margin, -margin], np.float32))


def crop_from_image(box: np.ndarray, rule: CropRule) -> np.ndarray:
  """The map that centres a box in the crop and scales its larger side to `rule.face` px.

  Args:
    box: (4,) x0, y0, x1, y1 in image px; may reach beyond the image. One of its sides may be 0, as
      that of two eyes at one height is.
    rule: gives crop size and face size.

  Returns:
    (2, 3) float64, image px to crop px.

  Raises:
    InputError: the box holds NaN, is inverted or has no area.
  """
  box = np.asarray(box, np.float64)
  # Beyond 1e12 not even float64 resolves single pixels.
  if box.shape != (4,) or not (np.abs(box) < 1e12).all():
    raise InputError(
      f"a box is four finite numbers x0, y0, x1, y1 in image pixels, got {box.tolist()}."
    )

  width, height = box[2:] - box[:2]
  if width < 0 or height < 0:
    raise InputError(
      f"box {box.tolist()} has x1 < x0 or y1 < y0: is it (x, y, width, height)? "
      "Give corners x0, y0, x1, y1."
    )
  if width == height == 0:
    raise InputError(f"box {box.tolist()} has no area.")

  centre = np.full(2, (rule.size - 1) / 2)
  scale = rule.face / max(width, height)
  return affine.similarity(
    angle=np.float64(0), scale=scale, src_centre=(box[:2] + box[2:]) / 2, dst_centre=centre
  )


def draws(what: str, face: str) -> np.random.Generator:
  """What a face draws at random, always the same.

  Args:
    what: for what, so that two things do not depend on each other.
    face: its id.

  Returns:
    A generator that depends on these alone.
  """
  digest = hashlib.sha256(f"{what}:{face}".encode()).digest()
  return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def detector_box(box: np.ndarray, face: str) -> np.ndarray:
  """Simulates the box of a face detector: always the same for a face.

  Args:
    box: (4,) x0, y0, x1, y1, the tight box around the landmarks, image px.
    face: the face's id, which alone the displacement depends on.

  Returns:
    (4,) float64, the box moved and scaled at random, as much as detectors' boxes are after their
    mean offset is taken off.
  """
  across, down, size = draws("box", face).standard_normal(3)

  box = np.asarray(box, np.float64)
  half = (box[2:] - box[:2]) / 2
  offset = np.array([across, down]) * _DETECTOR_CENTRE * 2 * np.sqrt(half.prod())
  centre = (box[:2] + box[2:]) / 2 + offset
  half = half * np.exp(_DETECTOR_LOG_SIZE * size)
  return np.concatenate([centre - half, centre + half])


# A prepared crop is only shifted; what rounding its box to float32 adds is not worth a resampling.
_NEGLIGIBLE_PX = 1e-3


def extract(image: np.ndarray, dst_from_image: np.ndarray, size: int) -> np.ndarray:
  """Resamples the square that a map shows, on the host; black outside the image.

  An image that shrinks to less than half is averaged down by a whole factor first: bilinear samples
  alone would skip pixels.

  Args:
    image: (H, W, 3) uint8.
    dst_from_image: (2, 3) float, image px to px of the result.
    size: side of the result.

  Returns:
    (size, size, 3) uint8.
  """
  height, width = image.shape[:2]

  # How far the map moves any pixel away from where a shift by whole pixels would put it.
  shift = np.round(dst_from_image[:, 2])
  difference = np.abs(dst_from_image - np.column_stack([np.eye(2), shift]))
  if difference.max(0) @ np.array([width, height, 1]) < _NEGLIGIBLE_PX:
    return _integer_shift(image, int(shift[0]), int(shift[1]), size)

  # At most the whole image to one pixel: padding it to more would exhaust the memory.
  shrinkage = 1 / np.hypot(dst_from_image[0, 0], dst_from_image[1, 0])
  factor = int(min(shrinkage, max(height, width)))
  if factor > 1:
    bottom, right = -height % factor, -width % factor
    padded = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    small = padded.shape[1] // factor, padded.shape[0] // factor
    image = cv2.resize(padded, small, interpolation=cv2.INTER_AREA)

    image_from_small = affine.invert(affine.shrink(factor).astype(np.float64))
    dst_from_image = affine.compose(dst_from_image, image_from_small)

  matrix = np.asarray(dst_from_image, np.float64)
  return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _integer_shift(image: np.ndarray, x: int, y: int, size: int) -> np.ndarray:
  """Moves an image by whole pixels; black outside it.

  Args:
    image: (H, W, 3) uint8.
    x: column of the result that the image's first one becomes; may lie outside.
    y: row of the result that the image's first one becomes; may lie outside.
    size: side of the result.

  Returns:
    (size, size, 3) uint8.
  """
  height, width = image.shape[:2]
  rows = slice(max(0, y), min(size, height + y))
  columns = slice(max(0, x), min(size, width + x))

  result = np.zeros((size, size, 3), np.uint8)
  if rows.start < rows.stop and columns.start < columns.stop:
    image_rows = slice(rows.start - y, rows.stop - y)
    image_columns = slice(columns.start - x, columns.stop - x)
    result[rows, columns] = image[image_rows, image_columns]
  return result
