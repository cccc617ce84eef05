"""Which faces of a split have which peculiarity; what each means is in `face_findings`."""

import numpy as np

from fal_jax import metrics
from fal_jax.crop import CropRule
from fal_jax.doctor import procrustes, stats, symmetry
from fal_jax.doctor.splits import Split
from fal_jax.landmarks import MANY, Markup, box_iou, tight_boxes

MIN_NORM_SHARE = 0.2  # of the face's size, sqrt(width * height)
MIN_BOX_IOU = 0.2  # intersection over union of the dataset's box and the landmarks' box
MAX_ROLL = 60  # degrees; hardly anybody tilts the head further
MAX_ENLARGEMENT = 8  # from the image to the crop

# What swapping left and right multiplies the distance to the mean shape by; for 3,162 genuine test
# faces it is 1.8 and more.
_SWAPPED = 0.75


def flag_faces(
  split: Split, *, mean: np.ndarray, markup: Markup, rule: CropRule, depth: np.ndarray
) -> dict[str, np.ndarray]:
  """Which faces have which peculiarity.

  Args:
    split: N faces.
    mean: (K, 2), mean shape of the dataset.
    markup: the mark-up.
    rule: the config's crop rule.
    depth: (N, K) heatmap px of landmarks from the heatmap's border, NaN where unknown.

  Returns:
    flag -> (N,) bool, for each finding that is about faces.
  """
  # Landmarks: where they are, how large the face is, how far it reaches beyond its image.
  known = np.isfinite(split.landmarks).all(-1)
  annotated = known.any(1)
  tight = tight_boxes(split.landmarks)
  width, height = (tight[:, 2:] - tight[:, :2]).T
  larger_side = np.maximum(width, height)

  # The dataset's boxes, which say how large the face of a single landmark is.
  has_box = np.isfinite(split.boxes).all(-1)
  box_sides = split.boxes[:, 2:] - split.boxes[:, :2]
  is_single = (known.sum(1) == 1) & has_box
  extent = np.where(is_single, box_sides.max(-1), larger_side)
  shorter = np.where(known.sum(1) >= MANY, np.minimum(width, height), extent)
  has_extent = annotated & ~(shorter < 1)
  is_elsewhere = has_box & (box_iou(split.boxes, tight) < MIN_BOX_IOU)
  if markup.num <= 2:  # a point or a line covers little of any box
    centre = (tight[:, :2] + tight[:, 2:]) / 2
    inside = (centre >= split.boxes[:, :2]) & (centre <= split.boxes[:, 2:])
    is_elsewhere &= ~inside.all(-1)

  beyond = stats.beyond_image(split.landmarks, split.sizes)
  furthest = np.nan_to_num(beyond, nan=-np.inf).max(1, initial=-np.inf)

  crop_side = box_sides.max(-1) if rule.box == "dataset" else larger_side

  # Shape and normalisers.
  distance, swapped_distance = shape_distances(split, mean, markup)
  norms = metrics.norms(split.landmarks, markup)
  min_norm = np.maximum(metrics.MIN_NORM, MIN_NORM_SHARE * np.sqrt(width * height))
  has_small_norm = (norms["ic"] < min_norm) | (norms["ip"] < min_norm)

  return {
    "unreadable": (split.sizes == 0).any(1),
    "empty": ~annotated,
    "no_extent": annotated & ~has_extent,
    "swapped": swapped_distance < _SWAPPED * distance,
    "rolled": _is_rolled(split, mean, markup),
    "far_outside": has_extent & (furthest > extent),
    "box_degenerate": has_box & (box_sides <= 0).any(-1),
    "no_crop": annotated & has_extent & np.isnan(depth).all(1),
    "repeated": stats.repeated_faces(split),
    "renamed": stats.renamed_images(split),
    "box_elsewhere": is_elsewhere,
    "small_norm": has_extent & has_small_norm,
    "odd": stats.outliers(distance),
    "tiny": has_extent & (crop_side < rule.face / MAX_ENLARGEMENT),
    "box_missing": ~has_box,
    "outside": has_extent & (furthest > 0) & (furthest <= extent),
    "missing": annotated & ~known.all(1),
    "occluded": (known & ~split.visible).any(1),
    "not_rgb": np.array([mode not in ("RGB", "") for mode in split.modes]),
    "turned": split.orientations != 1,
  }


def _is_rolled(split: Split, mean: np.ndarray, markup: Markup) -> np.ndarray:
  """(N,) bool: turned from upright by more than `MAX_ROLL`; False where nothing tells."""
  upright = symmetry.roll(mean, markup)
  if upright is None:
    return np.zeros(len(split.ids), bool)
  alike = symmetry.has_no_pairs(markup)
  angles = upright + procrustes.turns(split.landmarks, mean, mirror_invariant=alike)
  return np.abs((angles + 180) % 360 - 180) > MAX_ROLL


def shape_distances(
  split: Split, mean: np.ndarray, markup: Markup
) -> tuple[np.ndarray, np.ndarray]:
  """Distances of faces to the mean shape as they are, and with left and right swapped.

  Args:
    split: N faces.
    mean: (K, 2) mean shape.
    markup: the mark-up; without pairs, both distances are the same.

  Returns:
    (N,) and (N,) in units of the mean, see `procrustes.distances`.
  """
  if symmetry.has_no_pairs(markup):
    as_is = procrustes.distances(split.landmarks, mean, mirror_invariant=True)
    return as_is, as_is

  as_is = procrustes.distances(split.landmarks, mean)
  return as_is, procrustes.distances(split.landmarks[:, markup.flip], mean)
