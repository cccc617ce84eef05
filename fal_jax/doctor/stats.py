"""The measurements that the doctor reports: NumPy on the host, image px unless stated otherwise."""

from collections.abc import Sequence

import numpy as np

from fal_jax import affine
from fal_jax.crop import CropRule, crop_from_image
from fal_jax.doctor.splits import Split
from fal_jax.errors import InputError
from fal_jax.landmarks import box_iou, tight_boxes

MARGIN = 4  # heatmap px around the heatmap in which landmarks outside are still counted
_SAME_FACE_IOU = 0.5  # two persons' faces in one image never share half of their boxes
_MIN_SPREAD = 0.02  # in units of the mean shape: how accurate annotators are


def beyond_image(landmarks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
  """How far each landmark lies beyond its image's border.

  Args:
    landmarks: (N, K, 2) image px, NaN where not annotated.
    sizes: (N, 2) width and height, px; 0 where unknown.

  Returns:
    (N, K) float64, px; 0 or less inside, NaN where the landmark or the size is not known.
  """
  sizes = np.where(sizes > 0, sizes, np.nan)[:, None]
  return np.maximum(-0.5 - landmarks, landmarks - (sizes - 0.5)).max(-1)


def heatmap_positions(
  landmarks: np.ndarray, boxes: np.ndarray, rule: CropRule, *, stride: float
) -> np.ndarray:
  """Positions of landmarks in the heatmaps of their crops.

  Args:
    landmarks: (N, K, 2) image px, NaN where not annotated.
    boxes: (N, 4) image px, the boxes that crops are made from.
    rule: how they are made.
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

  heatmap_from_crop = affine.shrink(stride).astype(np.float64)
  return affine.apply(heatmap_from_crop, affine.apply(crops, landmarks))


def border_distance(positions: np.ndarray, size: int) -> np.ndarray:
  """Distance of positions in a square from its border.

  Args:
    positions: (..., 2) px of the square, pixel-centre.
    size: side of the square, px.

  Returns:
    (...,) px, negative outside.
  """
  return np.minimum(positions, size - 1 - positions).min(-1) + 0.5


def heat_counts(positions: np.ndarray, size: int) -> np.ndarray:
  """How many landmarks fall on each heatmap cell.

  Args:
    positions: (N, K, 2) heatmap px, pixel-centre; NaN where unknown.
    size: side of the heatmap, px.

  Returns:
    (size + 2 MARGIN, size + 2 MARGIN) int, rows first.
  """
  side = size + 2 * MARGIN

  cells = np.floor(positions[np.isfinite(positions).all(-1)] + 0.5) + MARGIN
  x, y = cells[((cells >= 0) & (cells < side)).all(-1)].astype(int).T
  return np.bincount(y * side + x, minlength=side * side).reshape(side, side)


def repeated_faces(split: Split) -> np.ndarray:
  """(N,) bool: the same face of the same image occurs earlier in the split, under any name."""
  repeated = np.zeros(len(split.ids), bool)
  boxes = tight_boxes(split.landmarks)

  for rows in _rows_by_digest(split.digests).values():
    for count, row in enumerate(rows[1:], 1):
      repeated[row] = _same_face(boxes[row], boxes[rows[:count]])
  return repeated


def renamed_images(split: Split) -> np.ndarray:
  """(N,) bool: the split holds the same bytes under another file name as well."""
  renamed = np.zeros(len(split.ids), bool)
  for rows in _rows_by_digest(split.digests).values():
    renamed[rows] = len({split.files[row] for row in rows}) > 1
  return renamed


def shared(a: Split, b: Split) -> tuple[np.ndarray, np.ndarray]:
  """Which faces of one split are in another one, too.

  Args:
    a: N faces.
    b: the other split.

  Returns:
    (N,) bool for the faces of `a`: their image is in `b`, byte by byte; and (N,) bool: so is the
    face itself.
  """
  rows_of_b = _rows_by_digest(b.digests)
  image = np.array([digest in rows_of_b for digest in a.digests], bool)

  face = np.zeros(len(a.ids), bool)
  boxes_a = tight_boxes(a.landmarks)
  boxes_b = tight_boxes(b.landmarks)
  for row in np.flatnonzero(image):
    face[row] = _same_face(boxes_a[row], boxes_b[rows_of_b[a.digests[row]]])
  return image, face


def outliers(values: np.ndarray, *, deviations: float = 6.0) -> np.ndarray:
  """Which values are far above the others.

  Args:
    values: (N,) distances to the mean shape, in units of it; NaN is never an outlier.
    deviations: robust standard deviations above the median that are still usual.

  Returns:
    (N,) bool.
  """
  known = values[np.isfinite(values)]
  if not known.size:
    return np.zeros(len(values), bool)

  median = np.median(known)
  spread = max(1.4826 * np.median(np.abs(known - median)), _MIN_SPREAD)
  return np.nan_to_num(values, nan=-np.inf) > median + deviations * spread


def five_numbers(values: np.ndarray) -> list[float] | None:
  """Minimum, 5 %, median, 95 % and maximum of the finite values; None if there are none."""
  known = np.asarray(values, np.float64)[np.isfinite(values)]
  if not known.size:
    return None
  return [round(float(value), 3) for value in np.percentile(known, [0, 5, 50, 95, 100])]


def _rows_by_digest(digests: Sequence[bytes]) -> dict[bytes, list[int]]:
  rows: dict[bytes, list[int]] = {}
  for row, digest in enumerate(digests):
    rows.setdefault(digest, []).append(row)
  return rows


def _same_face(box: np.ndarray, others: np.ndarray) -> bool:
  """Whether a box (4,) belongs to the same face as one of the others (M, 4) in the same image."""
  overlaps = np.nan_to_num(box_iou(box, others)) > _SAME_FACE_IOU
  equal = (box == others).all(-1)
  return bool(overlaps.any() or equal.any())
