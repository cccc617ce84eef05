"""Drawings: the marks are where the landmarks are, and can be seen on tiny and on huge faces."""

import cv2
import drawings
import numpy as np
import pytest

from fal_jax.landmarks import MARKUPS
from fal_jax.photos import overlay
from fal_jax.photos.faces import Face

K = 68
POINT, BOX = (255, 40, 200), (64, 255, 128)


def face(box, name="a.jpg"):
  """A face whose landmarks lie on a grid in its box."""
  x0, y0, x1, y1 = box
  grid = np.stack(np.meshgrid(np.linspace(x0, x1, 10)[1:-1], np.linspace(y0, y1, 11)[1:-1]), -1)
  points = np.concatenate([grid.reshape(-1, 2)] * 2)[:K]
  return Face(name, np.array(box, float), None, 0, points, np.ones(K), np.zeros((K, 2, 2)), None)


def draw(height, width, *boxes):
  image = np.full((height, width, 3), 127, np.uint8)
  return overlay.draw(image, [face(box) for box in boxes], MARKUPS[K])


@pytest.mark.parametrize(("size", "side"), [(640, 8), (640, 100), (4500, 4000)])
def test_the_box_and_all_landmarks_of_a_face_of_any_size_are_seen(size, side):
  box = np.array([0.1 * size, 0.05 * size, 0.1 * size + side, 0.05 * size + side])
  drawn = draw(size, size, box)

  scale = len(drawn) / size
  assert max(drawn.shape) <= 2560
  assert scale * side >= 30
  left, top = ((box[:2] + 0.5) * scale - 0.5).round().astype(int)
  green = drawings.where(drawn, BOX, tolerance=80)
  assert green[top - 2 : top + 3, left : left + int(scale * side)].any(0).mean() > 0.7

  magenta = drawings.where(drawn, POINT, tolerance=80)
  for x, y in (face(box).landmarks + 0.5) * scale - 0.5:
    column, row = round(x), round(y)
    assert magenta[row - 1 : row + 2, column - 1 : column + 2].any(), (x, y)


def test_all_faces_are_on_one_drawing_which_keeps_the_size_of_a_usual_image():
  drawn = draw(600, 800, [50, 50, 200, 200], [400, 300, 550, 450])
  assert drawn.shape == (600, 800, 3)
  magenta = drawings.where(drawn, POINT)
  assert magenta[50:200, 50:200].any() and magenta[300:450, 400:550].any()
  assert not magenta[:, 600:].any()


def test_a_face_beyond_the_image_and_none_are_drawn_too():
  assert draw(100, 100, [-1e6, -1e6, -1e5, -1e5], [90, 90, 500, 500]).shape == (100, 100, 3)
  np.testing.assert_array_equal(draw(50, 60), np.full((50, 60, 3), 127))


def test_the_file_is_the_drawing():
  drawn = draw(60, 80, [10, 10, 50, 50])
  decoded = cv2.imdecode(np.frombuffer(overlay.jpeg(drawn), np.uint8), cv2.IMREAD_COLOR_RGB)
  assert decoded.shape == drawn.shape
  assert np.abs(decoded.astype(int) - drawn).mean() < 8
