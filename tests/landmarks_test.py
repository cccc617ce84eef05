"""Mark-ups: names, edges, and mirror pairs checked against real annotations."""

import os
import pathlib

import numpy as np
import pytest

from fal_jax import landmarks
from fal_jax.errors import InputError

ALL = sorted(landmarks.MARKUPS)
TWO_EYED = [68, 51, 98, 29, 19]


def _annotations(name: str) -> np.ndarray:
  """(N, K, 2) landmarks of real faces."""
  root = os.environ.get("FAL_JAX_TEST_DATA")
  if not root:
    pytest.skip("FAL_JAX_TEST_DATA is not set: no real annotations to check against")

  path = pathlib.Path(root, "annotations", f"{name}.npz")
  if not path.is_file():
    pytest.skip(f"{path} does not exist: no real annotations to check against")

  with np.load(path, allow_pickle=False) as archive:
    return archive["landmarks"]


def _mean_shape(faces: np.ndarray) -> np.ndarray:
  """(N, K, 2) -> (K, 2), each face centred on its box and divided by the larger side first."""
  low, high = faces.min(1, keepdims=True), faces.max(1, keepdims=True)
  return ((faces - (low + high) / 2) / (high - low).max(-1, keepdims=True)).mean(0)


@pytest.mark.parametrize("num", ALL)
def test_a_mark_up_has_as_many_names_as_its_number_says_and_no_name_twice(num):
  markup = landmarks.markup(num)
  assert markup.num == num == len(markup.names) == len(set(markup.names))


@pytest.mark.parametrize("num", ALL)
def test_mirroring_twice_changes_nothing(num):
  flip = landmarks.markup(num).flip
  assert flip.dtype == np.int32
  assert flip.shape == (num,)
  np.testing.assert_array_equal(flip[flip], np.arange(num))


def test_the_flip_permutation_cannot_be_changed_by_accident():
  with pytest.raises(ValueError, match="read-only"):
    landmarks.MARKUPS[68].flip[0] = 3


@pytest.mark.parametrize(
  ("num", "pairs", "alone"),
  [
    (68, [(0, 16), (17, 26), (31, 35), (36, 45), (41, 46), (48, 54), (60, 64), (67, 65)],
     [8, 27, 30, 33, 51, 57, 62, 66]),
    (51, [(0, 9), (4, 5), (14, 18), (19, 28), (24, 29), (31, 37), (43, 47)],
     [10, 13, 16, 34, 40, 45, 49]),
    (98, [(0, 32), (33, 46), (38, 50), (60, 72), (67, 73), (76, 82), (88, 92), (96, 97)],
     [16, 51, 54, 57, 79, 85, 90, 94]),
    (29, [(0, 1), (4, 6), (5, 7), (8, 9), (12, 14), (13, 15), (16, 17), (22, 23)],
     [20, 21, 24, 25, 26, 27, 28]),
    (19, [(0, 5), (2, 3), (6, 11), (7, 10), (12, 14), (15, 17)], [13, 16, 18]),
    (39, [], list(range(39))),
  ],
)  # fmt: skip
def test_known_pairs_change_places_and_the_middle_of_the_face_stays(num, pairs, alone):
  flip = landmarks.markup(num).flip
  for a, b in pairs:
    assert (flip[a], flip[b]) == (b, a)
  np.testing.assert_array_equal(flip[alone], alone)


@pytest.mark.parametrize("num", TWO_EYED)
def test_eyes_change_sides_in_the_mirror(num):
  markup = landmarks.markup(num)

  right, left = markup.outer_eyes
  assert (markup.flip[right], markup.flip[left]) == (left, right)
  assert markup.names[right].startswith("right_")

  right_pupil, left_pupil = markup.pupils
  assert sorted(markup.flip[list(right_pupil)]) == sorted(left_pupil)


@pytest.mark.parametrize(
  ("num", "outer_eyes"),
  [(68, (36, 45)), (51, (19, 28)), (98, (60, 72)), (29, (8, 9)), (19, (6, 11))],
)
def test_the_inter_ocular_distance_is_between_the_corners_that_public_code_takes(num, outer_eyes):
  """HRNet's, LUVLi's and FaRL's evaluations; the inner corners would be mirrored just as well."""
  assert landmarks.MARKUPS[num].outer_eyes == outer_eyes


