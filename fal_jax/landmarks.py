"""Mark-ups: names of a dataset's K landmarks, the lines that join them, their mirror permutation.

Left and right are the *person's own*: in an upright photograph that is not mirrored,
`right_eye_outer` lies on the image's left. Names carry the side as a prefix, so the mirror
permutation needs no table of its own: `left_x` and `right_x` change places. Mark-ups of users list
their pairs instead, see `custom_markup`.

Landmark numbers are zero-based positions in the dataset's own order (300W 68 and its 51 inner
points, WFLW 98, COFW 29, AFLW 19, Menpo profile 39).
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import numpy as np

from fal_jax.errors import InputError

Edge = tuple[int, int]
# So many annotated landmarks on one line are not a face; a few, as two level eyes, may be one.
MANY = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Markup:
  """One landmark scheme.

  Attributes:
    names: K unique names, in the order of the dataset; the prefix `left_` or `right_` is the
      person's own side.
    edges: pairs of landmarks to join when drawing.
    outer_eyes: the outer eye corners (right, left), or None where the scheme has only one eye.
    pupils: for each eye (right, left) the landmarks whose mean is its centre, or None as above.
    mirror: pairs of landmarks that change places in a mirror, the others stay; None reads them off
      the names.
  """

  names: tuple[str, ...]
  edges: tuple[Edge, ...]
  outer_eyes: Edge | None = None
  pupils: tuple[tuple[int, ...], tuple[int, ...]] | None = None
  mirror: tuple[Edge, ...] | None = None

  @property
  def num(self) -> int:
    """K, the number of landmarks."""
    return len(self.names)

  @functools.cached_property
  def flip(self) -> np.ndarray:
    """(K,) int32, read-only: landmark k of a face is landmark flip[k] of the mirrored face.

    Applying it twice changes nothing.
    """
    if self.mirror is None:
      index = {name: k for k, name in enumerate(self.names)}
      flip = np.array([index[_other_side(name)] for name in self.names], np.int32)
    else:
      flip = np.arange(self.num, dtype=np.int32)
      for a, b in self.mirror:
        flip[[a, b]] = b, a

    flip.flags.writeable = False
    return flip

  @functools.cached_property
  def regions(self) -> Mapping[str, tuple[int, ...]]:
    """Landmarks of each part of the face.

    The parts are jaw, right_brow, left_brow, right_eye, left_eye, nose and mouth, without the sides
    in a profile. A user's landmark whose name says none of these is under `other`.
    """
    regions: dict[str, tuple[int, ...]] = {}
    for k, name in enumerate(self.names):
      regions[_region(name)] = (*regions.get(_region(name), ()), k)
    return regions


def markup(num: int) -> Markup:
  """The mark-up with `num` landmarks.

  Raises:
    InputError: if no mark-up has that many; the message lists those there are.
  """
  if num not in MARKUPS:
    known = ", ".join(str(n) for n in sorted(MARKUPS))
    raise InputError(
      f"no mark-up has {num} landmarks: choose one of {known}, "
      "or describe yours (tfds_builders/custom/README.md)"
    )
  return MARKUPS[num]


def as_markup(scheme: int | Markup) -> Markup:
  """Accepts a Markup or its landmark count.

  Raises:
    InputError: as `markup`.
  """
  return scheme if isinstance(scheme, Markup) else markup(scheme)


def tight_boxes(landmarks: np.ndarray) -> np.ndarray:
  """Boxes tight around the annotated landmarks of each face.

  Args:
    landmarks: (N, K, 2) px, NaN where not annotated.

  Returns:
    (N, 4) x0, y0, x1, y1, same pixels; NaN where a face has no landmark at all.
  """
  known = np.isfinite(landmarks).all(-1, keepdims=True)

  low = landmarks.min(1, where=known, initial=np.inf)
  high = landmarks.max(1, where=known, initial=-np.inf)

  return np.where(known.any(1), np.concatenate([low, high], -1), np.nan)


def refined_boxes(landmarks: np.ndarray, boxes: np.ndarray) -> np.ndarray:
  """Boxes tight around predicted landmarks, to be cut out again.

  Args:
    landmarks: (N, K, 2) px.
    boxes: (N, 4) x0, y0, x1, y1, same pixels, the boxes that they were predicted in: landmarks on
      one line have no box, and such a face keeps the one it had.

  Returns:
    (N, 4) x0, y0, x1, y1.
  """
  tight = tight_boxes(landmarks)
  has_area = (tight[:, 2:] - tight[:, :2] > 0).all(1, keepdims=True)
  return np.where(has_area, tight, boxes)


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Intersection over union of boxes.

  Args:
    a: (..., 4) x0, y0, x1, y1.
    b: (..., 4) same frame; the leading axes broadcast.

  Returns:
    (...,) 0 to 1; NaN where a box is unknown or inverted, or both have no area.
  """
  sides_a = a[..., 2:] - a[..., :2]
  sides_b = b[..., 2:] - b[..., :2]
  overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
  common = np.maximum(overlap, 0).prod(-1)
  union = sides_a.prod(-1) + sides_b.prod(-1) - common

  valid = (sides_a >= 0).all(-1) & (sides_b >= 0).all(-1) & (union > 0)
  return np.where(valid, common / np.where(union > 0, union, 1), np.nan)


