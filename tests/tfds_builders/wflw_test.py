"""The WFLW builder: every face of both lists, exact records, subsets, problems by line."""

import re
import shutil
from pathlib import Path

import genuine_files
import numpy as np
import prepared
import pytest
import tensorflow_datasets as tfds
import wflw_files

from fal_jax.errors import InputError
from tfds_builders import prepare
from tfds_builders.wflw import lists
from tfds_builders.wflw.wflw_dataset_builder import Builder

ALL = "0--Parade/0_Parade_Parade_0_{}.jpg"


@pytest.fixture
def root(tmp_path, monkeypatch):
  monkeypatch.setattr(Builder, "OFFICIAL_COUNTS", wflw_files.COUNTS)
  wflw_files.write_dataset(tmp_path / "wflw")
  return tmp_path / "wflw"


def build(root, **options) -> Builder:
  return Builder(data_dir=root.parent / "data", **options)


def change(path: Path, old: str, new: str) -> None:
  text = path.read_text(encoding="utf-8")
  assert old in text
  path.write_text(text.replace(old, new, 1), encoding="utf-8")


def samples() -> Path:
  return genuine_files.path("samples", "wflw")


def test_the_archives_become_exact_records_by_the_command_line(root, tmp_path, capfd):
  wflw_files.pack(root, tmp_path / "packed")
  code = prepare.main(
    ["wflw", f"--manual_dir={tmp_path / 'packed'}", f"--data_dir={tmp_path / 'data'}"]
  )

  assert code == 0

  out = capfd.readouterr().out
  assert ["train", "12", "12"] in prepared.table(out)
  assert "--config=configs/wflw.py" in out

  builder = tfds.builder_from_directory(tmp_path / "data" / "wflw" / "1.0.0")
  assert builder.info.metadata["markup"] == 98 and builder.info.metadata["partial"] is False

  raw = {"image": tfds.decode.SkipDecoding()}

  for split, names in wflw_files.NAMES.items():
    rows = {
      (row["file_name"].decode(), int(row["face_index"])): row
      for row in builder.as_data_source(split=split, decoders=raw)
    }

    assert len(rows) == wflw_files.COUNTS[split]

    before = wflw_files.NAMES["train"] if split == "test" else []

    for index, name in enumerate(names):
      row = rows[name, (before + names[:index]).count(name)]

      assert row["image"] == (root / "WFLW_images" / name).read_bytes()
      # The file's numbers count from 0: nothing is subtracted, nothing clamped.
      np.testing.assert_array_equal(
        row["landmarks"], wflw_files.landmarks(split, index).astype(np.float32)
      )
      assert row["landmarks"][0, 0] == -1.25 and row["visible"].all()
      np.testing.assert_array_equal(row["box_dataset"], wflw_files.box(index))

      flags = wflw_files.FLAGS[index] if split == "test" else "000010"
      subsets = [
        name for name, flag in zip(wflw_files.ATTRIBUTES, flags, strict=True) if flag == "1"
      ]

      assert row["subsets"].decode().split() == subsets


def test_faces_of_one_image_are_counted_over_both_lists(root):
  builder = build(root)
  splits = prepared.labels(builder.plan(root))
  assert splits["train"][-3:] == [f"12--Group/12_Group_12_1.jpg#{index}" for index in range(3)]
  assert splits["test"][0] == "12--Group/12_Group_12_1.jpg#3"
  assert builder.info.metadata["notes"]["has faces in train and in test"] == [
    "12--Group/12_Group_12_1.jpg"
  ]


def test_fit_and_val_are_a_fixed_cut_through_train(root):
  splits = prepared.labels(build(root).plan(root))
  assert splits["val"] == [f"{ALL.format(0)}#0", "12--Group/12_Group_12_1.jpg#1"]  # lines 1 and 11
  assert sorted(splits["fit"] + splits["val"]) == sorted(splits["train"])
  change(root / wflw_files.FACES.format("train"), wflw_files.face_line("train", 1), "not a face\n")
  (root / "WFLW_images" / ALL.format(2)).unlink()
  without = prepared.labels(build(root, skip_bad=True, allow_partial=True).plan(root))
  assert without["val"] == splits["val"] and len(without["fit"]) == len(splits["fit"]) - 2


