"""Maps from detectors' boxes to landmark boxes: their geometry, and on real faces."""

from types import SimpleNamespace

import face_detectors
import genuine_files
import numpy as np
import pytest

from fal_jax.detect import boxes
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.landmarks import box_iou, tight_boxes
from tfds_builders.common import pts

BY_CORNERS = (
  boxes.from_yunet,
  boxes.from_mtcnn,
  boxes.from_blazeface,
  boxes.from_scrfd,
  boxes.from_retinaface,
)


def some_boxes(seed=0, count=20):
  rng = np.random.default_rng(seed)
  corner = rng.uniform(-50, 500, (count, 2))
  return np.concatenate([corner, corner + rng.uniform(5, 300, (count, 2))], -1)


@pytest.mark.parametrize("convert", BY_CORNERS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 7.5])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (-31.5, 12.25)])
def test_a_map_commutes_with_scaling_and_moving_the_image(convert, scale, shift):
  given = some_boxes()
  move = np.tile(shift, 2)

  np.testing.assert_allclose(convert(given * scale + move), convert(given) * scale + move)


def test_a_box_of_yunet_is_moved_and_shrunk_in_units_of_its_size():
  right, down, width, height = boxes.YUNET
  centre = np.array([100 + 40 * right, 200 + 40 * down])  # sqrt(32 * 50) = 40
  half = 20 * np.array([width, height])

  (converted,) = boxes.from_yunet([[84, 175, 116, 225]])

  np.testing.assert_allclose(converted, [*(centre - half), *(centre + half)])
  assert converted[1] > 175 + 4  # brows, not hair


def test_mediapipe_s_fractions_are_of_the_image_s_edges():
  relative = np.array([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.5, 0.125]])

  converted = boxes.from_mediapipe(relative, height=80, width=40)

  corners = [[-0.5, -0.5, 39.5, 79.5], [9.5, 39.5, 29.5, 49.5]]
  np.testing.assert_allclose(converted, boxes.from_blazeface(corners))


def test_the_last_column_and_row_of_a_rectangle_of_dlib_are_inside():
  sides = {"left": 10, "top": 20, "right": 19, "bottom": 29}
  rectangle = SimpleNamespace(**{name: lambda value=value: value for name, value in sides.items()})

  converted = boxes.from_dlib([rectangle])

  np.testing.assert_allclose(converted, boxes.apply(boxes.DLIB, [[9.5, 19.5, 19.5, 29.5]]))
  assert boxes.from_dlib([]).shape == (0, 4)


@pytest.mark.parametrize("convert", [boxes.from_scrfd, boxes.from_retinaface])
def test_a_score_after_the_corners_is_left_out(convert):
  rows = np.column_stack([some_boxes(), np.linspace(1, 0.5, 20)])
  np.testing.assert_array_equal(convert(rows), convert(rows[:, :4]))


@pytest.mark.parametrize("convert", BY_CORNERS)
def test_no_box_gives_no_box_and_three_numbers_are_refused(convert):
  assert convert([]).shape == convert(np.zeros((0, 4))).shape == (0, 4)
  with pytest.raises(InputError, match=r"shape \(N, 4\), four numbers for each face, got \(2, 3\)"):
    convert(np.ones((2, 3)))


def test_a_rule_is_measured_back_from_the_boxes_that_it_made():
  rule = boxes.Rule(-0.03, 0.2, 0.8, 0.9)
  given = some_boxes()
  made = boxes.apply(rule, given)
  made[:3] += 40  # a few faces cannot move a median far

  assert boxes.measure(given[3:], made[3:]) == pytest.approx(rule)
  assert boxes.measure(given, made) == pytest.approx(rule, abs=0.2)


@pytest.mark.parametrize("name", face_detectors.NAMES)
def test_real_faces_are_found_by_boxes_like_those_around_their_landmarks(name):
  folder = genuine_files.path("300w", "lfpw", "trainset")
  detector = face_detectors.loaded(name)

  overlaps = []
  for file in sorted(folder.glob("*.jpg"))[:250:10]:  # held out: they did not measure the rule
    landmarks = pts.read_pts(file.with_suffix(".pts"), num_landmarks=68, origin=1)
    found = detector.find(read_image(file)).boxes
    overlaps.append(box_iou(found, tight_boxes(landmarks[None])).max(initial=0))

  assert len(overlaps) == 25
  assert np.mean(overlaps) > 0.84
  assert np.min(overlaps) > 0.4