def _other_side(name: str) -> str:
  """The name of a landmark's mirror image: its own if it has no side."""
  if name.startswith("left_"):
    return "right_" + name.removeprefix("left_")
  if name.startswith("right_"):
    return "left_" + name.removeprefix("right_")
  return name


def _region(name: str) -> str:
  """The part of the face that a landmark's name says."""
  side = next((side for side in ("left_", "right_") if name.startswith(side)), "")
  words = {
    "brow": side + "brow", "eye": side + "eye", "pupil": side + "eye", "jaw": "jaw", "chin": "jaw",
    "nose": "nose", "nostril": "nose", "lip": "mouth", "mouth": "mouth",
  }  # fmt: skip
  return next((region for word, region in words.items() if word in name), "other")


def _path(landmarks: Iterable[int], *, closed: bool = False) -> tuple[Edge, ...]:
  """Edges that visit the landmarks in turn, and return to the first if closed."""
  stops = list(landmarks)
  return tuple(zip(stops, stops[1:] + stops[:1] * closed, strict=False))


def _numbered(stem: str, numbers: Iterable[int]) -> list[str]:
  """Names of landmarks in a row: stem_0, stem_1, ..."""
  return [f"{stem}_{n}" for n in numbers]


def _jaw(half: int) -> list[str]:
  """Ear to ear along the jaw; numbers grow from the ear to the chin on both sides."""
  return [
    *_numbered("right_jaw", range(half)),
    "chin",
    *_numbered("left_jaw", reversed(range(half))),
  ]


# 300W and WFLW draw nose and mouth alike. Around the lips: twelve points clockwise as seen, then
# eight between them.
_NOSE = [
  "nose_bridge_0", "nose_bridge_1", "nose_bridge_2", "nose_tip",
  "right_nostril_0", "right_nostril_1", "nose_base", "left_nostril_1", "left_nostril_0",
]  # fmt: skip
_MOUTH = [
  "right_mouth_corner",
  "right_outer_lip_top_0", "right_outer_lip_top_1", "outer_lip_top",
  "left_outer_lip_top_1", "left_outer_lip_top_0",
  "left_mouth_corner",
  "left_outer_lip_bottom_0", "left_outer_lip_bottom_1", "outer_lip_bottom",
  "right_outer_lip_bottom_1", "right_outer_lip_bottom_0",
  "right_inner_mouth_corner", "right_inner_lip_top", "inner_lip_top", "left_inner_lip_top",
  "left_inner_mouth_corner", "left_inner_lip_bottom", "inner_lip_bottom", "right_inner_lip_bottom",
]  # fmt: skip


def _markup_68() -> Markup:
  """iBUG 68: 300W, 300W-LP, 300VW, COFW-68, Menpo semi-frontal."""
  right_eye = ["outer", "top_outer", "top_inner", "inner", "bottom_inner", "bottom_outer"]
  left_eye = ["inner", "top_inner", "top_outer", "outer", "bottom_outer", "bottom_inner"]

  return Markup(
    names=(
      *_jaw(8),
      *_numbered("right_brow", range(5)),
      *_numbered("left_brow", reversed(range(5))),
      *_NOSE,
      *(f"right_eye_{part}" for part in right_eye),
      *(f"left_eye_{part}" for part in left_eye),
      *_MOUTH,
    ),
    edges=(
      *_path(range(17)),  # jaw
      *_path(range(17, 22)),  # brows
      *_path(range(22, 27)),
      *_path(range(27, 31)),  # nose: bridge, nostrils
      *_path(range(31, 36)),
      *_path(range(36, 42), closed=True),  # eyes
      *_path(range(42, 48), closed=True),
      *_path(range(48, 60), closed=True),  # lips: outer, inner
      *_path(range(60, 68), closed=True),
    ),
    outer_eyes=(36, 45),
    # No pupil is annotated: the mean of the lids stands in for it.
    pupils=(tuple(range(36, 42)), tuple(range(42, 48))),
  )


def _markup_51() -> Markup:
  """The 68 without the jaw, in the same order: 300W's inner points."""
  whole, jaw = _markup_68(), 17
  return Markup(
    names=whole.names[jaw:],
    edges=tuple((a - jaw, b - jaw) for a, b in whole.edges if a >= jaw),
    outer_eyes=(36 - jaw, 45 - jaw),
    pupils=(tuple(range(36 - jaw, 42 - jaw)), tuple(range(42 - jaw, 48 - jaw))),
  )


