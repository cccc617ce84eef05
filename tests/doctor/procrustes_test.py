"""Mean shapes and distances to them: blind to position, size and rotation, and to nothing else."""

import numpy as np
import pytest
from scipy.spatial import procrustes as scipy_procrustes

from fal_jax.doctor import procrustes
from fal_jax.landmarks import MARKUPS

FLIP = MARKUPS[68].flip


def symmetric_shape(seed: int = 0) -> np.ndarray:
  """(68, 2), its own mirror image under the permutation; mirrored landmarks are far apart."""
  shape = np.random.default_rng(seed).uniform(-1, 1, (68, 2))
  return (shape + shape[FLIP] * [-1, 1]) / 2


def moved(shape: np.ndarray, count: int, *, noise: float = 0.0, turn: float = 0.4) -> np.ndarray:
  """(count, K, 2) copies of a shape (K, 2), turned, scaled and shifted at random."""
  rng = np.random.default_rng(1)
  angles = rng.uniform(-turn, turn, count)
  turns = np.array([[np.cos(angles), np.sin(angles)], [-np.sin(angles), np.cos(angles)]])
  noisy = shape + noise * rng.standard_normal((count, *shape.shape))
  scaled = rng.uniform(50, 200, (count, 1, 1)) * noisy
  return scaled @ np.moveaxis(turns, -1, 0) + rng.uniform(0, 500, (count, 1, 2))


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_mean_of_moved_copies_is_the_shape_and_each_is_at_distance_zero(missing):
  shape = symmetric_shape()
  faces = moved(shape, 30)
  faces[np.random.default_rng(2).uniform(size=faces.shape[:2]) < missing] = np.nan

  mean = procrustes.mean_shape(faces)

  *_, disparity = scipy_procrustes(shape, mean)
  assert disparity < 1e-4 if missing else disparity < 1e-20
  assert np.linalg.norm(mean, axis=-1).mean() == pytest.approx(1, abs=0.1)
  assert procrustes.distances(faces, mean).max() < (0.02 if missing else 1e-9)


def test_distances_are_those_of_scipy():
  faces = moved(symmetric_shape(), 12, noise=0.2)
  mean = procrustes.mean_shape(faces)

  # SciPy scales both to one, and returns the residual sum of squares.
  expected = [np.sqrt(scipy_procrustes(mean, face)[2]) for face in faces]
  np.testing.assert_allclose(procrustes.distances(faces, mean), expected, atol=1e-9)


def test_the_mean_is_as_upright_as_the_faces():
  shape = symmetric_shape()

  mean = procrustes.mean_shape(moved(shape, 200))

  turn = np.linalg.lstsq(shape - shape.mean(0), mean, rcond=None)[0]
  assert abs(np.degrees(np.arctan2(turn[0, 1], turn[0, 0]))) < 3


def test_a_mirrored_face_is_far_unless_mirrors_count_as_one_shape():
  shape = np.random.default_rng(3).uniform(-1, 1, (39, 2))
  faces = moved(shape, 20)
  faces[5:8, :, 0] *= -1

  far = procrustes.distances(faces, procrustes.mean_shape(faces))
  assert far[5:8].min() > 3 * np.delete(far, [5, 6, 7]).max()

  mean = procrustes.mean_shape(faces, mirror_invariant=True)
  assert procrustes.distances(faces, mean, mirror_invariant=True).max() < 1e-9


def test_faces_without_extent_have_no_distance_and_do_not_affect_the_mean():
  faces = moved(symmetric_shape(), 9)
  mean = procrustes.mean_shape(faces)

  # Without a landmark, all landmarks in one point, and a single landmark.
  faces = np.concatenate([faces, np.full((1, 68, 2), np.nan), np.full((1, 68, 2), 7.0), faces[:1]])
  faces[-1, 1:] = np.nan

  np.testing.assert_allclose(procrustes.mean_shape(faces), mean, atol=1e-9)
  assert np.isnan(procrustes.distances(faces, mean)[-3:]).all()


def test_a_symmetric_shape_agrees_with_its_mirror_and_a_wrong_pair_is_found():
  mean = procrustes.mean_shape(moved(symmetric_shape(), 5))

  mirror, distance, nearest, gap = procrustes.mirror_disagreement(mean, FLIP)
  np.testing.assert_allclose(mirror, mean, atol=1e-9)
  assert distance.max() < 1e-9
  assert gap.max() < 1e-9
  assert (nearest == FLIP).all()

  wrong = FLIP.copy()
  wrong[[31, 35, 32, 34]] = 34, 32, 35, 31
  _, distance, nearest, _ = procrustes.mirror_disagreement(mean, wrong)
  assert set(np.flatnonzero(nearest != wrong)) == {31, 32, 34, 35}
  assert (nearest == FLIP).all()
  assert distance[[31, 32, 34, 35]].min() > 2 * np.delete(distance, [31, 32, 34, 35]).max()


def test_a_landmark_that_is_never_annotated_is_unknown_in_the_mean():
  faces = moved(symmetric_shape(), 5)
  faces[:, 7] = np.nan

  mean = procrustes.mean_shape(faces)

  assert np.isnan(mean[7]).all()
  assert np.isfinite(np.delete(mean, 7, 0)).all()
  _, distance, _, _ = procrustes.mirror_disagreement(mean, FLIP)
  assert set(np.flatnonzero(np.isnan(distance))) == {7, int(FLIP[7])}
