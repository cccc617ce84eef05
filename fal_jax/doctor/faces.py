"""What `doctor` has to say about single faces: who has which peculiarity, what it means, what to
do.
"""

from collections.abc import Mapping

import numpy as np

from fal_jax import metrics
from fal_jax.crop import CropRule
from fal_jax.doctor import procrustes, stats
from fal_jax.doctor.findings import Finding, Severity
from fal_jax.doctor.stats import Split
from fal_jax.landmarks import Markup

# of the distance to the mean shape, once left and right change places; 3,162 genuine test faces:
# 1.8 and more
_SWAPPED = 0.75
_SMALL_NORM = 0.2  # of the face's size, sqrt(width * height)
_ELSEWHERE = 0.2  # intersection over union of the dataset's box and the landmarks' box

# flag -> severity, title, meaning, remedy; the order is that of the page among findings of one
# severity.
_OF_FACES: dict[str, tuple[Severity, str, str, str]] = {
  "unreadable": (
    "error",
    "Images whose header cannot be read",
    "Training stops when it reaches one of them.",
    "Fetch these files again and prepare the dataset anew; --skip_bad leaves them out.",
  ),
  "empty": (
    "error",
    "Faces without a single landmark",
    "There is nothing to learn from them, and no box to crop them by.",
    "Leave them out of the dataset.",
  ),
  "no_extent": (
    "error",
    "Faces without extent: all landmarks within a pixel",
    "They cannot be cropped, and every normaliser is zero.",
    "Mend these annotations or leave them out; "
    "landmarks from 0 to 1 must be multiplied by the image's size where they are read.",
  ),
  "swapped": (
    "error",
    "Left and right exchanged in single faces",
    "These faces fit the mean shape far better once left and right landmarks change places: they are mirrored without the "
    "permutation, or labelled the other way round. The network is taught contradictions.",
    "Look at them below; apply the mark-up's flip permutation to their landmarks.",
  ),
  "far_outside": (
    "error",
    "Landmarks further outside the image than the face is large",
    "They most likely belong to another image, to another size of it, or have x and y exchanged.",
    "Compare the annotation file with the image.",
  ),
  "box_degenerate": (
    "error",
    "Dataset boxes that are inverted or have no area",
    "No crop can be made from them.",
    "If they are (x, y, width, height), convert them to corners where they are read; else set --config.data.box=landmarks.",
  ),
  "no_crop": (
    "error",
    "Faces that the config's crop rule cannot crop",
    "Their box is missing or degenerate: training stops at them.",
    "Set --config.data.box=landmarks, or leave them out.",
  ),
  "repeated": (
    "warning",
    "The same face twice in one split",
    "It counts double in training and in means.",
    "Keep one of each.",
  ),
  "renamed": (
    "warning",
    "The same picture under several names",
    "Two annotations of one picture may contradict each other.",
    "Look at them; where they show the same face, keep the better annotation.",
  ),
  "box_elsewhere": (
    "warning",
    f"Dataset boxes that hardly meet the landmarks (intersection over union below {_ELSEWHERE:g})",
    "Such a box shows another face, or none; a network that is cropped by it cannot find the landmarks.",
    "Compare the box with the image; check the order (x0, y0, x1, y1) where it is read.",
  ),
  "small_norm": (
    "warning",
    f"Normalisers below {metrics.MIN_NORM:g} px or below {_SMALL_NORM:.0%} of the face's size",
    "An error of a pixel is a huge percentage of these: such faces, mostly profiles, dominate mean errors by eye distance.",
    "Report a box normaliser (nme_box) beside nme_ic and nme_ip, or evaluate profiles on their own.",
  ),
  "odd": (
    "warning",
    "Faces unlike all others",
    "Their landmarks are six robust standard deviations further from the mean shape than usual: often a wrong "
    "annotation, sometimes an extreme pose.",
    "Look at them below.",
  ),
  "tiny": (
    "note",
    "Faces that the crop enlarges more than eight times",
    "They are blurred in the network's input.",
    "Expect larger errors on them.",
  ),
  "box_missing": (
    "note",
    "Faces without a box of the dataset's own",
    "Only --config.data.box=landmarks can crop them.",
    "Nothing, unless you want to crop by the dataset's boxes.",
  ),
  "outside": (
    "note",
    "Landmarks outside their image",
    "Annotators follow a face across the border. Such landmarks are trained and "
    "evaluated like all others; the crop is black there.",
    "Nothing.",
  ),
  "missing": (
    "note",
    "Landmarks that are not annotated",
    "They are left out of the loss and of all errors.",
    "Nothing.",
  ),
  "occluded": (
    "note",
    "Landmarks annotated as hidden",
    "They are trained and evaluated like visible ones.",
    "Nothing.",
  ),
  "not_rgb": (
    "note",
    "Images that are not RGB",
    "They are converted when they are read; grey stays grey.",
    "Nothing.",
  ),
  "turned": (
    "note",
    "Images with an EXIF orientation",
    "It is ignored: annotations belong to the stored pixels.",
    "If landmarks lie beside their faces below, they were made on the turned picture: turn the files and annotate anew.",
  ),
}


