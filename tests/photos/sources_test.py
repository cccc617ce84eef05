"""What --images names: files, folders, patterns; ids, order, and what is passed over."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fal_jax.errors import InputError
from fal_jax.photos import sources


@pytest.fixture
def inside(tmp_path, monkeypatch):
  """An empty folder in which the user is."""
  monkeypatch.chdir(tmp_path)
  return tmp_path


def write(*names: str) -> None:
  """Images of one pixel, or texts if their names are not those of images."""
  for name in names:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if sources._is_image(path):
      Image.new("RGB", (1, 1)).save(path, "PNG")
    else:
      path.write_text("text")


def find(*words: str, recursive: bool = False, out: str = "predictions") -> sources.Found:
  return sources.find(words, recursive=recursive, out=Path(out))


def ids(*words: str, **options) -> list[str]:
  return [item.id for item in find(*words, **options).items]


def test_images_come_as_named_and_those_of_a_folder_in_the_order_of_names(inside):
  write("z.jpg", "folder/b.jpg", "folder/a.PNG", "folder/deep/c.jfif")
  assert ids("z.jpg", "folder") == ["z.jpg", "a.PNG", "b.jpg"]
  assert ids("folder", "z.jpg") == ["a.PNG", "b.jpg", "z.jpg"]
  assert ids("folder", recursive=True) == ["a.PNG", "b.jpg", "deep/c.jfif"]


def test_a_file_named_twice_counts_once(inside):
  write("folder/a.jpg", "folder/b.jpg")
  words = ["folder/b.jpg", "folder", "./folder/a.jpg", f"{inside}/folder/*.jpg"]
  assert ids(*words) == ["b.jpg", "a.jpg"]


def test_commas_separate_names_unless_a_file_has_one(inside):
  write("Smith, J.jpg", "a.jpg", "b.jpg", "x,y/c.jpg")
  assert ids("a.jpg,b.jpg") == ["a.jpg", "b.jpg"]
  assert ids("a.jpg,Smith, J.jpg,b.jpg") == ["a.jpg", "Smith, J.jpg", "b.jpg"]
  assert ids("x,y,a.jpg") == ["c.jpg", "a.jpg"]


def test_a_pattern_stands_for_the_images_that_fit_it(inside):
  write("a/1.jpg", "a/notes.txt", "b/1.jpg", "b/deep/2.jpg", "x[1].jpg")
  assert ids("a/*") == ["1.jpg"]
  assert ids("*/1.jpg") == ["a/1.jpg", "b/1.jpg"]
  assert ids("**/*.jpg") == ["a/1.jpg", "b/1.jpg", "b/deep/2.jpg", "x[1].jpg"]
  assert ids("x[1].jpg") == ["x[1].jpg"]  # a file of this name, not a pattern
  assert find("a/*").passed_over == ("a/notes.txt",)


def test_equal_names_in_two_folders_get_ids_below_what_the_folders_have_in_common(inside):
  write("all/one/a.jpg", "all/two/a.jpg", "all/two/b.jpg")
  assert ids("all/one", "all/two") == ["one/a.jpg", "two/a.jpg", "two/b.jpg"]
  assert ids("all/one/a.jpg", "all/two/b.jpg") == ["a.jpg", "b.jpg"]


def test_what_a_folder_holds_besides_is_counted_and_named(inside):
  write("f/a.jpg", "f/notes.txt", "f/IMG_1.HEIC", "f/._a.jpg", "f/deep/b.jpg")

  found = find("f")

  assert [item.id for item in found.items] == ["a.jpg"]
  assert found.passed_over == ("f/._a.jpg", "f/IMG_1.HEIC", "f/notes.txt")
  assert found.notes == (
    "Passed over 3 files without an image's ending: f/._a.jpg, f/IMG_1.HEIC, f/notes.txt.",
    "HEIC cannot be read, convert to JPEG: IMG_1.HEIC.",
    "Not looked into without --recursive: f/deep.",
  )


def test_a_folder_of_images_alone_needs_no_word(inside):
  write("f/a.jpg")
  assert find("f").notes == ()


def test_an_empty_folder_beside_others_is_said_and_alone_refused(inside):
  write("f/a.jpg", "texts/notes.txt")
  assert find("f", "texts").notes[0].startswith("texts holds no image or video (.jpg, ")

  with pytest.raises(InputError, match=r"texts holds no image .* Passed over 1 file .*notes\.txt"):
    find("texts")


def test_a_missing_file_is_left_to_be_reported_unless_there_is_no_other(inside):
  write("a.jpg")
  frames = list(sources.frames(find("a.jpg", "missing.jpg").items))
  assert [frame.failure for frame in frames] == [
    "",
    "missing.jpg cannot be read: No such file or directory.",
  ]
  np.testing.assert_array_equal(frames[0].image, np.zeros((1, 1, 3)))

  with pytest.raises(InputError, match=r"missing\.jpg cannot be read"):
    find("missing.jpg", "none/*.jpg")
  with pytest.raises(InputError, match="web address"):
    find("https://example.org/a.jpg")


@pytest.mark.parametrize("out", ["photos/predictions", "photos"])
def test_results_among_the_photographs_are_never_taken_for_photographs(inside, out):
  write("photos/a.jpg", f"{out}/overlays/a.jpg", f"{out}/overlays/deep/b.jpg")
  assert ids("photos", recursive=True, out=out) == ["a.jpg"]
  assert ids("photos", recursive=True, out="elsewhere") != ["a.jpg"]


def test_links_in_a_circle_end(inside):
  write("f/a.jpg")
  os.symlink(inside / "f", inside / "f" / "again")
  assert ids("f", recursive=True) == ["a.jpg"]


def test_a_name_that_is_not_utf_8_can_still_be_written_down(inside):
  write("a.jpg")
  os.rename(b"a.jpg", b"caf\xe9.jpg")
  assert ids(".") == ["caf\\xe9.jpg"]


def test_nothing_but_commas_names_no_image(inside):
  with pytest.raises(InputError, match="No image is named by --images=,"):
    find(",")


def test_videos_of_a_folder_are_found_and_a_camera_needs_no_file(inside):
  write("folder/a.MP4", "folder/b.jpg")

  assert ids("folder", "camera:0") == ["a.MP4", "b.jpg", "camera:0"]
  assert ids("camera:1") == ["camera:1"]
  assert [item.kind for item in find("folder", "camera:0").items] == ["video", "image", "camera"]
