"""What is common to all detectors: sizes, frames, turned images, odd input."""

import subprocess
import sys
import threading
from pathlib import Path

import face_detectors
import numpy as np
import pytest

from fal_jax import affine, detect
from fal_jax.detect.detector import Detector
from fal_jax.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def squares():
  return face_detectors.BrightSquares()


@pytest.fixture
def detector(squares):
  return Detector("squares", squares, lambda boxes: boxes)


def image_of(size, box):
  """(H, W, 3) uint8, black, but for a square x0, y0, x1, y1 whose lower half is darker."""
  image = np.zeros((*size, 3), np.uint8)
  left, top, right, bottom = box
  image[top:bottom, left:right] = 200
  image[top : (top + bottom) // 2, left:right] = 255
  return image


@pytest.mark.parametrize(
  ("size", "searched"),
  [
    ((480, 640), (480, 640)),  # as it is
    ((300, 200), (300, 200)),  # not enlarged
    ((3000, 4000), (480, 640)),
    ((1280, 321), (640, 160)),
    ((20_000, 2), (640, 1)),
  ],
)
def test_the_longer_side_that_is_searched_has_at_most_640_px(detector, squares, size, searched):
  detector.find(image_of(size, (0, 0, size[1], size[0])))
  assert squares.sizes == [searched]


@pytest.mark.parametrize(
  ("size", "searched"),
  [((480, 640), (960, 1280)), ((3000, 4000), (960, 1280)), ((90, 120), (180, 240))],
)
def test_small_faces_are_searched_at_1280_px_or_twice_the_size(detector, squares, size, searched):
  detector.find(image_of(size, (0, 0, size[1], size[0])), small=True)
  assert squares.sizes == [searched]

  squares.sizes.clear()
  found = detector.find(np.zeros((*size, 3), np.uint8))  # nothing: looked for small ones, too
  assert squares.sizes[-1] == searched
  assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("small", [False, True])
def test_boxes_are_in_pixel_centre_coordinates_of_the_image(detector, factor, small):
  box = np.array([160, 240, 320, 480])
  image = image_of((480 * factor, 640 * factor), box * factor // 4 * 4)

  (found,) = detector.find(image, small=small).boxes

  # The square's first pixel begins half a pixel before its centre; bilinear enlargement blurs.
  np.testing.assert_allclose(found, box * factor - 0.5, atol=0.75 if small and factor < 2 else 1e-9)


@pytest.mark.parametrize("quarter_turns", range(4))
def test_a_turned_face_is_found_in_the_turn_that_shows_it_surest(detector, quarter_turns):
  upright = image_of((300, 400), (120, 40, 200, 160))
  image = np.rot90(upright, -quarter_turns)

  found = detector.find(image, turned=True)

  assert found.quarter_turns.tolist() == [quarter_turns]
  height, width = image.shape[:2]
  image_from_turned = detect.image_from_turned(height, width, quarter_turns)
  corners = affine.apply(image_from_turned, np.array([[119.5, 39.5], [199.5, 159.5]]))
  np.testing.assert_allclose(found.boxes[0], [*corners.min(0), *corners.max(0)])
  assert detector.find(image).quarter_turns.tolist() == [0]


@pytest.mark.parametrize("quarter_turns", range(-1, 5))
def test_the_map_from_the_turned_image_names_the_pixel_that_it_shows(quarter_turns):
  image = np.arange(35).reshape(5, 7)
  turned = np.rot90(image, quarter_turns)
  rows, columns = np.indices(turned.shape)

  image_from_turned = detect.image_from_turned(5, 7, quarter_turns)
  x, y = affine.apply(image_from_turned, np.stack([columns, rows], -1).astype(float)).T.astype(int)

  np.testing.assert_array_equal(image[y.T, x.T], turned)


@pytest.mark.parametrize(
  "image",
  [
    np.zeros((4, 4), np.uint8),
    np.zeros((4, 4, 4), np.uint8),
    np.zeros((4, 4, 3)),
    np.zeros((0, 4, 3), np.uint8),
  ],
)
def test_what_is_not_an_rgb_image_is_one_sentence(detector, image):
  with pytest.raises(InputError, match=r"uint8 RGB of shape \(H, W, 3\), got"):
    detect.find_faces(image, detector=detector)


def test_threads_take_turns_with_one_detector(detector):
  busy = threading.Lock()
  collisions = []

  def detect_alone(image):
    if not busy.acquire(blocking=False):
      collisions.append(True)
      return np.zeros((0, 4)), np.zeros(0, np.float32)
    threading.Event().wait(0.002)
    busy.release()
    return np.ones((1, 4)), np.ones(1, np.float32)

  shared = Detector("slow", detect_alone, lambda boxes: boxes)
  image = np.zeros((8, 8, 3), np.uint8)
  threads = [threading.Thread(target=shared.find, args=(image,)) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()

  assert not collisions


def test_finding_faces_waits_for_no_heavy_library():
  heavy = ("jax", "flax", "orbax", "grain", "tensorflow_datasets", "matplotlib", "scipy", "PIL")
  program = f"import sys, fal_jax.detect; print([name for name in {heavy} if name in sys.modules])"
  result = subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "[]"
