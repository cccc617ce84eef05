"""Images are found however an annotation file writes their names, and never guessed."""

import unicodedata

import custom_files as files
import pytest

from fal_jax.errors import InputError
from tfds_builders import prepare
from tfds_builders.custom.annotation import beside, find_image, index_images

NFC, NFD = (unicodedata.normalize(form, "Jürgen é.jpg") for form in ("NFC", "NFD"))
SPELT = "the image's name there differs in case, Unicode form, encoding or backslashes"
BARE = "it stands there without the image's folder, or in another spelling"
ELSEWHERE = "its path leads out of this folder, so the image of the same name in it is taken"


@pytest.fixture
def find(tmp_path):
  """Finds an image in a folder that holds those of `names`."""

  def find(name, names):
    root = tmp_path / "my faces"
    paths = [root / path for path in names]
    for path in paths:
      path.parent.mkdir(parents=True, exist_ok=True)
      path.touch()
    return find_image(root, name.replace("ROOT", str(root)), index_images(root, paths))

  return find


@pytest.mark.parametrize(
  ("name", "there", "how"),
  [
    ("a/b.jpg", "a/b.jpg", ""),
    ("a/b.jpg", "images/a/b.jpg", ""),
    ("./a//b.jpg", "a/b.jpg", ""),
    ("100%25.jpg", "100%25.jpg", ""),
    ("a\\b.jpg", "images/a/b.jpg", ""),
    ("face%2000.jpg", "images/face 00.jpg", ""),
    ("my faces/images/a.jpg", "images/a.jpg", ""),
    ("ROOT/images/a.jpg", "images/a.jpg", ""),
    ("x.JPG", "images/x.jpg", BARE),
    ("Images/X.jpg", "images/x.JPG", SPELT),
    (NFC, f"images/{NFD}", BARE),
    (NFD, f"images/{NFC}", BARE),
    ("a/J%C3%BCrgen%20%C3%A9.jpg", f"images/a/{NFD}", SPELT),
    ("a.jpg", "images/default/a.jpg", BARE),
    ("../other/a.jpg", "images/a.jpg", ELSEWHERE),
    ("C:\\Users\\me\\faces\\a.jpg", "images/a.jpg", ELSEWHERE),
    ("/faces/b/a.jpg", "images/b/a.jpg", ELSEWHERE),
    ("https://host/data/a.jpg", "images/a.jpg", ELSEWHERE),
    ("/data/upload/29/9d3f2f33-face_00.png", "images/face 00.png", ELSEWHERE),
    ("/data/upload/29/9d3f2f33-a.png", "images/9d3f2f33-a.png", ELSEWHERE),
    ("../../label-studio/data/media/upload/1/9d3f2f33-a.png", "images/a.png", ELSEWHERE),
  ],
)
def test_an_image_is_found_and_how_is_said(find, name, there, how):
  assert find(name, [there, "images/another.jpg"]) == (there, how)


def test_the_exact_name_comes_first_and_more_common_folders_decide(find):
  assert find("x.jpg", ["images/x.jpg", "images/X.jpg"]) == ("images/x.jpg", "")
  names = ["images/a/0.jpg", "images/b/0.jpg", "images/0.jpg"]
  assert find("/faces/b/0.jpg", names) == ("images/b/0.jpg", ELSEWHERE)


@pytest.mark.parametrize(
  ("name", "there", "message"),
  [
    ("X.Jpg", ["x.jpg", "x.JPG"], "may be any of x.JPG, x.jpg: call it by one of them"),
    ("/c/0.jpg", ["a/0.jpg", "b/0.jpg"], "may be any of a/0.jpg, b/0.jpg: call it by one of them"),
    ("pictures/0.jpg", ["images/0.jpg"], "there is no image 'pictures/0.jpg', neither here nor"),
    ("my other faces/images/0.jpg", ["images/0.jpg"], "there is no image 'my other faces/"),
    ("0.jpg", ["a/0.jpg", "b/0.jpg"], "may be any of a/0.jpg, b/0.jpg: call it by one of them"),
    ("face_00.jpg", ["face 00.jpg"], "there is no image 'face_00.jpg'"),
    ("a.jpg", ["a.png"], "there is no image 'a.jpg'"),
    ("a.jpg", ["images/9d3f2f33-a.jpg"], "there is no image 'a.jpg'"),
    ("9d3f2f33-a.jpg", ["images/a.jpg"], "there is no image '9d3f2f33-a.jpg'"),
    ("../../../etc/passwd", ["a.jpg"], "'../../../etc/passwd' is outside the dataset's folder"),
    ("a\0.jpg", ["a.jpg"], r"'a\\x00.jpg' is outside the dataset's folder"),
    ("\ud800.jpg", ["a.jpg"], r"there is no image '\\ud800.jpg'"),
    ("a" * 5000, ["a.jpg"], "there is no image 'aaa"),
    ("a/" * 3000, ["a.jpg"], "there is no image 'a/a/"),
    (" ", ["a.jpg"], "missing image name"),
    ("..", ["a.jpg"], r"the image '\.\.' is outside"),
    ("/", ["a.jpg"], "the image '/' is outside"),
  ],
)
def test_what_is_not_there_or_ambiguous_is_refused(find, name, there, message):
  with pytest.raises(InputError, match=message) as caught:
    find(name, sorted(there))
  assert len(str(caught.value)) < 250


def test_a_name_beside_a_file_is_one_below_the_root(tmp_path):
  file = tmp_path / "a" / "labels" / "x.json"
  for name, expected in (
    ("x.jpg", "a/labels/x.jpg"),
    ("..\\images\\x.jpg", "a/images/x.jpg"),
    ("../../../x.jpg", "../x.jpg"),
    ("/x.jpg", "/x.jpg"),
    ("C:\\x.jpg", "C:\\x.jpg"),
    ("", ""),
  ):
    assert beside(tmp_path, file, name) == expected
  assert beside(tmp_path, tmp_path / "x.json", "images/x.jpg") == "images/x.jpg"


def test_paths_of_another_machine_are_noted_and_never_two_for_one_image(custom_root, capfd):
  rows = files.rows(range(4))
  for row in rows[1:]:
    row[0] = f"D:\\faces\\{row[0].split('/')[1]}"
  files.write_table(custom_root, rows)
  arguments = ["custom", f"--manual_dir={custom_root}", f"--data_dir={custom_root.parent / 'data'}"]
  assert prepare.main([*arguments, "--dry_run"]) == 0
  assert (
    f"note: {ELSEWHERE}: 4 of these, the first is landmarks.csv, line 2" in capfd.readouterr().out
  )

  for second in ("E:\\others\\face 00.png", "images/face 00.png"):
    rows[2][0] = second
    files.write_table(custom_root, rows)
    assert prepare.main(arguments) == 2
    assert (
      "landmarks.csv, line 3: the image images/face 00.png is also that of another path, "
      "'D:\\\\faces\\\\face 00.png'"
    ) in capfd.readouterr().err


def test_points_beside_an_image_may_have_their_name_in_another_unicode_form(custom_root, capfd):
  files.write_pts(custom_root, range(4))
  folder = custom_root / "images"
  (folder / "face 00.png").rename(folder / NFD)
  (folder / "face 00.pts").rename((folder / NFC).with_suffix(".PTS"))
  arguments = ["custom", f"--manual_dir={custom_root}", f"--data_dir={custom_root.parent / 'data'}"]
  assert prepare.main([*arguments, "--dry_run"]) == 0, capfd.readouterr().err
