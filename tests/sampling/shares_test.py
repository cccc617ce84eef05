"""Shares of several datasets: every image belongs to one, and what cannot be a share is refused."""

import numpy as np
import pytest

from fal_jax.errors import InputError
from fal_jax.sampling import shares

FACES = ("synthetic_faces/68", "train")


@pytest.mark.parametrize("others", [(0.25,), (0.1,), (1 / 3, 1 / 3), (0.5, 0.001, 0.3), (0.999,)])
def test_every_dataset_has_its_share_of_any_first_images_to_an_image(others):
  counts = np.array([shares.counts(images, others) for images in range(3001)])

  assert (counts.sum(1) == range(3001)).all()
  assert (np.diff(counts, axis=0) >= 0).all()
  expected = np.arange(3001)[:, None] * [1 - sum(others), *others]
  assert np.abs(counts - expected)[:, 1:].max() <= 1
  assert np.abs(counts - expected)[:, 0].max() <= len(others)


def test_shares_are_kept_in_a_run_of_any_length():
  images = 2**40
  assert shares.counts(images, (0.25, 0.125)) == [5 * images // 8, images // 4, images // 8]


@pytest.mark.parametrize(
  "rows",
  [(), [], ((*FACES, 0.25),), ((*FACES, 0.25), ("w300", "fit+val[:9]", 0.74)), [[*FACES, 0.1]]],
)
def test_rows_as_configs_and_saved_runs_have_them_are_accepted(rows):
  shares.check(rows)


@pytest.mark.parametrize(
  ("rows", "named"),
  [
    ((*FACES, 0.25), r"such as \(\('synthetic_faces/68', 'train', 0.25\),\), got 'synthetic_faces"),
    ((FACES,), "rows of dataset, split and share of the images"),
    (((*FACES, "0.25"),), "rows of dataset, split and share"),
    (((*FACES, 1),), "rows of dataset, split and share"),
    ((("", *FACES, 0.25),), "rows of dataset, split and share"),
    (((*FACES, 0.0),), "shares above 0 that leave a part of 1 to config.data.name, got 0"),
    (((*FACES, -0.5),), "got -0.5"),
    (((*FACES, float("nan")),), "got nan"),
    (((*FACES, 1.0),), "got 1"),
    (((*FACES, 0.6), ("w300", "fit", 0.5)), "got 0.6 and 0.5"),
    (((*FACES, 0.2), (*FACES, 0.3)), "names 'train' of 'synthetic_faces/68' twice"),
  ],
)
def test_what_cannot_be_mixed_is_refused_in_one_sentence(rows, named):
  with pytest.raises(InputError, match=named) as error:
    shares.check(rows)
  assert "\n" not in str(error.value)
