"""Names of splits: parts of unions, with and without their slices."""

import pytest

from fal_jax.prepared import split_names


@pytest.mark.parametrize(
  ("split", "parts", "bases"),
  [
    ("train", ["train"], ["train"]),
    ("train[:90%]", ["train[:90%]"], ["train"]),
    ("fit+val", ["fit", "val"], ["fit", "val"]),
    ("fit[-10:] + val", ["fit[-10:]", "val"], ["fit", "val"]),
    ("fit+", ["fit", ""], ["fit", ""]),  # nothing is dropped: the second is refused
  ],
)
def test_a_name_is_its_parts_in_their_order(split, parts, bases):
  assert split_names.parts(split) == parts
  assert split_names.bases(split) == bases