def test_official_counts_add_up():
  counts = Builder.OFFICIAL_COUNTS
  assert counts["fit"] + counts["val"] == counts["train"]
  assert counts["val"] == len(range(0, counts["train"], 10))


def test_lists_without_their_folder_and_windows_line_ends_are_read(root):
  expected = prepared.labels(build(root).plan(root))
  path = root / wflw_files.FACES.format("test")
  path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
  for folder in (root / "WFLW_annotations").iterdir():
    shutil.move(folder, root)
  assert prepared.labels(build(root).plan(root)) == expected


def test_everything_missing_is_listed_at_once_with_where_to_get_it(root):
  (root / wflw_files.FACES.format("train")).unlink()
  change(root / wflw_files.FACES.format("test"), wflw_files.face_line("test", 1), "")
  shutil.rmtree(root / "WFLW_images" / "53--Raid")

  with pytest.raises(InputError) as caught:
    build(root).plan(root)
  folder = "list_98pt_rect_attr_train_test"
  assert str(caught.value).splitlines()[1:4] == [
    f"  {folder}/list_98pt_rect_attr_train.txt: "
    "not found, expected 12 faces (WFLW_annotations.tar.gz)",
    f"  {folder}/list_98pt_rect_attr_test.txt: expected 5 faces, found 4",
    "  WFLW_images: images of 2 of 4 faces of test not found, "
    "the first is 53--Raid/53_Raid_été_53_3.jpg",
  ]
  assert "https://wywu.github.io/" in str(caught.value)
  assert "WFLW_images.tar.gz (about 743 MB)" in str(caught.value)

  builder = build(root, allow_partial=True)
  assert list(builder.plan(root)) == ["test"] and builder.info.metadata["partial"] is True


@pytest.mark.parametrize("folder", ["WFLW_images", "WFLW_annotations"])
def test_a_folder_without_the_other_is_refused_even_for_a_partial_build(folder, root):
  shutil.rmtree(root / folder)
  with pytest.raises(InputError, match=r"none of its files were found below .*\n.* not found"):
    build(root, allow_partial=True).plan(root)


# What stands in the place of a line of the list of test, made from the line; what the finding must
# say.
_BAD_LINES = {
  "one number too few": (
    lambda line: line.split(maxsplit=1)[1],
    "205 numbers before the image's name, expected 206",
  ),
  "one number too many": (
    lambda line: "1 " + line,
    "an attribute is 57, expected 0 or 1|more than 206 numbers",
  ),
  "cut short": (lambda line: line[:700], "numbers before the image's name, expected 206"),
  "no name": (
    lambda line: " ".join(line.split()[:206]),
    "206 numbers before the image's name, expected 206",
  ),
  "not a number": (
    lambda line: "nan" + line[line.index(" ") :],
    "0 numbers before the image's name",
  ),
  "huge number": (lambda line: "1e400" + line[line.index(" ") :], "a number is too large"),
  "attribute of two": (
    lambda line: line.replace(" 0 0 0 0 0 0 ", " 0 0 2 0 0 0 "),
    "an attribute is 2, expected 0 or 1",
  ),
  "width and height": (
    lambda line: line.replace(" 4 2 57 45 ", " 30 2 27 43 "),
    "the rectangle .* has no area",
  ),
  "name that leads out": (
    lambda line: line.replace("37--Soccer", ".."),
    "is outside the dataset's folder",
  ),
  "absolute name": (
    lambda line: line.replace("37--Soccer", "/etc"),
    "is outside the dataset's folder",
  ),
  "endless name": (lambda line: line.replace("37--Soccer", "x" * 300), "is not a valid file name"),
}