def test_a_profile_has_no_pair_of_eyes():
  assert landmarks.MARKUPS[39].outer_eyes is None
  assert landmarks.MARKUPS[39].pupils is None


@pytest.mark.parametrize("num", ALL)
def test_edges_join_two_different_landmarks_of_the_mark_up_once(num):
  markup = landmarks.markup(num)
  assert all(0 <= a < num and 0 <= b < num and a != b for a, b in markup.edges)
  assert len({frozenset(edge) for edge in markup.edges}) == len(markup.edges)


@pytest.mark.parametrize("num", ALL)
def test_mirroring_the_drawing_gives_the_same_drawing(num):
  markup = landmarks.markup(num)
  edges = {frozenset(edge) for edge in markup.edges}
  mirrored = {frozenset(markup.flip[list(edge)]) for edge in markup.edges}
  assert mirrored == edges


@pytest.mark.parametrize("num", ALL)
def test_every_landmark_lies_in_exactly_one_region(num):
  regions = landmarks.markup(num).regions
  assert sorted(k for members in regions.values() for k in members) == list(range(num))


def test_regions_hold_the_landmarks_their_name_says():
  assert landmarks.MARKUPS[68].regions["right_eye"] == (36, 37, 38, 39, 40, 41)
  assert landmarks.MARKUPS[98].regions["left_eye"] == (*range(68, 76), 97)
  assert landmarks.MARKUPS[98].regions["mouth"] == tuple(range(76, 96))


def test_the_inner_points_are_the_68_without_the_jaw():
  whole, inner = landmarks.MARKUPS[68], landmarks.MARKUPS[51]

  assert inner.names == whole.names[17:]
  np.testing.assert_array_equal(inner.flip, whole.flip[17:] - 17)
  assert "jaw" not in inner.regions


def test_an_unknown_number_of_landmarks_is_refused_with_the_known_ones():
  with pytest.raises(InputError, match=r"70 landmarks.*19, 29, 39, 51, 68, 98"):
    landmarks.markup(70)


@pytest.mark.parametrize("name", ["w300_full", "cofw29_test", "wflw_test_subsets"])
def test_a_real_mean_face_is_its_own_mirror_image_under_the_flip(name):
  mean = _mean_shape(_annotations(name))
  flip = landmarks.markup(len(mean)).flip

  # (K mirrored, K) distances as fractions of the face's size.
  distance = np.linalg.norm((mean * (-1, 1))[:, None] - mean[None], axis=-1)
  residual = distance[np.arange(len(mean)), flip]
  assert residual.max() < 0.05

  # Were two pairs exchanged, another assignment would fit better than ours.
  exchanged = residual[:, None] + residual[None]
  crosswise = distance[:, flip] + distance[:, flip].T
  assert (exchanged <= crosswise + 1e-9).all()


def test_left_and_right_profiles_share_one_numbering():
  faces = _annotations("menpo_profile")
  jaw, nose = (landmarks.MARKUPS[39].names.index(name) for name in ("jaw_0", "nose_3"))
  looks_right = faces[:, nose, 0] > faces[:, jaw, 0]

  right = _mean_shape(faces[looks_right])
  left = _mean_shape(faces[~looks_right])

  mirrored = (left * (-1, 1))[landmarks.MARKUPS[39].flip]
  np.testing.assert_allclose(mirrored, right, atol=0.05)


@pytest.mark.parametrize("name", ["w300_full", "cofw29_test", "wflw_test_subsets"])
def test_the_right_side_of_a_real_face_is_the_left_of_the_image(name):
  mean = _mean_shape(_annotations(name))
  for landmark, (x, _) in zip(landmarks.markup(len(mean)).names, mean, strict=True):
    assert not landmark.startswith("right_") or x < 0.02, landmark
    assert not landmark.startswith("left_") or x > -0.02, landmark


def test_boxes_overlap_as_their_areas_say():
  # Half shifted, apart, equal, inverted, unknown.
  a = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 1, 9], [np.nan] * 4])
  b = np.array([[5, 0, 15, 10], [20, 0, 30, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 1, 1.0]])

  np.testing.assert_allclose(landmarks.box_iou(a, b), [1 / 3, 0, 1, np.nan, np.nan])