def _markup_98() -> Markup:
  """WFLW."""
  right_brow = ["outer", *_numbered("top", range(4)), *_numbered("bottom", reversed(range(4)))]
  left_brow = [*_numbered("top", reversed(range(4))), "outer", *_numbered("bottom", range(4))]
  right_eye = [
    "outer", "top_outer", "top", "top_inner", "inner", "bottom_inner", "bottom", "bottom_outer",
  ]  # fmt: skip
  left_eye = [
    "inner", "top_inner", "top", "top_outer", "outer", "bottom_outer", "bottom", "bottom_inner",
  ]  # fmt: skip

  return Markup(
    names=(
      *_jaw(16),
      *(f"right_brow_{part}" for part in right_brow),
      *(f"left_brow_{part}" for part in left_brow),
      *_NOSE,
      *(f"right_eye_{part}" for part in right_eye),
      *(f"left_eye_{part}" for part in left_eye),
      *_MOUTH,
      "right_pupil",
      "left_pupil",
    ),
    edges=(
      *_path(range(33)),  # jaw
      *_path(range(33, 42), closed=True),  # brows
      *_path(range(42, 51), closed=True),
      *_path(range(51, 55)),  # nose: bridge, nostrils
      *_path(range(55, 60)),
      *_path(range(60, 68), closed=True),  # eyes
      *_path(range(68, 76), closed=True),
      *_path(range(76, 88), closed=True),  # lips: outer, inner
      *_path(range(88, 96), closed=True),
    ),
    outer_eyes=(60, 72),
    pupils=((96,), (97,)),
  )


def _markup_29() -> Markup:
  """COFW."""
  return Markup(
    names=(
      "right_brow_outer", "left_brow_outer", "right_brow_inner", "left_brow_inner",
      "right_brow_top", "right_brow_bottom", "left_brow_top", "left_brow_bottom",
      "right_eye_outer", "left_eye_outer", "right_eye_inner", "left_eye_inner",
      "right_eye_top", "right_eye_bottom", "left_eye_top", "left_eye_bottom",
      "right_pupil", "left_pupil",
      "right_nostril", "left_nostril", "nose_tip", "nose_base",
      "right_mouth_corner", "left_mouth_corner",
      "outer_lip_top", "inner_lip_top", "inner_lip_bottom", "outer_lip_bottom",
      "chin",
    ),
    edges=(
      *_path((0, 4, 2, 5), closed=True),  # brows
      *_path((1, 6, 3, 7), closed=True),
      *_path((8, 12, 10, 13), closed=True),  # eyes
      *_path((9, 14, 11, 15), closed=True),
      *_path((18, 20, 19, 21), closed=True),  # nose
      *_path((22, 24, 23, 27), closed=True),  # lips: outer, inner
      *_path((22, 25, 23, 26), closed=True),
    ),
    outer_eyes=(8, 9),
    pupils=((16,), (17,)),
  )  # fmt: skip


def _markup_19() -> Markup:
  """AFLW without the ears, as the benchmark has it."""
  return Markup(
    names=(
      "right_brow_outer", "right_brow_middle", "right_brow_inner",
      "left_brow_inner", "left_brow_middle", "left_brow_outer",
      "right_eye_outer", "right_pupil", "right_eye_inner",
      "left_eye_inner", "left_pupil", "left_eye_outer",
      "right_nostril", "nose_tip", "left_nostril",
      "right_mouth_corner", "mouth_middle", "left_mouth_corner",
      "chin",
    ),
    edges=(
      *_path((0, 1, 2)), *_path((3, 4, 5)),  # brows
      *_path((6, 7, 8)), *_path((9, 10, 11)),  # eyes
      *_path((12, 13, 14)), *_path((15, 16, 17)),  # nose, mouth
    ),
    outer_eyes=(6, 11),
    pupils=((7,), (10,)),
  )  # fmt: skip


def _markup_39() -> Markup:
  """Menpo profile: the visible half of the face.

  Left and right profiles are annotated alike, so in a mirror every landmark keeps its number.
  """
  return Markup(
    names=(
      *_numbered("jaw", range(12)),
      *_numbered("brow", range(4)),
      *_numbered("nose", range(6)),
      *_numbered("eye", range(5)),
      *_numbered("outer_lip", range(7)),
      *_numbered("inner_lip", range(5)),
    ),
    edges=(
      *_path(range(12)),
      *_path(range(12, 16)),
      *_path(range(16, 22)),
      *_path(range(22, 27), closed=True),
      *_path(range(27, 34)),
      *_path(range(34, 39)),
    ),
  )


MARKUPS: Mapping[int, Markup] = {
  68: _markup_68(),
  51: _markup_51(),
  98: _markup_98(),
  29: _markup_29(),
  19: _markup_19(),
  39: _markup_39(),
}