@pytest.mark.parametrize("kind", _BAD_LINES)
def test_each_kind_of_bad_line_is_one_line_naming_it(kind, root):
  spoil, cause = _BAD_LINES[kind]
  line = wflw_files.face_line("test", 1)
  change(root / wflw_files.FACES.format("test"), line, spoil(line).rstrip("\n") + "\n")

  with pytest.raises(
    InputError, match=rf"\n  list_98pt_rect_attr_test\.txt, line 2: .*({cause})"
  ) as caught:
    build(root).plan(root)
  assert "wflw: 1 problem below" in str(caught.value) and len(str(caught.value).splitlines()) == 2
  assert len(build(root, skip_bad=True).plan(root)["test"]) == 4


@pytest.mark.parametrize(
  ("content", "cause"),
  [
    (b"", "is empty"),
    (b"<!DOCTYPE html><html>", "is a web page"),
    (
      b"\xff\xfe1 2 3",
      r"is not text in UTF-8 \(byte 0 is not; saved as UTF-16\?\): download it again",
    ),
    (
      b"1 2 3 a.jpg\n",
      "is not a WFLW list, no line of it is as expected; line 1: 3 numbers before the image's name",
    ),
  ],
)
@pytest.mark.parametrize(
  "name", [wflw_files.FACES.format("train"), wflw_files.SUBSET.format("blur")]
)
def test_a_file_that_is_no_list_is_one_sentence_and_exit_2(content, cause, name, root, capfd):
  (root / name).write_bytes(content)
  code = prepare.main(
    ["wflw", f"--manual_dir={root}", f"--data_dir={root.parent / 'data'}", "--skip_bad"]
  )

  assert code == 2

  error = capfd.readouterr().err
  assert error.startswith(f"error: {root / name} ") and len(error.splitlines()) == 1
  assert re.search(cause, error)


def test_a_bad_image_is_named_once_for_each_of_its_faces(root):
  (root / "WFLW_images" / "53--Raid" / "53_Raid_été_53_3.jpg").write_bytes(b"")
  with pytest.raises(InputError) as caught:
    build(root).plan(root)
  lines = [line.split(": ")[0] for line in str(caught.value).splitlines()[1:]]
  assert lines == [f"  53--Raid/53_Raid_été_53_3.jpg#{index}" for index in range(2)]


def test_a_link_that_leads_out_of_the_folder_is_not_read(root):
  image = root / "WFLW_images" / ALL.format(3)
  image.rename(root.parent / "elsewhere.jpg")
  image.symlink_to(root.parent / "elsewhere.jpg")

  with pytest.raises(
    InputError,
    match=r"\n  0--Parade/0_Parade_Parade_0_3.jpg#0: .* is outside the dataset's folder",
  ):
    build(root).plan(root)


def test_attributes_and_subset_lists_that_disagree_are_notes(root):
  change(root / wflw_files.SUBSET.format("blur"), wflw_files.subset_line(4), "")
  path = root / wflw_files.SUBSET.format("makeup")
  path.write_text(path.read_text(encoding="utf-8") + wflw_files.subset_line(1), encoding="utf-8")
  change(
    root / wflw_files.SUBSET.format("largepose"), "12--Group", "13--Group"
  )  # another image, the same coordinates
  (root / wflw_files.SUBSET.format("expression")).unlink()
  builder = build(root)
  faces = builder.plan(root)["test"]

  assert [face.extra["subsets"].split() for face in faces][4] == ["blur"], "the attributes count"
  assert [face.extra["subsets"].split() for face in faces][1] == []

  notes = {
    note: files
    for note, files in builder.info.metadata["notes"].items()
    if "list" in note or "not found" in note
  }

  assert notes == {
    "has the attribute blur and is not in list_98pt_test_blur.txt": [ALL.format(77)],
    "is in list_98pt_test_makeup.txt without the attribute makeup in the list of all faces": [
      wflw_files.NAMES["test"][1]
    ],
    "has the attribute largepose and is not in list_98pt_test_largepose.txt": [
      "12--Group/12_Group_12_1.jpg"
    ],
    "is in list_98pt_test_largepose.txt without the attribute largepose in the list of all faces": [
      "13--Group/12_Group_12_1.jpg"
    ],
    "not found, so that the attributes could not be compared with it": [
      "list_98pt_test/list_98pt_test_expression.txt"
    ],
  }