def flags(
  split: Split, *, mean: np.ndarray, markup: Markup, rule: CropRule, depth: np.ndarray
) -> dict[str, np.ndarray]:
  """Which faces have which peculiarity.

  Args:
    split: the faces.
    mean: (K, 2), mean shape of the dataset.
    markup: the mark-up.
    rule: the config's crop rule.
    depth: (N, K) px of landmarks from the heatmap's border, NaN where unknown.

  Returns:
    flag -> (N,) bool, for each finding that is about faces.
  """
  known = np.isfinite(split.landmarks).all(-1)
  tight = stats.landmark_boxes(split.landmarks)
  width, height = (tight[:, 2:] - tight[:, :2]).T
  beyond = np.nan_to_num(stats.beyond_image(split.landmarks, split.sizes), nan=-np.inf).max(
    1, initial=-np.inf
  )
  given, sides = np.isfinite(split.boxes).all(-1), split.boxes[:, 2:] - split.boxes[:, :2]
  distance, exchanged = shape_distances(split, mean, markup)
  norms = metrics.norms(split.landmarks, markup)
  size = np.sqrt(width * height)
  extent = known.any(1) & ~(np.minimum(width, height) < 1)
  small = [
    norm < np.maximum(metrics.MIN_NORM, _SMALL_NORM * size)
    for name, norm in norms.items()
    if name in ("ic", "ip")
  ]
  return {
    "unreadable": (split.sizes == 0).any(1),
    "empty": ~known.any(1),
    "no_extent": known.any(1) & ~extent,
    "swapped": exchanged < _SWAPPED * distance,
    "far_outside": extent & (beyond > np.maximum(width, height)),
    "box_degenerate": given & (sides <= 0).any(-1),
    "no_crop": known.any(1) & extent & np.isnan(depth).all(1),
    "repeated": stats.repeated_faces(split),
    "renamed": stats.renamed_pictures(split),
    "box_elsewhere": given & (stats.box_iou(split.boxes, tight) < _ELSEWHERE),
    "small_norm": extent & np.logical_or.reduce(small),
    "odd": stats.outliers(distance),
    "tiny": extent & (np.maximum(width, height) < rule.face / 8),
    "box_missing": ~given,
    "outside": extent & (beyond > 0) & (beyond <= np.maximum(width, height)),
    "missing": known.any(1) & ~known.all(1),
    "occluded": (known & ~split.visible).any(1),
    "not_rgb": np.array([mode not in ("RGB", "") for mode in split.modes]),
    "turned": split.orientations != 1,
  }


def shape_distances(
  split: Split, mean: np.ndarray, markup: Markup
) -> tuple[np.ndarray, np.ndarray]:
  """Distances of faces to the (K, 2) mean shape as they are, and with left and right exchanged;
  (N,) each, see `procrustes`.
  """
  alike = has_no_pairs(markup)
  as_is = procrustes.distances(split.landmarks, mean, mirror_invariant=alike)
  return as_is, as_is if alike else procrustes.distances(split.landmarks[:, markup.flip], mean)


def has_no_pairs(markup: Markup) -> bool:
  """Whether a mirror leaves every landmark its number, as in profiles."""
  return bool((markup.flip == np.arange(markup.num)).all())


def of_faces(
  names: Mapping[str, list[str]], found: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Finding]:
  """Findings about single faces.

  Args:
    names: split -> N names.
    found: split -> flag -> (N,) bool.
  """
  findings = []
  for flag, (severity, title, meaning, remedy) in _OF_FACES.items():
    faces = {
      split: [names[split][row] for row in np.flatnonzero(mask[flag])]
      for split, mask in found.items()
    }
    if faces := {split: ids for split, ids in faces.items() if ids}:
      findings.append(Finding(severity, title, meaning, remedy, faces))
  return findings
