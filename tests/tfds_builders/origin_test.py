"""Guards of the origin: known first landmarks, behind whichever folders an archive has."""

from pathlib import Path

import numpy as np
import pytest
import w300_files

from tfds_builders.common.downloads import Downloads
from tfds_builders.common.origin import check_origin
from tfds_builders.common.validate import Face

KNOWN = {"b/one.png": (10.0, 20.0), "two.png": (5.0, 6.0)}


def face(name: str, first: tuple[float, float], folder: Path) -> Face:
  """A face with a 60 x 50 image."""
  path = folder / "image.png"
  if not path.exists():
    w300_files.write_image(path, 0)
  return Face(path, name, np.array([first, (1.0, 1.0)]))


def test_a_known_face_is_found_behind_any_folders_but_by_whole_names_only(tmp_path):
  faces = [
    face(name, (10.005, 20.0), tmp_path)
    for name in ("b/one.png", "a/b/one.png", "ab/one.png", "one.png", "c/b/one.png/x.png")
  ]

  origin = check_origin(faces, KNOWN, sizes={})

  assert origin.confirmed == ["b/one.png"], "the first that agrees speaks for the others"
  assert not origin.differing
  assert str(origin) == "confirmed by the first landmark of b/one.png"


@pytest.mark.parametrize("shift", [(1, 1), (-1, -1), (0.5, 0.5), (0, 1), (np.nan, 0)])
def test_a_shift_contradicts(shift, tmp_path):
  faces = [
    face("x/two.png", (5.0, 6.0), tmp_path),
    face("x/b/one.png", (10 + shift[0], 20 + shift[1]), tmp_path),
  ]

  origin = check_origin(faces, KNOWN, sizes={})

  assert [*origin.differing] == [1]
  assert "in the official files (10.000, 20.000)" in origin.differing[1].message
  assert str(origin).startswith("NOT CONFIRMED, contradicted by the first landmark of x/b/one.png")
  assert "x/two.png" in str(origin)


def test_an_image_with_several_faces_contradicts_only_if_none_has_the_landmark(tmp_path):
  faces = [face("two.png", first, tmp_path) for first in ((30.0, 30.0), (5.0, 6.0), (40.0, 9.0))]

  assert not check_origin(faces, KNOWN, sizes={}).differing
  assert [*check_origin([faces[2], faces[0]], KNOWN, sizes={}).differing] == [1], "the nearest"


def test_a_crop_says_nothing_where_crops_are_tolerated(tmp_path):
  faces = [face("two.png", (6.0, 7.0), tmp_path)]
  other = check_origin(faces, KNOWN, sizes={"two.png": (120, 100)})
  same = check_origin(faces, KNOWN, sizes={"two.png": (60, 50)})

  assert not other.differing
  assert str(other) == "not confirmed; two.png is not the official image but a crop"
  assert [*same.differing] == [0]

  faces.append(face("b/one.png", (10.0, 20.0), tmp_path))
  beside = str(check_origin(faces, KNOWN, sizes={"two.png": (120, 100)}))
  assert beside.startswith("confirmed by the first landmark of b/one.png; two.png is not")


def test_without_any_known_face_the_log_says_that_none_could_confirm(tmp_path):
  origin = check_origin([face("three.png", (1.0, 2.0), tmp_path)], KNOWN, sizes={})

  assert str(origin).startswith("not confirmed: none of the faces whose first landmark is known")


def test_a_name_does_not_depend_on_where_the_archive_is_unpacked(tmp_path):
  inner = tmp_path / "data" / "unpacked"

  for roots in ((tmp_path, inner), (inner, tmp_path)):
    assert Downloads(roots).name(inner / "trainset" / "a.jpg") == "trainset/a.jpg"
