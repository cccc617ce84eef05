"""WFLW's 98 landmarks as the 68 of 300W: the matrix by its meaning, and on genuine faces."""

import os
from pathlib import Path

import genuine_files
import numpy as np
import pytest

from fal_jax import landmarks
from fal_jax.errors import InputError
from fal_jax.scoring import cross_markup

M = cross_markup.matrix_98_to_68()


def test_every_row_is_a_mean():
  assert M.shape == (68, 98)
  assert not M.flags.writeable
  np.testing.assert_allclose(M.sum(1), 1, atol=1e-12)
  assert (M >= 0).all()
  assert {int((row > 0).sum()) for row in M} == {1, 2}
  assert not M[:, [96, 97]].any()  # pupils


def test_it_commutes_with_the_mirror():
  """Mirror and map in either order: left and right are treated alike."""
  flip_68, flip_98 = landmarks.MARKUPS[68].flip, landmarks.MARKUPS[98].flip

  np.testing.assert_array_equal(M[:, flip_98], M[flip_68])


def test_landmarks_that_both_mark_ups_name_alike_are_taken_as_they_are():
  names_68, names_98 = landmarks.MARKUPS[68].names, landmarks.MARKUPS[98].names
  weights = [
    M[k, names_98.index(name)]
    for k, name in enumerate(names_68)
    if name.split("_")[0] in ("nose", "chin")
  ]
  assert weights == [1.0] * 6

  for region in ("nose", "mouth"):
    ours, theirs = (landmarks.MARKUPS[n].regions[region] for n in (68, 98))
    assert [names_68[k] for k in ours] == [names_98[k] for k in theirs]
    np.testing.assert_array_equal(M[np.ix_(ours, theirs)], np.eye(len(ours)))

  for k in (36, 39, 42, 45):  # corners of the eyes
    assert names_98[int(M[k].argmax())] == names_68[k]
    assert M[k].max() == 1


def test_regions_stay_regions():
  region_of = {
    k: region for region, members in landmarks.MARKUPS[98].regions.items() for k in members
  }

  for region, members in landmarks.MARKUPS[68].regions.items():
    assert {region_of[source] for k in members for source in np.flatnonzero(M[k])} == {region}


def test_lids_and_brows_drawn_evenly_come_out_evenly():
  """Lids with points at 1/4, 1/2, 3/4 give 1/3, 2/3; a brow's outline gives its middle line."""
  face = np.zeros((98, 2))
  face[60:65, 0] = np.arange(5) * 3.0
  face[33:38] = np.c_[np.arange(5.0), np.ones(5)]
  face[38:42] = np.c_[np.arange(4, 0, -1.0), -np.ones(4)]

  mapped = cross_markup.map_98_to_68(face)

  np.testing.assert_allclose(mapped[36:40, 0], [0, 4, 8, 12], atol=1e-12)
  np.testing.assert_allclose(mapped[17:22], [[0, 1], [1, 0], [2, 0], [3, 0], [4, 0]], atol=1e-12)


def test_a_missing_landmark_spoils_only_what_comes_from_it():
  face = np.random.default_rng(0).uniform(0, 100, (2, 98, 2))
  face[0, 62] = np.nan

  mapped = cross_markup.map_98_to_68(face)

  np.testing.assert_array_equal(np.flatnonzero(np.isnan(mapped[0]).any(-1)), [37, 38])
  np.testing.assert_allclose(mapped[1], M @ face[1], atol=1e-12)


def test_other_mark_ups_are_refused():
  with pytest.raises(InputError, match=r"shape \(3, 68, 2\), expected \(..., 98, 2\)"):
    cross_markup.map_98_to_68(np.zeros((3, 68, 2)))


def test_mapped_faces_of_wflw_have_the_shape_of_faces_of_300w():
  """Median shapes, eye corners on eye corners; a wrong neighbour would be 0.1 or more away."""
  root = os.environ.get("FAL_JAX_TEST_DATA", "")
  files = [Path(root, "annotations", name) for name in ("wflw_test_subsets.npz", "w300_full.npz")]
  if not root or not all(file.is_file() for file in files):
    pytest.skip(
      "FAL_JAX_TEST_DATA names no folder with annotations/wflw_test_subsets.npz and w300_full.npz"
    )
  wflw, w300 = (genuine_files.arrays(file)["landmarks"] for file in files)

  def median_shape(faces):
    """(K,) complex, in distances of the outer eye corners."""
    eyes = faces[:, 45] - faces[:, 36]
    turn = eyes[:, 0] + 1j * eyes[:, 1]
    z = ((faces - faces[:, 36:37]) @ [1, 1j]) / turn[:, None]
    return np.median(z.real, 0) + 1j * np.median(z.imag, 0)

  difference = np.abs(median_shape(cross_markup.map_98_to_68(wflw)) - median_shape(w300))

  assert difference.max() < 0.08
  assert difference[36:48].max() < 0.03  # of the eyes, where the mapping mixes
