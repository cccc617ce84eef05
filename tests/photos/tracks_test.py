"""Faces of a made-up video: who is who, when the detector looks, and who is lost."""

from pathlib import Path

import numpy as np
import pytest

from fal_jax.landmarks import box_iou
from fal_jax.photos.boxes import Boxes
from fal_jax.photos.faces import Face
from fal_jax.photos.smoothing import smooth
from fal_jax.photos.sources import Frame
from fal_jax.photos.tracks import DETECT_EVERY, MAX_MISSES, Tracker

SIZE = 40.0
SHAPE = np.random.default_rng(0).uniform(0, SIZE, (9, 2))
SHAPE[:2] = [0, 0], [SIZE, SIZE]  # tight boxes are squares of this size
RATE = 25.0


class World:
  """What there is to see; the landmarks of a face are right if the box has half of it.

  `faces` are their left upper corners, px; `detector_sees` says which of them the detector finds.
  Its boxes are `SIZE` / 8 too large on all sides.
  """

  def __init__(self):
    self.faces: list[tuple[float, float]] = []
    self.detector_sees: list[int] | None = None
    self.score = 0.9
    self.looked_in: list[np.ndarray] = []

  def find(self, frame: Frame) -> Boxes:
    seen = range(len(self.faces)) if self.detector_sees is None else self.detector_sees
    boxes = [self._box(self.faces[k], SIZE / 8) for k in seen]
    return Boxes(np.reshape(boxes, (-1, 4)), "made-up", scores=np.ones(len(boxes)))

  def align(self, image: np.ndarray, boxes: Boxes) -> tuple[Face, ...]:
    self.looked_in += list(boxes.boxes)
    return tuple(map(self._face, boxes.boxes))

  def _box(self, corner: tuple[float, float], margin: float = 0.0) -> np.ndarray:
    return np.array([*np.subtract(corner, margin), *np.add(corner, SIZE + margin)])

  def _face(self, box: np.ndarray) -> Face:
    overlaps = [float(box_iou(box, self._box(corner))) for corner in self.faces]
    best = int(np.argmax(overlaps)) if overlaps else -1
    there = bool(overlaps) and overlaps[best] > 0.5
    points = SHAPE + (self.faces[best] if there else box[:2])
    scores = np.full(len(SHAPE), self.score if there else 0.3, np.float32)
    return Face("", box, None, 0, points, scores, np.zeros((len(SHAPE), 2, 2)), None)


@pytest.fixture
def world():
  return World()


def run(tracker, count=1, first=0, world=None, motion=None):
  """Results of some frames; `motion(number)` gives the faces of each."""
  results = []
  for number in range(first, first + count):
    if motion is not None:
      world.faces = motion(number)
    image = np.zeros((4, 4, 3), np.uint8)
    results.append(tracker(Frame(f"v@{number:06d}", Path("v"), image, seconds=number / RATE)))
  return results


def numbers(result):
  return [face.track for face in result.faces]


def test_faces_keep_their_numbers_while_they_move_and_change_their_order(world):
  """Two faces pass each other at 1.5 px per frame, and the detector lists the right one first."""
  tracker = Tracker(world.find, world.align)

  results = run(tracker, 40, world=world, motion=lambda t: [(90 - 1.5 * t, 60), (10 + 1.5 * t, 0)])

  assert all(numbers(result) == [1, 2] for result in results)
  np.testing.assert_allclose(results[39].faces[0].landmarks, SHAPE + np.array([90 - 1.5 * 39, 60]))
  np.testing.assert_allclose(results[39].faces[1].landmarks, SHAPE + np.array([10 + 1.5 * 39, 0]))
  assert tracker.started == 2
  assert results[7].faces[1].id == "v@000007#2"


def test_the_detector_looks_at_every_tenth_frame(world):
  world.faces = [(10, 10)]
  tracker = Tracker(world.find, world.align)

  run(tracker, 3 * DETECT_EVERY)

  assert tracker.searches == 3


def test_a_face_is_followed_at_a_speed_at_which_its_last_box_would_lose_it(world):
  """At 0.9 face sizes per frame the last box has nothing of the face; the movement began slowly."""
  place = np.concatenate([np.linspace(0, 0.9, 40), np.full(15, 0.9)]).cumsum() * SIZE
  tracker = Tracker(world.find, world.align, detect_every=1000)

  results = run(tracker, 55, world=world, motion=lambda t: [(place[t], 5)])

  assert [numbers(result) for result in results] == [[1]] * 55
  assert tracker.searches == 1


def test_a_face_at_rest_is_looked_at_in_one_box(world):
  """Not in the detector's, except in the first frame."""
  world.faces = [(10, 10)]
  tracker = Tracker(world.find, world.align)

  run(tracker, 25)

  np.testing.assert_allclose(world.looked_in[0], world._box((10, 10), SIZE / 8))
  np.testing.assert_allclose(world.looked_in[1:], [world._box((10, 10))] * 24)


