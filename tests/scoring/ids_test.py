"""Ids of the same images under longer and shorter paths find each other, and nothing is guessed."""

import pytest

from fal_jax.scoring import ids

TRUTH = ["images/000.png", "images/001.png", "images/001.png#1"]


@pytest.mark.parametrize(
  "written",
  [
    "{}",
    "./{}",
    "/data/me/faces/{}",
    "../faces//{}",
    "C:\\faces\\{}",
  ],
)
def test_paths_that_lead_to_the_same_image_are_joined(written):
  given = [written.format(name) for name in TRUTH]
  expected = dict(zip(TRUTH, given, strict=True))

  assert ids.join(TRUTH, given[::-1]) == expected
  assert ids.join(given, TRUTH) == {long: short for short, long in expected.items()}


def test_names_of_files_are_joined_with_paths_and_accents_in_either_form():
  given = ["000.png", "Zoe\u0301.jpg"]

  assert ids.join(["images/000.png", "images/Zo\u00e9.jpg"], given) == {
    "images/000.png": "000.png",
    "images/Zo\u00e9.jpg": "Zoe\u0301.jpg",
  }


def test_what_ends_like_two_is_joined_with_neither():
  wanted = ["a/000.png", "b/000.png", "c/001.png"]

  assert ids.join(wanted, ["000.png", "001.png"]) == {"c/001.png": "001.png"}
  assert ids.join(["000.png", "001.png"], wanted) == {"001.png": "c/001.png"}


def test_an_equal_id_is_not_given_away():
  """The image of the folder b is another one, though its path ends alike."""
  assert ids.join(["000.png", "a/000.png"], ["a/000.png", "b/000.png"]) == {
    "a/000.png": "a/000.png"
  }


def test_the_end_of_a_name_is_not_the_end_of_a_path():
  assert ids.join(["images/10.png"], ["0.png", "s/10.png"]) == {}
  assert ids.join(["a.jpg"], ["a.jpg#1"]) == {}


def test_ids_that_are_no_paths_at_all_are_joined_with_their_equals():
  assert ids.join(["/", "", "7"], ["7", "", "."]) == {"": "", "7": "7"}
