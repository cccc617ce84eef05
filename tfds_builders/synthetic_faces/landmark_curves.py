"""The feature curves of a face in the chart.

Drawn by `features.py` and marked by the landmarks, so that both always agree. Everything is written
for the right half of the image (x > 0) and mirrored. The numbers lie between the average
proportions of 300W and WFLW, whose annotators differ by about 2 % of the distance between the eyes.
"""

from dataclasses import dataclass

import numpy as np

from tfds_builders.synthetic_faces.head import HeadModel
from tfds_builders.synthetic_faces.tube import EAR_DEGREES, JAW_EDGE, angle_column, hermite

EYE_INNER = np.array([0.203, 0.018])
EYE_OUTER = np.array([0.50, 0.0])
MOUTH_CORNER = np.array([0.297, 0.735])
MOUTH_LINE = 0.752  # height of the line between the lips on the mid-line
BROW_INNER = 0.150  # x of the inner end of the brows
IRIS_RADIUS = 0.064
JAW_SAMPLES = 48

# Where along the eye, from the inner corner, the lid points of the 68 and 98 mark-up sit.
_LID_68 = (0.70, 0.36)
_LID_98 = (0.78, 0.52, 0.22)

# fmt: off
# Both lips from the left corner to the right one.
_MOUTH_UPPER = np.array([
  [-0.297, 0.735], [-0.186, 0.697], [-0.072, 0.678], [0, 0.690],
  [0.072, 0.678], [0.186, 0.697], [0.297, 0.735],
])
_MOUTH_LOWER = np.array([
  [-0.297, 0.735], [-0.200, 0.808], [-0.100, 0.852], [0, 0.864],
  [0.100, 0.852], [0.200, 0.808], [0.297, 0.735],
])
# From the tip inwards.
_BROW_UPPER = np.array([
  [0.630, -0.134], [0.528, -0.212], [0.402, -0.238], [0.275, -0.220], [0.150, -0.188],
])
_BROW_LOWER = np.array([
  [0.630, -0.134], [0.505, -0.158], [0.392, -0.164], [0.272, -0.146], [0.150, -0.124],
])
# Down the ridge, then below it from left to right.
_NOSE = np.array([
  [0, -0.008], [0, 0.136], [0, 0.277], [0, 0.418],
  [-0.158, 0.487], [-0.083, 0.507], [0, 0.528], [0.083, 0.507], [0.158, 0.487],
])
# Left half of the image from the ear to the chin, every point of the 98 mark-up.
_JAW = np.array([
  [-0.777, -0.022], [-0.772, 0.080], [-0.766, 0.182], [-0.758, 0.283], [-0.744, 0.382],
  [-0.725, 0.482], [-0.703, 0.583], [-0.673, 0.681], [-0.636, 0.778], [-0.583, 0.867],
  [-0.517, 0.951], [-0.447, 1.026], [-0.370, 1.093], [-0.288, 1.148], [-0.200, 1.193],
  [-0.100, 1.221], [0, 1.232],
])
# fmt: on

# How far below the upper edge of a brow its points of the 68 mark-up lie, in its thickness, and
# how far from the mid-line the points between the lips: on places of their own, or where an
# annotator puts them (see `FaceCurves.points`).
_BROW_DEPTH, _BROW_DEPTH_ANNOTATED = 0.2, 0.0
_INNER_LIP = 0.110
_INNER_LIP_ANNOTATED = float(_MOUTH_UPPER[4, 0] + _MOUTH_LOWER[4, 0]) / 2