def test_known_flaws_of_annotations_are_kept_and_noted(root):
  points = wflw_files.landmarks("train", 4)
  points[92] = points[88]  # the inner corners of the mouth
  line = wflw_files.face_line("train", 4)
  coordinates = " ".join(f"{value:.6f}" for value in points.ravel())
  flawed = f"{coordinates} {line.split(maxsplit=196)[196]}"
  change(root / wflw_files.FACES.format("train"), line, flawed)
  change(root / wflw_files.FACES.format("train"), " 8 2 57 41 ", " 158 2 207 41 ")  # line 6
  builder = build(root)

  assert len(builder.plan(root)["train"]) == 12

  notes = builder.info.metadata["notes"]
  assert notes["a left landmark and its right counterpart coincide"] == [f"{ALL.format(4)}#0"]
  assert notes["all landmarks are outside the rectangle"] == [f"{ALL.format(5)}#0"]
  assert len(notes["landmarks outside the image"]) == 17


def test_one_face_of_an_image_with_the_known_first_landmark_is_enough(root, monkeypatch):
  name = "12--Group/12_Group_12_1.jpg"
  x, y = wflw_files.landmarks("train", 10)[0]
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {name: (x, y)})
  build(root).plan(root)
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {name: (x - 1, y - 1)})  # files that count from 1

  with pytest.raises(
    InputError,
    match=rf"wflw: 1 problem .*\n  {name}#1: the first landmark is .* another version of them\?",
  ):
    build(root).plan(root)


def test_genuine_lines_of_the_subset_lists_are_read_exactly():
  folder = samples()

  assert {
    path.stem.removeprefix("list_98pt_test_") for path in folder.glob("list_98pt_test_*.txt")
  } == set(lists.ATTRIBUTES)

  lines = {}

  for attribute in lists.ATTRIBUTES:
    for _, text in lists.read_lines(folder / f"list_98pt_test_{attribute}.txt"):
      line = lists.parse_subset_line(text)
      assert " ".join(f"{value:.6f}" for value in line.landmarks.ravel()) + f" {line.name}" == text
      lines[line.name] = line.landmarks

  assert len(lines) == 13
  for name, known in Builder.FIRST_LANDMARKS.items():
    assert tuple(lines[name][0]) == known

  truth = genuine_files.arrays(folder.parents[1] / "annotations" / "wflw_test_subsets.npz")
  for name, landmarks in lines.items():
    assert (truth["landmarks"][truth["names"] == name] == landmarks).all((1, 2)).any(), name


def test_genuine_points_rectangle_and_attributes_make_a_valid_line():
  folder = samples()
  truth = genuine_files.arrays(folder.parents[1] / "annotations" / "wflw_test_subsets.npz")
  checked = 0

  for path in sorted(folder.glob("*_0.txt")):
    points = path.read_text().split()[1:]
    rectangle = path.with_suffix(".rct").read_text().split()
    line = lists.parse_line(" ".join([*points, *rectangle, *"010010", "a--b/c d.jpg"]))

    assert (line.name, line.attributes) == ("a--b/c d.jpg", ("expression", "occlusion"))
    assert [f"{value:.6f}" for value in [*line.landmarks.ravel(), *line.box]] == [
      *points,
      *rectangle,
    ]

    checked += bool((truth["landmarks"] == line.landmarks).all((1, 2)).any())

  assert checked == 4  # the fifth face is in none of the six subsets
