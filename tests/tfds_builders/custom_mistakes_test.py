"""What is wrong with a user's own dataset is said by file and line, all of it at once, with exit
code 2 and nothing written.
"""

import json

import custom_files as files
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfds_builders import prepare

SEEDS = range(4)


@pytest.fixture
def root(tmp_path):
  return files.write_images(tmp_path / "faces", SEEDS)


@pytest.fixture
def refused(root, capfd):
  """What the command line says, after checking that it is no traceback, that its code is 2 and that
  nothing is written.
  """

  def refused(*options):
    data_dir = root.parent / "data"
    code = prepare.main(["custom", f"--manual_dir={root}", f"--data_dir={data_dir}", *options])
    error = capfd.readouterr().err
    assert code == 2 and error.startswith("error: ") and "Traceback" not in error
    assert not list(data_dir.rglob("*.array_record*"))
    return error

  return refused


def table(**cells):
  """The good table with some cells replaced; `_5_2` is the third cell of the sixth line."""
  rows = files.rows(SEEDS)
  for place, value in cells.items():
    row, column = map(int, place.strip("_").split("_"))
    rows[row][column] = value
  return rows


def text(rows, separator=","):
  return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def beside(*columns):
  """The good table with more columns, each the same in all its lines: (header, value)."""
  return [[*row, *(column[min(i, 1)] for column in columns)] for i, row in enumerate(table())]


GOOD = text(table())
WITH_BOX = beside(("box_x0", 5), ("box_y0", 5), ("box_x1", 50), ("box_y1", 45))

