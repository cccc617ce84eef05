"""Mistakes in a user's own dataset are named by file and line, all at once; nothing is written."""

import custom_files as files
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfds_builders import prepare

SEEDS = range(4)


def table(**cells):
  """The good table with some cells replaced; `_5_2` is the third cell of the sixth line."""
  rows = files.rows(SEEDS)
  for cell, value in cells.items():
    row, column = map(int, cell.strip("_").split("_"))
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
  "too large": (text(table(_2_3="1e400")), "x1: '1e400' is out of range"),
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
    "line 2: the image '../x.jpg' is outside the dataset's folder",
  ),
  "hidden climb": (text(table(_1_0="images/../../x.jpg")), "is outside the dataset's folder"),
  "absolute path": (
    text(table(_1_0="/etc/passwd")),
    "line 2: the image '/etc/passwd' is outside the dataset's folder",
  ),
  "missing image": (
    text(table(_1_0="images/none.png")),
    "line 2: there is no image 'images/none.png', neither here",
  ),
  "no image named": (text(table(_1_0="")), "landmarks.csv, line 2: missing image name"),
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
    "unexpected end of data; write one face per line",
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


@pytest.mark.slow
@pytest.mark.parametrize("mistake", TABLES)
def test_a_bad_table_is_refused_with_one_line_for_each_problem(custom_root, refused, mistake):
  content, named = TABLES[mistake]
  (custom_root / "landmarks.csv").write_bytes(
    content if isinstance(content, bytes) else content.encode()
  )
  error = refused()
  assert named in error and len([line for line in error.splitlines() if named in line]) == 1
  assert max(map(len, error.splitlines())) < 500


def test_pts_files_that_do_not_fit_are_named(custom_root, refused):
  files.write_pts(custom_root, SEEDS)
  folder = custom_root / "images"
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


def test_a_broken_image_is_named(custom_root, refused):
  files.write_table(custom_root, table())
  (custom_root / files.name(2)).write_text("<!doctype html>")
  assert "images/face 02.png: not an image: looks like HTML" in refused()


def test_lists_of_splits_that_do_not_fit_are_named(custom_root, refused):
  files.write_table(custom_root, table())
  (custom_root / "images" / "more.png").write_bytes((custom_root / files.name(0)).read_bytes())
  (custom_root / "train.txt").write_text("face 00.png\nface 00.png\nmore.png\n")
  (custom_root / "test.txt").write_text(f"{files.name(0)}\nnone.png\n../x.png\nface 01.png\n")
  error = refused()

  for line in (
    "train.txt, line 2: images/face 00.png is listed twice, in train.txt before",
    "train.txt, line 3: images/more.png is not annotated",
    "test.txt, line 1: images/face 00.png is listed twice, in train.txt before",
    "test.txt, line 2: there is no image 'none.png'",
    "test.txt, line 3: the image '../x.png' is outside the dataset's folder",
    "images/face 02.png: is annotated but not listed in train.txt, test.txt",
    "images/face 03.png: is annotated but not listed in train.txt, test.txt",
  ):
    assert line in error


def test_two_ways_to_say_one_thing_are_refused(custom_root, refused):
  files.write_table(custom_root, beside(("split", "train")))
  (custom_root / "train.txt").write_text("face 00.png\n")

  assert "has both a column `split` and train.txt: keep one of them" in refused()

  files.write_coco(custom_root, files.coco(SEEDS))
  files.write_pts(custom_root, [0])

  sources = "landmarks.csv and annotations.json and images/face 00.pts"
  assert f"landmarks more than once, in {sources}: keep one" in refused()


def test_a_mark_up_file_that_is_missing_or_wrong_is_refused(custom_root, refused):
  files.write_table(custom_root, table())
  (custom_root / "markup.yaml").write_text(
    "name: a\norigin: 0\nlandmarks: 5\nmirror: [[0, 1], [1, 0], [7, 2], [3, 3]]\nshape: round\n"
  )
  error = refused()

  assert len(error.splitlines()) == 1
  assert "unknown key 'shape'" in error
  assert "pairs 0 and 1" in error
  assert "holds 7" in error

  (custom_root / "markup.yaml").write_text("name: !!python/object/apply:os.mkdir ['owned']\n")
  assert "not plain YAML, the tag" in refused()

  (custom_root / "markup.yaml").unlink()
  assert "markup.yaml cannot be read: No such file or directory" in refused()


def test_bad_lines_are_left_out_when_asked_and_listed(custom_root, capfd):
  files.write_table(custom_root, table(_1_3="left", _3_0="../x.png"))
  data_dir = custom_root.parent / "data"
  code = prepare.main(
    ["custom", f"--manual_dir={custom_root}", f"--data_dir={data_dir}", "--skip_bad"]
  )

  assert code == 2
  assert "every face of the split 'test' is bad" in capfd.readouterr().err

  files.write_table(custom_root, table(_2_3="left", _3_0="../x.png"))
  code = prepare.main(
    ["custom", f"--manual_dir={custom_root}", f"--data_dir={data_dir}", "--skip_bad"]
  )

  assert code == 0

  info = tfds.builder_from_directory(data_dir / "custom" / "my_faces" / "1.0.0").info
  assert info.metadata["skipped"].keys() == {"landmarks.csv, line 3", "landmarks.csv, line 4"}
  assert {split: summary.num_examples for split, summary in info.splits.items()} == {
    "train": 1,
    "test": 1,
  }