def test_when_the_score_falls_the_detector_looks_at_once_and_finds_where_the_face_went(world):
  world.faces = [(10, 10)]
  tracker = Tracker(world.find, world.align)
  run(tracker, 5)

  world.faces = [(30, 10)]  # half out of its box, and the detector's box still overlaps it
  (after,) = run(tracker, 1, first=5)

  assert tracker.searches == 2
  assert numbers(after) == [1]
  np.testing.assert_allclose(after.faces[0].landmarks, SHAPE + np.array([30, 10]))
  assert all(numbers(result) == [1] for result in run(tracker, 4, first=6))
  assert tracker.searches == 2  # it is followed from there


def test_after_a_cut_the_faces_are_new_and_no_number_comes_twice(world):
  world.faces = [(10, 10), (100, 10)]
  tracker = Tracker(world.find, world.align)
  run(tracker, 5)

  world.faces = [(10, 100)]
  (after,) = run(tracker, 1, first=5)

  assert numbers(after) == [3]


def test_a_face_that_has_gone_is_not_written_down_and_is_new_when_it_returns(world):
  world.faces = [(10, 10)]
  tracker = Tracker(world.find, world.align)
  run(tracker, 5)

  world.faces = []
  gone = run(tracker, 3, first=5)
  world.faces = [(12, 10)]
  (back,) = run(tracker, 1, first=8)

  assert [numbers(result) for result in gone] == [[], [], []]
  assert tracker.searches == 1 + 3 + 1  # without a face the detector looks at each frame
  assert numbers(back) == [2]


def test_a_face_that_the_detector_misses_is_kept_for_a_while(world):
  world.faces = [(10, 10)]
  tracker = Tracker(world.find, world.align)
  run(tracker, DETECT_EVERY)

  world.detector_sees = []
  missed = run(tracker, MAX_MISSES + 1, first=DETECT_EVERY)

  assert [numbers(result) for result in missed] == [[1]] * MAX_MISSES + [[]]


def test_a_face_that_the_detector_misses_once_goes_on(world):
  world.faces = [(10, 10)]
  tracker = Tracker(world.find, world.align)
  run(tracker, DETECT_EVERY)

  world.detector_sees = []
  run(tracker, 1, first=DETECT_EVERY)
  world.detector_sees = None
  later = run(tracker, 20, first=DETECT_EVERY + 1)

  assert all(numbers(result) == [1] for result in later)
  assert tracker.searches == 2 + 1 + 2  # twice in time, once again, and twice in time


def test_a_face_that_comes_later_is_found_and_the_first_keeps_its_number(world):
  world.faces = [(10, 10)]
  tracker = Tracker(world.find, world.align)
  run(tracker, 3)

  world.faces = [(100, 10), (10, 10)]
  results = run(tracker, DETECT_EVERY, first=3)

  assert [numbers(result) for result in results[-3:]] == [[1, 2]] * 3
  np.testing.assert_allclose(results[-1].faces[1].landmarks, SHAPE + np.array([100, 10]))


def test_given_boxes_are_taken_in_each_frame_and_the_landmarks_do_not_move_them(world):
  world.faces = [(10, 10)]
  boxes = np.array([[0, 0, 60, 60], [100, 100, 160, 160.0]])
  tracker = Tracker(lambda frame: Boxes(boxes, "flag"), world.align, follow=False)

  results = run(tracker, 12)

  assert all(numbers(result) == [1, 2] for result in results)
  assert np.unique(world.looked_in, axis=0).tolist() == boxes.tolist()
  assert len(world.looked_in) == 24


def test_faces_below_the_score_are_dropped_from_the_frame_and_still_followed(world):
  world.faces = [(10, 10)]
  tracker = Tracker(world.find, world.align, min_score=0.8)
  run(tracker, 3)
  world.score = 0.75
  (low,) = run(tracker, 1, first=3)
  world.score = 0.9
  (high,) = run(tracker, 1, first=4)

  assert numbers(low) == [] and [face.track for face in low.dropped] == [1]
  assert numbers(high) == [1]


def test_smoothing_filters_what_is_written_and_not_what_is_followed(world):
  rng = np.random.default_rng(0)
  places = 50 + rng.normal(0, 1, (20, 2))
  plain_world, plain = World(), []
  for smoothed, seen, results in ((False, plain_world, plain), (True, world, [])):
    tracker = Tracker(seen.find, seen.align, smooth=smoothed)
    results += run(tracker, 20, world=seen, motion=lambda t: [tuple(places[t])])

  state = None
  for number, before in enumerate(plain):
    points = before.faces[0].landmarks
    state = smooth(points, state, seconds=number / RATE, size=SIZE)
    np.testing.assert_allclose(results[number].faces[0].landmarks, state.points)
  np.testing.assert_array_equal(world.looked_in, plain_world.looked_in)
  assert np.abs(results[-1].faces[0].landmarks - plain[-1].faces[0].landmarks).max() > 0.1