# what -> the bytes or the text of landmarks.csv, and what the one line about it says.
TABLES = {
  "missing column": (
    text([row[:-1] for row in table()]),
    "the header lacks y4; for a mark-up of 5 landmarks it must be",
  ),
  "more landmarks than the mark-up": (
    text(beside(("x5", 1), ("y5", 2))),
    "the header has the unknown columns 'x5', 'y5'",
  ),
  "no header": (text(table()[1:]), "the header lacks image, x0, y0, x1, y1, x2, y2, x3 and 3 more"),
  "column twice": (text([[*row, row[1]] for row in table()]), "the header has more than one x0"),
  "header alone": (text(table()[:1]), "has a header but no face"),
  "part of a box": (
    text([row[:-1] for row in WITH_BOX]),
    "must have all of box_x0, box_y0, box_x1, box_y1 or none",
  ),
  "ragged line": (
    GOOD.replace("\n", ",1\n", 2).replace(",1", "", 1),
    "landmarks.csv, line 2: 12 cells, expected 11",
  ),
  "line cut short": (GOOD[:-20], "landmarks.csv, line 5: "),
  "text for a number": (
    text(table(_2_3="left")),
    "landmarks.csv, line 3: x1: 'left' is not a decimal number",
  ),
  "thousands separated": (
    text(table(_2_3="1_000")),
    "landmarks.csv, line 3: x1: '1_000' is not a decimal number",
  ),
  "nan": (
    text(table(_2_3="nan", _2_4="nan")),
    "line 3: x1: 'nan' is not a decimal number; y1: 'nan' is not",
  ),
  "infinite": (text(table(_2_3="-inf")), "x1: '-inf' is not a decimal number"),
  "too large": (text(table(_2_3="1e400")), "x1: '1e400' is too large a number"),
  "digits of another script": (text(table(_2_3="٣")), "x1: '٣' is not a decimal number"),
  "hexadecimal": (text(table(_2_3="0x10")), "x1: '0x10' is not a decimal number"),
  "one coordinate": (
    text(table(_2_3="")),
    "landmarks.csv, line 3: landmark 1 has one coordinate, expected two or none",
  ),
  "nothing annotated": (
    text([*table(), [files.name(0), *[""] * 10]]),
    "images/face 00.png#1: no landmark is annotated",
  ),
  "one landmark annotated": (
    text([*table(), [files.name(0), 20, 20, *[""] * 8]]),
    "face 00.png#1: all landmarks lie within",
  ),
  "from 0 to 1": (
    text([*table(), [files.name(0), *np.linspace(0, 1, 10)]]),
    "images/face 00.png#1: all landmarks lie within",
  ),
  "of another image": (
    text([*table(), [files.name(0), *np.linspace(500, 900, 10)]]),
    "further than the face is large",
  ),
  "inverted box": (
    text([*WITH_BOX[:-1], [*WITH_BOX[-1][:-4], 50, 45, 5, 5]]),
    "line 5: the box 50, 45, 5, 5 is not x0, y0",
  ),
  "box of one number": (
    text([*WITH_BOX[:-1], [*WITH_BOX[-1][:-3], "", "", ""]]),
    "line 5: the box 5, , ,  is not x0, y0",
  ),
  "line twice": (
    text([*table(), table()[2]]),
    "landmarks.csv, line 6: same image and landmarks as landmarks.csv, line 3",
  ),
  "path that climbs out": (
    text(table(_1_0="../x.jpg")),
    "line 2: the image '../x.jpg' leads out of the dataset's folder",
  ),
  "hidden climb": (text(table(_1_0="images/../../x.jpg")), "leads out of the dataset's folder"),
  "absolute path": (
    text(table(_1_0="/etc/passwd")),
    "line 2: the image '/etc/passwd' leads out of the dataset's folder",
  ),
  "backslashes": (
    text(table(_1_0=r"images\face 00.png")),
    "is written with backslashes, expected / between folders",
  ),
  "missing image": (
    text(table(_1_0="images/none.png")),
    "line 2: there is no image 'images/none.png', neither here",
  ),
  "no image named": (text(table(_1_0="")), "landmarks.csv, line 2: no image is named"),
  "a folder for an image": (text(table(_1_0="images")), "there is no image 'images'"),
  "semicolons": (
    text(table(), ";"),
    "landmarks.csv is separated by semicolons: export it with commas",
  ),
  "tabs": (text(table(), "\t"), "landmarks.csv is separated by tabs"),
  "decimal commas in semicolons": (
    text(table(), ";").replace(".", ","),
    "is separated by semicolons",
  ),
  "empty file": ("", "landmarks.csv is empty"),
  "blank lines": ("\n \n", "landmarks.csv is empty"),
  "pickled array": (
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', ",
    "is not text in UTF-8 (byte 0 is not; an archive,",
  ),
  "UTF-16 of Excel": (
    GOOD.encode("utf-16"),
    "is not text in UTF-8 (byte 0 is not; saved as UTF-16?)",
  ),
  "zero bytes": (GOOD.replace("face 00", "face\x0000"), "holds zero bytes"),
  "open quotation mark": (
    GOOD.replace("images/face 02", '"images/face 02'),
    "unexpected end of data; write one face a line",
  ),
  "letters of a code page": (
    GOOD.replace("face 00", "Gesicht für").encode("latin-1"),
    "is not text in UTF-8",
  ),
  "a web page": ("<!doctype html><title>Log in</title>, sign up\n", "the header lacks image"),
  "unknown split": (
    text(beside(("split", "Train!"))),
    "line 2: split is 'Train!', expected a name of small letters",
  ),
  "TFDS's own split": (text(beside(("split", "all"))), "line 2: split is 'all'"),
  "no split": (text(beside(("split", ""))), "line 2: split is ''"),
  "image in two splits": (
    text([*beside(("split", "train")), [files.name(0), *(files.landmarks(0) + 1).ravel(), "test"]]),
    "line 6: split is 'test' but 'train' for another face of this image",
  ),
  "landmark nowhere annotated": (
    text([row if not i else [*row[:-2], "", ""] for i, row in enumerate(table())]),
    "markup.yaml: landmark 4 (left_mouth) is annotated in no face of the split train",
  ),
  "one image": (text(table()[:2]), "one annotated image, expected two or more"),
}