@dataclass(frozen=True)
class FaceCurves:
  """What varies between faces on the chart.

  Attributes:
    upper_lid: opening above the line between the corners per eye (left, right of the image); 1 is
      average, 0 shut.
    lower_lid: opening below that line; 1 is average.
    gaze: (2,) offset of both irises in chart units.
    parting: 0 when the lips touch, 1 when the strip between them is fully open.
    lip_height: thickness of the red of (upper, lower) lip; 1 is average.
    brow_height: thickness of the brows; 1 is average.
    brow_arch: lift of the middle of the brows in chart units.
    brow_tilt: lift of the outer half in chart units.
    brow_reach: length of the brows; 1 is average.
  """

  upper_lid: tuple[float, float] = (1.0, 1.0)
  lower_lid: tuple[float, float] = (1.0, 1.0)
  gaze: tuple[float, float] = (0.0, 0.0)
  parting: float = 0.0
  lip_height: tuple[float, float] = (1.0, 1.0)
  brow_height: float = 1.0
  brow_arch: float = 0.0
  brow_tilt: float = 0.0
  brow_reach: float = 1.0

  def lids(self, side: int, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The edges of the lids, as if the eye were the right one.

    Args:
      side: 0 is the left eye of the image.
      t: (...,) position along the eye, 0 at the inner corner .. 1 at the outer one.

    Returns:
      x, y of the upper and y of the lower lid, (...,) float64 each, chart units.
    """
    t = np.asarray(t, np.float64)
    x = EYE_INNER[0] + (EYE_OUTER[0] - EYE_INNER[0]) * t
    base = EYE_INNER[1] + (EYE_OUTER[1] - EYE_INNER[1]) * t
    arch = np.clip(t, 0, 1) ** 0.62 * np.clip(1 - t, 0, 1) ** 0.62 / 0.25**0.62
    upper = base - arch * (0.098 * self.upper_lid[side] - 0.026)
    lower = base + arch * 0.034 * self.lower_lid[side]
    return x, np.minimum(upper, lower), lower

  def eye_is_open(self, side: int) -> bool:
    """Whether the pupil can be seen between the lids."""
    _, upper, lower = self.lids(side, np.array(0.5))
    return bool(lower - upper > 0.03)

  def iris(self, side: int) -> np.ndarray:
    """(2,) centre of the iris in the chart; `side` 0 is the left eye of the image."""
    sign = 1 if side else -1
    return np.array([sign * 0.351 + self.gaze[0], -0.006 + self.gaze[1]])

  def brow(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower edge, (N, 2) each, right half, at (N,) 0 (outer tip) .. 4 (inner end)."""
    upper, lower = hermite(_BROW_UPPER, at), hermite(_BROW_LOWER, at)
    middle = (upper + lower) / 2

    half = (lower - upper) / 2 * self.brow_height
    lift = np.sin(np.pi * np.clip(at / 4, 0, 1)) * self.brow_arch + (1 - at / 4) * self.brow_tilt
    middle[..., 1] -= lift
    if self.brow_reach != 1:  # a factor of 1 would still change last bits
      middle[..., 0] = BROW_INNER + (middle[..., 0] - BROW_INNER) * self.brow_reach
    return middle - half, middle + half

  def mouth_outer(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Border of the red of both lips, (N, 2) each, at (N,) 0 (left corner) .. 6 (right corner)."""
    upper, lower = hermite(_MOUTH_UPPER, at), hermite(_MOUTH_LOWER, at)

    line = _mouth_line(upper[..., 0])
    upper[..., 1] = line + (upper[..., 1] - line) * self.lip_height[0]
    line = _mouth_line(lower[..., 0])
    lower[..., 1] = line + (lower[..., 1] - line) * self.lip_height[1]
    return upper, lower

  def mouth_inner(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height of the inner borders of the upper and the lower lip at chart x, all (...,)."""
    x = np.asarray(x, np.float64)
    half = self.parting * 0.024 * np.sqrt(np.clip(1 - (x / 0.262) ** 2, 0, None))
    return _mouth_line(x) - half, _mouth_line(x) + half

  def points(self, *, annotated: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Chart positions of all landmarks.

    Those of the jaw (first 17, first 33) are placeholders.

    Args:
      annotated: the brows' points of the 68 mark-up on the upper edge rather than a little below
        it, and those between the lips opposite those of the outer border, midway between the upper
        and the lower ones. Annotated photographs have them there.

    Returns:
      (68, 2) and (98, 2) float64.
    """
    mirror = (-1, 1)
    upper, lower = self.brow(np.arange(5.0))
    depth = _BROW_DEPTH_ANNOTATED if annotated else _BROW_DEPTH
    middle = upper + depth * (lower - upper)
    # Left brow: tip to inner end above, back below; right brow: inner end to tip, back below.
    brows_98 = [np.concatenate([upper, lower[:0:-1]]) * mirror]
    brows_98.append(np.concatenate([upper[::-1], lower[1:]]))
    mouth = self._mouth_points(_INNER_LIP_ANNOTATED if annotated else _INNER_LIP)
    pupils = [self.iris(0), self.iris(1)]

    points_68 = [np.zeros((17, 2)), middle * mirror, middle[::-1], _NOSE]
    points_68 += [self._eye_points(side, _LID_68) for side in (0, 1)]
    points_98 = [np.zeros((33, 2)), *brows_98, _NOSE]
    points_98 += [self._eye_points(side, _LID_98) for side in (0, 1)]
    return np.concatenate([*points_68, mouth]), np.concatenate([*points_98, mouth, pupils])

  def _eye_points(self, side: int, lid: tuple[float, ...]) -> np.ndarray:
    """Landmarks of one eye: clockwise from its corner on the left of the image.

    Args:
      side: 0 is the left eye of the image.
      lid: where along the eye, from the inner corner, the points of each lid sit.

    Returns:
      (2 + 2 * len(lid), 2) float64 chart positions.
    """
    order = np.array(lid)
    first, last = EYE_OUTER, EYE_INNER
    if side:  # the right eye is numbered from its inner corner
      order = order[::-1]
      first, last = EYE_INNER, EYE_OUTER

    x, upper, _ = self.lids(side, order)
    x_below, _, lower = self.lids(side, order[::-1])
    ring = [first, *np.stack([x, upper], -1), last, *np.stack([x_below, lower], -1)]
    return np.array(ring) * (1 if side else -1, 1)

  def _mouth_points(self, inner: float) -> np.ndarray:
    """(20, 2) float64 landmarks of the mouth: around the lips, then between them.

    `inner` is how far from the mid-line those between them lie, chart units.
    """
    above, below = self.mouth_outer(np.arange(7.0))
    inner_x = np.array([-inner, 0.0, inner])
    inner_above, inner_below = self.mouth_inner(inner_x)

    corner = np.array([0.262, float(_mouth_line(np.array(0.262)))])
    return np.concatenate(
      [
        above,
        below[5:0:-1],
        [corner * (-1, 1)],
        np.stack([inner_x, inner_above], -1),
        [corner],
        np.stack([inner_x, inner_below], -1)[::-1],
      ]
    )


def _mouth_line(x: np.ndarray) -> np.ndarray:
  """Height of the closed lips' line at chart x: a shallow bow that meets the corners."""
  bow = np.clip(np.abs(x) / MOUTH_CORNER[0], 0, 1.2) ** 2
  return MOUTH_LINE - (MOUTH_LINE - MOUTH_CORNER[1]) * bow


def jaw_paths(model: HeadModel, *, from_ears: bool = False) -> np.ndarray:
  """Lines over the cheeks along which the jaw landmarks may slide.

  Each starts well inside the face, passes the jaw line of the frontal mean face and ends at the
  anatomical edge of the jaw (in front of the ear, at the angle of the jaw, below the chin).

  Args:
    model: the head.
    from_ears: the first and the last line end at the root of the ear rather than a little way in
      front of it.

  Returns:
    (33, JAW_SAMPLES, 2) fractional column and row, from the inside outwards.
  """
  jaw = np.concatenate([_JAW, _JAW[-2::-1] * (-1, 1)])
  centre = np.stack([np.zeros(33), np.minimum(jaw[:, 1], 0.76)], -1)
  inside = model.grid_from_chart(jaw + 0.42 * (centre - jaw))
  border = model.grid_from_chart(jaw)

  # The edge: in front of the ear, round the angle of the jaw at 90 degrees from the mid-line, along
  # section JAW_EDGE below.
  half = np.arange(17)
  beside_ear = [EAR_DEGREES, 87, 89] if from_ears else [79, 83, 88]
  angle = np.interp(half, [0, 3, 5, 7, 9, 12, 16], np.radians([*beside_ear, 90, 80, 46, 0]))
  section = np.interp(
    half,
    [0, 2, 4, 6, 7, 8, 9, 10, 12, 16],
    [6.1, 7.05, 8.0, 9.6, 10.8, 12.0, 12.9, JAW_EDGE, JAW_EDGE, 13.6],
  )
  sections = np.concatenate([section, section[-2::-1]])
  column = np.concatenate([angle_column(-angle), angle_column(angle[-2::-1])])
  row = np.interp(sections, model.sections, np.arange(len(model.sections)))
  edge = np.stack([column, row], -1)

  # A quadratic through the three points, with the frontal border at three quarters of the way.
  t = np.linspace(0, 1, JAW_SAMPLES)[None, :, None]
  m = 0.75
  a, b, c = inside[:, None], border[:, None], edge[:, None]
  return a * (t - m) * (t - 1) / m + b * t * (t - 1) / (m * (m - 1)) + c * t * (t - m) / (1 - m)


def slide_jaw(facing: np.ndarray) -> np.ndarray:
  """Finds where each jaw path leaves the visible side of the head.

  Args:
    facing: (N, JAW_SAMPLES) float, normal times direction to the camera along each path; positive
      faces the camera.

  Returns:
    (N,) float position along each path in 0..JAW_SAMPLES-1: the first change of sign from the
    inside outwards, or else its end.
  """
  behind = facing[:, 1:] <= 0
  first = np.argmax(behind, axis=1)
  turns_away = behind.any(axis=1)
  k = np.arange(len(facing))
  before, after = facing[k, first], facing[k, first + 1]

  # A path that starts behind the silhouette stays at its start.
  fraction = np.where(before > 0, before / np.where(before > after, before - after, 1.0), 0.0)
  return np.where(turns_away, first + np.clip(fraction, 0, 1), facing.shape[1] - 1.0)


def outermost(facing: np.ndarray, distance: np.ndarray) -> np.ndarray:
  """Finds the outline that an image shows on each jaw path.

  Unlike `slide_jaw` it does not stop at the first fold that turns away, such as the one between
  lower lip and chin.

  Args:
    facing: (N, S) float, as for `slide_jaw`.
    distance: (N, S) float, of each sample from the middle of the face in the image.

  Returns:
    (N,) float position along each path: of the places where it turns away, and of its end if that
    faces the camera, the one farthest from the middle; or else its start.
  """
  before, after = facing[:, :-1], facing[:, 1:]
  turns = (before > 0) & (after <= 0)
  fraction = before / np.where(turns, before - after, 1.0)
  position = np.where(turns, np.arange(facing.shape[1] - 1) + fraction, 0.0)

  candidates = np.concatenate([position, np.full((len(facing), 1), facing.shape[1] - 1.0)], 1)
  valid = np.concatenate([turns, facing[:, -1:] > 0], 1)
  chosen = np.argmax(np.where(valid, distance, -1.0), 1)
  k = np.arange(len(facing))
  return np.where(valid[k, chosen], candidates[k, chosen], 0.0)


def even_positions(points: np.ndarray) -> np.ndarray:
  """Where to put landmarks so that they divide a line evenly between its two ends and its middle.

  Args:
    points: (2 n + 1, D) the line; its middle point stays where it is.

  Returns:
    (2 n + 1,) float64 position of each landmark among `points`, 0..2 n.
  """
  middle = len(points) // 2
  length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
  ends = np.interp(np.arange(len(points)), [0, middle, 2 * middle], length[[0, middle, -1]])
  return np.interp(ends, length, np.arange(len(points)))
