"""The sheet of failures: which faces are on it, what their parts' errors are, what it says."""

import numpy as np
import pytest

from fal_jax.landmarks import MARKUPS
from fal_jax.plots import failures, figure


def test_the_worst_the_middle_and_the_best_are_chosen_and_no_face_twice():
  errors = np.random.default_rng(0).permutation(101).astype(float)
  valid = errors != 100

  groups = {name: errors[rows].tolist() for name, rows in failures.choose(errors, valid).items()}

  assert groups == {"worst": [99, 98, 97, 96, 95, 94], "median": [50, 49, 48], "best": [0, 1, 2]}


@pytest.mark.parametrize("count", [0, 1, 7, 9, 12])
def test_of_few_faces_none_is_shown_twice(count):
  groups = failures.choose(np.arange(count), np.ones(count, bool))

  rows = np.concatenate([*groups.values()])
  assert len(set(rows.tolist())) == len(rows) == min(count, 12)


def test_the_error_of_a_part_is_that_of_its_landmarks_on_both_sides():
  markup = MARKUPS[68]
  true = np.random.default_rng(0).uniform(0, 100, (2, 68, 2))
  pred = true.copy()
  pred[0, markup.regions["right_eye"]] += [3, 4]  # 5 px, on half of the eyes' landmarks
  pred[1, markup.regions["jaw"]] += [0, 1]
  true[1, markup.regions["nose"]] = np.nan

  errors = failures.region_errors(pred, true, np.array([50.0, 10.0]), markup)

  assert set(errors) == {"jaw", "brow", "eye", "nose", "mouth"}
  np.testing.assert_allclose(errors["eye"], [5.0, 0.0])
  np.testing.assert_allclose(errors["jaw"], [0.0, 10.0])
  np.testing.assert_array_equal(errors["nose"], [0.0, np.nan])


def test_the_sheet_says_what_it_shows_and_has_a_vector_beside_it(tmp_path):
  if not figure.has_matplotlib():
    pytest.skip(figure.NO_MATPLOTLIB)
  rng = np.random.default_rng(0)

  def face(number: int, error: float) -> failures.Face:
    points = rng.uniform(0, 32, (29, 2))
    image = np.full((32, 32, 3), 90, np.uint8)
    box = np.array([4.0, 4.0, 28.0, 28.0])
    parts = {"eye": error, "mouth": np.nan}
    return failures.Face(f"face {number}", image, points, points + 1, box, error, parts)

  groups = {"worst": [face(0, 31.4), face(1, 9.0)], "median": [face(2, 4.0)], "best": []}
  text = failures.caption("tiny", "test", count=3, norm="ic", how="Boxes: landmarks.")
  path = tmp_path / "new" / "failures.png"

  failures.draw_failures(path, groups, means={"eye": 7.0, "mouth": 2.0}, markup=29, caption=text)

  svg = path.with_suffix(".svg").read_text()
  for words in ("worst: 31.4 %", "median: 4.0 %", "face 1", "mouth", "of 3 faces of tiny, test"):
    assert words in svg, words
  assert "best:" not in svg
  assert path.stat().st_size > 10_000