@pytest.mark.parametrize("mistake", TABLES)
def test_a_bad_table_is_refused_with_one_line_for_each_problem(root, refused, mistake):
  content, named = TABLES[mistake]
  (root / "landmarks.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
  error = refused()
  assert named in error and len([line for line in error.splitlines() if named in line]) == 1
  assert max(map(len, error.splitlines())) < 500


def face(**changes):
  return lambda content: content["annotations"][1].update(changes)


KEYPOINTS = files.coco(SEEDS)["annotations"][1]["keypoints"]
COCO = {
  "not an object": (
    lambda _: [1],
    "annotations.json is not a COCO file, it has no list annotations and no list images",
  ),
  "no annotations": (lambda content: {"images": content["images"]}, "it has no list annotations."),
  "of another image": (
    face(image_id=7),
    "annotations.json, annotations[1]: no image has its image_id",
  ),
  "without keypoints": (
    face(keypoints=None),
    "annotations[1]: its keypoints are None, expected x, y, v of 5 landmarks",
  ),
  "of another mark-up": (
    face(keypoints=KEYPOINTS[:12]),
    "its keypoints are 12 numbers, expected x, y, v of 5 landmarks, 15",
  ),
  "texts": (face(keypoints=[*KEYPOINTS[:14], "2"]), "annotations[1]: its keypoints are ["),
  "truths": (face(keypoints=[*KEYPOINTS[:14], True]), "annotations[1]: its keypoints are ["),
  "null": (face(keypoints=[*KEYPOINTS[:14], None]), "annotations[1]: its keypoints are ["),
  "nan": (
    face(keypoints=[float("nan"), *KEYPOINTS[1:]]),
    "holds the number NaN; mark landmarks that are not annotated",
  ),
  "hundreds of digits": (
    face(keypoints=[10**400, *KEYPOINTS[1:]]),
    "annotations[1]: its keypoints are [1000",
  ),
  "fourth visibility": (
    face(keypoints=[*KEYPOINTS[:14], 3]),
    "the visibility of a landmark is 3, expected 0, 1 or 2",
  ),
  "box of corners": (
    face(bbox=[40, 36, -10, -8]),
    "its bbox is [40, 36, -10, -8], expected x, y, width, height",
  ),
  "box of two": (face(bbox=[40, 36]), "its bbox is [40, 36]"),
  "image id twice": (
    lambda content: content["images"].append(content["images"][0]),
    "the id 100 belongs to two images",
  ),
  "image without a name": (
    lambda content: content["images"].append({"id": 3}),
    "images[4] is {'id': 3}, expected an id and",
  ),
  "image elsewhere": (
    lambda content: content["images"][1].update(file_name="../a.png"),
    "the image '../a.png' leads out of",
  ),
  "image turned": (
    lambda content: content["images"][1].update(width=50, height=60),
    "width and height of images/face 01.png should be 50 x 60, they are 60 x 50: turned or resized?",
  ),
  "other order": (
    lambda content: content["categories"][0]["keypoints"].reverse(),
    "key-points in another order than",
  ),
  "face twice": (
    lambda content: content["annotations"].append(content["annotations"][1]),
    "annotations.json, annotations[4]: same image and landmarks as annotations.json, annotations[1]",
  ),
}


@pytest.mark.parametrize("mistake", COCO)
def test_a_bad_coco_file_is_refused_with_one_line_for_each_problem(root, refused, mistake):
  change, named = COCO[mistake]
  content = json.loads(json.dumps(files.coco(SEEDS)))
  content = change(content) or content
  files.write_coco(root, content)
  error = refused()
  assert len([line for line in error.splitlines() if named in line]) == 1, error
  assert max(map(len, error.splitlines())) < 500


@pytest.mark.parametrize(
  ("content", "named"), [("{", "is not valid JSON ("), ("[" * 100_000, "is not valid JSON ("), ("", "is empty")]
)
def test_a_broken_coco_file_is_refused(root, refused, content, named):
  (root / "annotations.json").write_text(content)
  assert named in refused()


def test_pts_files_that_do_not_fit_are_named(root, refused):
  files.write_pts(root, SEEDS)
  folder = root / "images"
  (folder / "face 00.pts").write_text("1 2\n3 nan\n")
  (folder / "face 01.pts").write_text("1 2\n3 4\n")
  (folder / "face 02.png").rename(folder / "face 02.jpg")
  (folder / "face 03.jpg").write_bytes((folder / "face 03.png").read_bytes())
  (folder / "alone.pts").write_text("1 2\n")
  (folder / "._face 00.pts").write_bytes(b"\0\5\26\7")
  error = refused()
  assert "4 problems" in error
  for line in (
    "images/face 00.pts: line 2: '3 nan' is not a landmark",
    "images/face 01.pts: holds 2 landmarks, expected 5",
    "images/face 03.pts: expected one image of this name beside it, found face 03.jpg, face 03.png",
    "images/alone.pts: expected one image of this name beside it, found none",
  ):
    assert line in error


def test_a_broken_image_is_named(root, refused):
  files.write_table(root, table())
  (root / files.name(2)).write_text("<!doctype html>")
  assert "images/face 02.png: not an image: looks like HTML" in refused()


def test_lists_of_splits_that_do_not_fit_are_named(root, refused):
  files.write_table(root, table())
  (root / "images" / "more.png").write_bytes((root / files.name(0)).read_bytes())
  (root / "train.txt").write_text("face 00.png\nface 00.png\nmore.png\n")
  (root / "test.txt").write_text(f"{files.name(0)}\nnone.png\n../x.png\nface 01.png\n")
  error = refused()
  for line in (
    "train.txt, line 2: images/face 00.png is listed twice, in train.txt before",
    "train.txt, line 3: images/more.png is not annotated",
    "test.txt, line 1: images/face 00.png is listed twice, in train.txt before",
    "test.txt, line 2: there is no image 'none.png'",
    "test.txt, line 3: the image '../x.png' leads out of the dataset's folder",
    "images/face 02.png: is annotated but not listed in train.txt, test.txt",
    "images/face 03.png: is annotated but not listed in train.txt, test.txt",
  ):
    assert line in error


def test_two_ways_to_say_one_thing_are_refused(root, refused):
  files.write_table(root, beside(("split", "train")))
  (root / "train.txt").write_text("face 00.png\n")
  assert "has both a column `split` and train.txt: keep one of them" in refused()
  files.write_coco(root, files.coco(SEEDS))
  files.write_pts(root, [0])
  assert (
    "landmarks more than once, in landmarks.csv and annotations.json and images/face 00.pts: keep one"
    in refused()
  )


def test_a_folder_without_landmarks_says_what_they_are_called(root, refused):
  assert (
    "holds no landmarks: expected landmarks.csv, annotations.json or .pts files beside the images."
    in refused()
  )
  (root / "my_points.csv").write_text(GOOD)
  assert "is it my_points.csv? Rename it." in refused()


def test_a_mark_up_file_that_is_missing_or_wrong_is_refused(root, refused):
  files.write_table(root, table())
  (root / "markup.yaml").write_text(
    "name: a\norigin: 0\nlandmarks: 5\nmirror: [[0, 1], [1, 0], [7, 2], [3, 3]]\nshape: round\n"
  )
  error = refused()
  assert (
    len(error.splitlines()) == 1
    and "unknown key 'shape'" in error
    and "pairs 0 and 1" in error
    and "holds 7" in error
  )
  (root / "markup.yaml").write_text("name: !!python/object/apply:os.mkdir ['owned']\n")
  assert "not plain YAML, could not determine a constructor for the tag" in refused()
  (root / "markup.yaml").unlink()
  assert "markup.yaml cannot be read: No such file or directory" in refused()


def test_bad_lines_are_left_out_when_asked_and_listed(root, capfd):
  files.write_table(root, table(_1_3="left", _3_0="../x.png"))
  data_dir = root.parent / "data"
  assert (
    prepare.main(["custom", f"--manual_dir={root}", f"--data_dir={data_dir}", "--skip_bad"]) == 2
  )
  assert "every face of the split 'test' is bad" in capfd.readouterr().err
  files.write_table(root, table(_2_3="left", _3_0="../x.png"))
  assert (
    prepare.main(["custom", f"--manual_dir={root}", f"--data_dir={data_dir}", "--skip_bad"]) == 0
  )
  info = tfds.builder_from_directory(data_dir / "custom" / "my_faces" / "1.0.0").info
  assert info.metadata["skipped"].keys() == {"landmarks.csv, line 3", "landmarks.csv, line 4"}
  assert {split: found.num_examples for split, found in info.splits.items()} == {
    "train": 1,
    "test": 1,
  }
