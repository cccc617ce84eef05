"""Faces on their side: the image is turned for the network, and the points are turned back."""

from pathlib import Path

import numpy as np
import pytest
import tiny_dataset

from fal_jax import affine, detect
from fal_jax.errors import InputError
from fal_jax.photos import faces
from fal_jax.photos.boxes import Boxes
from fal_jax.photos.sources import Frame
from fal_jax.predict import FaceAligner

SIZE = 90, 100


@pytest.mark.parametrize("views", [1, 2])
def test_a_turned_face_is_aligned_upright_and_its_points_are_the_image_s(workdir, views):
  aligner = FaceAligner.from_checkpoint(workdir, views=views)
  upright = tiny_dataset.draw_face(tiny_dataset.face_landmarks(999, SIZE), SIZE)
  boxes = np.array([[20.0, 15, 80, 80], [5, 5, 50, 60], [30, 20, 90, 90]])
  expected = aligner(upright, boxes)

  # The image is such that one counter-clockwise turn makes it upright.
  image = np.rot90(upright, -1)
  image_from_upright = detect.image_from_turned(*image.shape[:2], 1)
  corners = affine.apply(image_from_upright, boxes.reshape(-1, 2, 2))
  turned = np.concatenate([corners.min(1), corners.max(1)], -1)
  result = faces.align(
    np.ascontiguousarray(image), Boxes(turned, "test", quarter_turns=np.ones(3, int)), aligner
  )

  np.testing.assert_allclose(
    result.landmarks, affine.apply(image_from_upright, expected.landmarks), atol=1e-3
  )
  np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)
  # x and y have changed places, and one of them its sign.
  np.testing.assert_allclose(
    result.covariance, expected.covariance[..., ::-1, ::-1] * [[1, -1], [-1, 1]], atol=1e-3
  )
  if views > 1:
    np.testing.assert_allclose(result.uncertainty, expected.uncertainty, atol=1e-3)


@pytest.mark.parametrize(
  "box", [(9e3, 10, 9.1e3, 60), (-50, 10, -1, 60), (10, 90, 60, 99), (10, -9, 60, -1)]
)
def test_a_box_that_shows_nothing_of_the_image_is_refused(box):
  boxes = np.array([(-30.0, -20, 20, 20), box])  # the first reaches into it
  frame = Frame("a.png", Path("a.png"), np.zeros((*SIZE, 3), np.uint8))
  with pytest.raises(InputError, match="lies outside of the image, which has 100 x 90 px"):
    faces.predict(frame, lambda frame: Boxes(boxes, "test"), None, min_score=0)


def test_faces_of_several_turns_keep_their_order(workdir):
  aligner = FaceAligner.from_checkpoint(workdir)
  image = tiny_dataset.draw_face(tiny_dataset.face_landmarks(999, SIZE), SIZE)
  boxes = np.array([[20.0, 15, 80, 80], [5, 5, 50, 60], [30, 20, 90, 90]])
  turns = np.array([2, 0, 1])

  together = faces.align(image, Boxes(boxes, "test", quarter_turns=turns), aligner)

  for row in range(3):
    alone = Boxes(boxes[row : row + 1], "test", quarter_turns=turns[row : row + 1])
    expected = faces.align(image, alone, aligner)
    np.testing.assert_allclose(together.landmarks[row], expected.landmarks[0], atol=1e-3)
    np.testing.assert_allclose(together.covariance[row], expected.covariance[0], atol=1e-3)
