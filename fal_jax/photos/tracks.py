"""Faces of a video from frame to frame: a number for each, and the detector only now and then.

The box of a face in the next frame is predicted from its landmarks so far. The detector looks at
every `DETECT_EVERY`th frame, and at each frame in which there is no face yet, the score of one has
fallen, or one is followed that the detector did not see the last time.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from fal_jax.landmarks import box_iou, refined_boxes
from fal_jax.photos.boxes import Boxes, FindBoxes
from fal_jax.photos.faces import Face, Result
from fal_jax.photos.smoothing import Smoothed, smooth
from fal_jax.photos.sources import Frame

DETECT_EVERY = 10  # frames

# Least intersection over union of two boxes of one face. A detector's box has about 0.85 with that
# of the landmarks, those of two faces side by side have 0.
MIN_IOU = 0.3

# A face is lost if its mean score is below this fraction of what it was when the detector last saw
# it: the score halves where the box is off by a third of the face.
FALLEN = 0.75

# How often in a row the detector may miss a face that is not lost.
MAX_MISSES = 2

# A movement is continued for as long at most to predict the next box: across a gap it says nothing.
MAX_LEAD = 0.1  # s

Align = Callable[[np.ndarray, Boxes], tuple[Face, ...]]


@dataclasses.dataclass(frozen=True)
class _Track:
  """What is remembered of a face.

  Attributes:
    number: from 1; no other face of the video gets it.
    face: the face in its last frame, not smoothed.
    corners: of the box of its landmarks, (2, 2), filtered.
    level: its score when the detector last saw it.
    misses: how often the detector has missed it since.
    smoothed: its landmarks, filtered; None before they are asked for.
  """

  number: int
  face: Face
  corners: Smoothed
  level: float
  misses: int
  smoothed: Smoothed | None


class Tracker:
  """The faces of one video, frame after frame.

  Attributes:
    started: how many faces there were so far.
    searches: how often the detector has looked.
  """

  def __init__(
    self,
    find_boxes: FindBoxes,
    align: Align,
    *,
    follow: bool = True,
    smooth: bool = False,
    min_score: float = 0.0,
    detect_every: int = DETECT_EVERY,
  ):
    """Starts without faces.

    Args:
      find_boxes: gives the boxes of the faces in a frame: the detector.
      align: image (H, W, 3) uint8 RGB and boxes of N faces -> the N faces.
      follow: whether boxes follow the landmarks. False takes the boxes of `find_boxes` in each
        frame, which suits boxes that are given, and networks that need the detector's own.
      smooth: whether landmarks are filtered; see `smoothing`.
      min_score: mean landmark score below which a face is left out of a frame.
      detect_every: the detector looks at one frame in this many at least.
    """
    self.started = 0
    self.searches = 0
    self._find_boxes = find_boxes
    self._align = align
    self._follow = follow
    self._smooth = smooth
    self._min_score = min_score
    self._detect_every = detect_every if follow else 1
    self._frames = 0
    self._box_source = ""
    self._tracks: list[_Track] = []

  def __call__(self, frame: Frame) -> Result:
    """The faces of the next frame.

    Args:
      frame: with an image, and a time later than that of the frame before.

    Returns:
      The faces, in the order of their numbers.
    """
    assert frame.image is not None and frame.seconds is not None
    expected = self._expected(frame.seconds)
    followed = self._align(frame.image, expected) if self._follow and self._tracks else ()
    lost = [
      face.score < FALLEN * track.level for track, face in zip(self._tracks, followed, strict=False)
    ]

    due = self._frames % self._detect_every == 0
    unsure = any(lost) or any(track.misses for track in self._tracks)
    self._frames += 1
    if due or unsure or not self._tracks:
      self._tracks = self._searched(frame, expected, followed, lost)
    else:
      self._tracks = [
        self._track(track, face, frame.seconds)
        for track, face in zip(self._tracks, followed, strict=True)
      ]

    faces = [self._shown(track, frame) for track in self._tracks]
    keep = [face for face in faces if face.score >= self._min_score]
    drop = [face for face in faces if face.score < self._min_score]
    return Result(frame, tuple(keep), tuple(drop), self._box_source)

  def _expected(self, seconds: float) -> Boxes:
    """Where the faces should be at a time."""
    boxes = [_predicted_box(track.corners, seconds) for track in self._tracks]
    turns = [track.face.quarter_turns for track in self._tracks]
    return Boxes(
      np.array(boxes, np.float64).reshape(-1, 4),
      self._box_source,
      quarter_turns=np.array(turns, int),
    )

  def _searched(
    self, frame: Frame, expected: Boxes, followed: Sequence[Face], lost: Sequence[bool]
  ) -> list[_Track]:
    """Compares the faces that were followed into a frame with those that the detector sees.

    Args:
      frame: with T tracks so far.
      expected: boxes of T faces, where they were looked for.
      followed: the T faces that are in them; none if boxes are not followed.
      lost: of each of these, whether it is a face no longer.

    Returns:
      The tracks that go on, and new ones.
    """
    assert frame.image is not None and frame.seconds is not None
    self.searches += 1
    found = self._find_boxes(frame)
    self._box_source = found.source
    here = np.array([self._next_box(face) for face in followed]) if followed else expected.boxes
    overlaps = np.nan_to_num(box_iou(here[:, None], found.boxes[None]))
    seen = _pairs(overlaps)

    # Landmarks in a box of landmarks are better than those in a detector's: only lost faces that
    # are seen elsewhere, and new ones, are looked at again. What overlaps a face is not new.
    tracks = [
      self._track(track, face, frame.seconds, misses=0 if row in seen else track.misses + 1)
      for row, (track, face) in enumerate(zip(self._tracks, followed, strict=False))
      if not lost[row] and (row in seen or track.misses < MAX_MISSES)
    ]
    again = [row for row in seen if not followed or lost[row]]
    new = np.flatnonzero(overlaps.max(0, initial=0) < MIN_IOU).tolist()
    columns = [*(seen[row] for row in again), *new]
    aligned = self._align(frame.image, _some(found, columns)) if columns else ()
    for row, face in zip([*again, *[None] * len(new)], aligned, strict=True):
      previous = None if row is None else self._tracks[row]
      tracks.append(self._track(previous, face, frame.seconds, misses=0, jumped=bool(followed)))
    return sorted(tracks, key=lambda track: track.number)

  def _track(
    self,
    previous: _Track | None,
    face: Face,
    seconds: float,
    *,
    misses: int | None = None,
    jumped: bool = False,
  ) -> _Track:
    """What is to be remembered of a face.

    Args:
      previous: what was; None of a new face.
      face: where it is now.
      seconds: the time.
      misses: how often the detector has missed it; None if it was not asked.
      jumped: whether the face was lost in between, so that filters start anew.

    Returns:
      The track.
    """
    if previous is None:
      self.started += 1
    number = self.started if previous is None else previous.number
    before = None if jumped else previous
    box = self._next_box(face)
    size = float(np.sqrt(np.prod(box[2:] - box[:2])))

    corners = before.corners if before else None
    smoothed = before.smoothed if before else None
    return _Track(
      number=number,
      face=face,
      corners=smooth(box.reshape(2, 2), corners, seconds=seconds, size=size),
      level=face.score if misses == 0 or previous is None else previous.level,
      misses=misses or 0,
      smoothed=smooth(face.landmarks, smoothed, seconds=seconds, size=size)
      if self._smooth
      else None,
    )

  def _next_box(self, face: Face) -> np.ndarray:
    """(4,) image px: the box that stands for a face in the frames to come."""
    if not self._follow:
      return face.box
    return refined_boxes(face.landmarks[None], face.box[None])[0]

  def _shown(self, track: _Track, frame: Frame) -> Face:
    """The face as it is written down."""
    points = track.face.landmarks if track.smoothed is None else track.smoothed.points
    return dataclasses.replace(
      track.face, id=f"{frame.id}#{track.number}", track=track.number, landmarks=points
    )


def _predicted_box(corners: Smoothed, seconds: float) -> np.ndarray:
  """(4,) x0, y0, x1, y1: where a box with these corners (2, 2) should be at a time.

  The velocity of the filter includes what the filter lags behind: in even motion the prediction is
  exact.
  """
  size = np.sqrt(np.prod(corners.points[1] - corners.points[0]))
  lead = min(seconds - corners.seconds, MAX_LEAD)
  predicted = corners.points + corners.velocity * size * lead
  has_area = (predicted[1] > predicted[0]).all()
  return (predicted if has_area else corners.points).reshape(4)


def _pairs(overlaps: np.ndarray) -> dict[int, int]:
  """Row -> column of overlaps (T, N) that belong together: the largest sum, of large ones alone."""
  large = np.where(overlaps >= MIN_IOU, overlaps, 0)
  rows, columns = linear_sum_assignment(large, maximize=True)
  return {
    row: column
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    if large[row, column]
  }


def _some(boxes: Boxes, rows: Sequence[int]) -> Boxes:
  """Some of the boxes."""
  index = np.array(rows, int)
  return dataclasses.replace(
    boxes,
    boxes=boxes.boxes[index],
    scores=None if boxes.scores is None else boxes.scores[index],
    quarter_turns=None if boxes.quarter_turns is None else boxes.quarter_turns[index],
    ids=None,
  )
