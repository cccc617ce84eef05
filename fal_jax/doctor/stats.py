"""What a split of a dataset holds, as arrays, and the measurements that `doctor` reports: NumPy on
the host, image px.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fal_jax import affine
from fal_jax.crop import CropRule, crop_from_image
from fal_jax.errors import InputError

MARGIN = 4  # heatmap px around the heatmap in which landmarks outside are still counted
_SAME_FACE_IOU = 0.5  # two persons' faces in one picture never share half of their boxes


@dataclasses.dataclass(frozen=True)
class Split:
  """The faces of one split without their pixels.

  Attributes:
    ids: N names, see `data.example_id`.
    files: N file names of the images.
    pictures: N digests of the images' bytes: equal ones are the same picture, whatever it is
      called.
    sizes: (N, 2) int, width and height; 0 where the image's header cannot be read.
    modes: N names of pixel formats ("RGB", "L"); "" where the header cannot be read.
    orientations: (N,) int, EXIF orientations; 1 is upright.
    landmarks: (N, K, 2) float64, NaN where not annotated.
    visible: (N, K) bool.
    boxes: (N, 4) float64, the dataset's own, NaN where it gives none.
  """

  ids: list[str]
  files: list[str]
  pictures: list[bytes]
  sizes: np.ndarray
  modes: list[str]
  orientations: np.ndarray
  landmarks: np.ndarray
  visible: np.ndarray
  boxes: np.ndarray


def landmark_boxes(landmarks: np.ndarray) -> np.ndarray:
  """(N, K, 2) landmarks to (N, 4) boxes tight around the annotated ones, NaN where there is none."""
  known = np.isfinite(landmarks).all(-1, keepdims=True)
  low, high = (
    landmarks.min(1, where=known, initial=np.inf),
    landmarks.max(1, where=known, initial=-np.inf),
  )
  return np.where(known.any(1), np.concatenate([low, high], -1), np.nan)


def beyond_image(landmarks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
  """How far each landmark lies beyond its image's border.

  Args:
    landmarks: (N, K, 2), NaN where not annotated.
    sizes: (N, 2) width and height; 0 where unknown.

  Returns:
    (N, K) float64, px; 0 or less inside, NaN where the landmark or the size is not known.
  """
  sizes = np.where(sizes > 0, sizes, np.nan)[:, None]
  return np.maximum(-0.5 - landmarks, landmarks - (sizes - 0.5)).max(-1)


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Intersection over union of boxes (..., 4), broadcast; NaN where a box is unknown, inverted or
  both have no area.
  """
  sides_a, sides_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
  common = np.maximum(
    np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0
  ).prod(-1)
  union = sides_a.prod(-1) + sides_b.prod(-1) - common
  sound = (sides_a >= 0).all(-1) & (sides_b >= 0).all(-1) & (union > 0)
  return np.where(sound, common / np.where(union > 0, union, 1), np.nan)


def heatmap_positions(
  landmarks: np.ndarray, boxes: np.ndarray, rule: CropRule, *, stride: int
) -> np.ndarray:
  """Positions of landmarks in the heatmaps of their crops.

  Args:
    landmarks: (N, K, 2), NaN where not annotated.
    boxes: (N, 4), the boxes that crops are made from.
    rule: how.
    stride: crop px per heatmap px.

  Returns:
    (N, K, 2) float64, heatmap px, pixel-centre; NaN where the landmark is not annotated or no crop
    can be made from the box.
  """
  crops = np.full((len(boxes), 2, 3), np.nan)
  for row, box in enumerate(boxes):
    try:
      crops[row] = crop_from_image(box, rule)
    except InputError:
      continue  # such boxes are counted as missing or degenerate, face by face
  return affine.apply(affine.shrink(stride).astype(np.float64), affine.apply(crops, landmarks))


def border_distance(positions: np.ndarray, size: int) -> np.ndarray:
  """(..., 2) positions in a square of `size` px to (...,) px from its border, negative outside."""
  return np.minimum(positions, size - 1 - positions).min(-1) + 0.5


def heat_counts(positions: np.ndarray, size: int) -> np.ndarray:
  """How many landmarks fall on each heatmap cell: (N, K, 2) positions to (size + 2 MARGIN, size + 2
  MARGIN) int, rows first.
  """
  cells = np.floor(positions[np.isfinite(positions).all(-1)] + 0.5) + MARGIN
  side = size + 2 * MARGIN
  x, y = cells[((cells >= 0) & (cells < side)).all(-1)].astype(int).T
  return np.bincount(y * side + x, minlength=side * side).reshape(side, side)


def repeated_faces(split: Split) -> np.ndarray:
  """(N,) bool: the same picture with the same face occurs earlier in the split, under whatever
  name.
  """
  repeated = np.zeros(len(split.ids), bool)
  boxes = landmark_boxes(split.landmarks)
  for rows in _by_picture(split.pictures).values():
    for place, row in enumerate(rows[1:], 1):
      repeated[row] = _same_face(boxes[row], boxes[rows[:place]])
  return repeated


def renamed_pictures(split: Split) -> np.ndarray:
  """(N,) bool: the same bytes lie under another file name as well, in this split."""
  renamed = np.zeros(len(split.ids), bool)
  for rows in _by_picture(split.pictures).values():
    renamed[rows] = len({split.files[row] for row in rows}) > 1
  return renamed


def shared(a: Split, b: Split) -> tuple[np.ndarray, np.ndarray]:
  """Which faces of one split another has as well.

  Returns:
    (N,) bool for the N faces of `a`: their picture is in `b`, byte by byte; and (N,) bool: so is
    the very face.
  """
  there = _by_picture(b.pictures)
  picture = np.array([digest in there for digest in a.pictures], bool)
  face = np.zeros(len(a.ids), bool)
  boxes_a, boxes_b = landmark_boxes(a.landmarks), landmark_boxes(b.landmarks)
  for row in np.flatnonzero(picture):
    face[row] = _same_face(boxes_a[row], boxes_b[there[a.pictures[row]]])
  return picture, face


def outliers(values: np.ndarray, *, deviations: float = 6.0) -> np.ndarray:
  """(N,) bool: values far above the others: by so many robust standard deviations above the median.
  NaN never is.
  """
  known = values[np.isfinite(values)]
  if not known.size:
    return np.zeros(len(values), bool)
  median = np.median(known)
  spread = 1.4826 * np.median(np.abs(known - median))
  return np.nan_to_num(values, nan=-np.inf) > median + deviations * max(
    spread, 0.02
  )  # of the mean shape: a hand's accuracy


def _by_picture(pictures: Sequence[bytes]) -> dict[bytes, list[int]]:
  rows: dict[bytes, list[int]] = {}
  for row, digest in enumerate(pictures):
    rows.setdefault(digest, []).append(row)
  return rows


def _same_face(box: np.ndarray, others: np.ndarray) -> bool:
  return bool(
    (np.nan_to_num(box_iou(box, others)) > _SAME_FACE_IOU).any() or (box == others).all(-1).any()
  )
