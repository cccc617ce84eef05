"""Names of landmarks are matched however a tool spells them, and never by position."""

import re
import unicodedata

import pytest

from fal_jax.errors import InputError
from tfds_builders.custom.names import landmarks_of, normalised, order_of

MARKUP = ("right_eye", "left_eye", "nose")


@pytest.mark.parametrize(
  "spelling", ["left_eye", "Left Eye", "LEFT-EYE", "lefteye", " left__eye ", "left\teye"]
)
def test_case_and_separators_do_not_tell_names_apart(spelling):
  assert normalised(spelling) == normalised("left_eye")


def test_accents_are_one_in_any_unicode_form():
  decomposed = unicodedata.normalize("NFD", "Öhr_é")
  assert decomposed != "Öhr_é" and normalised(decomposed) == normalised("öhr é")


def test_numbers_in_names_stay_apart():
  assert normalised("point_01") == normalised("Point 1") != normalised("point_10")
  assert len({normalised(name) for name in ("eye_1_0", "eye_10", "eye_100", "eye_1-00x")}) == 4
  assert normalised("_") == "_"


@pytest.mark.parametrize(
  ("names", "expected"),
  [
    (("Nose", "LEFT EYE", "right-eye"), (2, 1, 0)),
    (("hand", "nose", "left_eye"), (None, 2, 1)),
    (("hand", "foot"), (None, None, None)),
    ((), (None, None, None)),
    (("2", "0"), (1, None, 0)),
    (("3", "1", "2"), (1, 2, 0)),
    (("00", "01", "02"), (0, 1, 2)),
    (("4", "1"), (None, None, None)),
    (("0", "1", "2", "3"), (None, None, None)),
    (("1", "nose"), (None, None, 1)),
  ],
)
def test_each_landmark_is_found_where_its_name_stands(names, expected):
  assert order_of(names, MARKUP) == expected


def test_the_exact_spelling_tells_names_apart_that_look_alike():
  assert order_of(("a_b", "a-b"), ("a-b", "a_b")) == (1, 0)


def test_a_mark_up_of_numbers_is_matched_by_name():
  assert order_of(("2", "1"), ("1", "2")) == (1, 0)


def test_a_dataset_may_spell_one_landmark_in_several_ways():
  names = ["nose", "Nose", "left eye", "ear", "nose"]
  assert landmarks_of(names, MARKUP) == {"nose": 2, "Nose": 2, "left eye": 1}


def test_numbers_are_told_apart_by_the_whole_dataset():
  assert landmarks_of(["1", "01", "0"], MARKUP) == {"1": 1, "01": 1, "0": 0}
  assert landmarks_of(["1", "3"], MARKUP) == {"1": 0, "3": 2}


@pytest.mark.parametrize(
  ("names", "markup", "message"),
  [
    (("Nose", "nose"), MARKUP, "the names 'Nose' and 'nose' both mean the landmark nose"),
    (("nose", "nose"), MARKUP, "the names 'nose' and 'nose' both mean the landmark nose"),
    (("a b",), ("a-b", "a_b"), "the name 'a b' may be any of the landmarks a-b, a_b"),
    (("1", "2"), MARKUP, "called 1 to 2, which may count from 0 or from 1 with 3 in the mark-up"),
  ],
)
def test_names_that_could_mean_two_things_are_refused(names, markup, message):
  with pytest.raises(InputError, match=re.escape(message)):
    order_of(names, markup)
