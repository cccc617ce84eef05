"""A user's own dataset: three formats give the same records, and splits are fixed."""

import functools
import shutil

import custom_files as files
import numpy as np
import pytest

from fal_jax import custom_markup
from tfds_builders import prepare


@pytest.fixture
def root(tmp_path):
  return files.write_images(tmp_path / "my faces", range(12))


@pytest.fixture
def build(root, prepare_custom):
  """Runs the command line, see `prepare_custom`."""
  return functools.partial(prepare_custom, root)


def by_name(records):
  """(file name, face index) -> record, of all splits."""
  return {
    (row["file_name"].decode(), int(row["face_index"])): row
    for split in records.values()
    for row in split
  }


def names(records):
  return {
    split: sorted(row["file_name"].decode() for row in rows) for split, rows in records.items()
  }


def check_landmarks(records, seeds=range(12)):
  by_key = by_name(records)
  assert by_key.keys() == {(files.name(seed), 0) for seed in seeds}
  for seed in seeds:
    np.testing.assert_allclose(
      by_key[files.name(seed), 0]["landmarks"], files.landmarks(seed), rtol=0, atol=4e-6
    )


def declare_origin(root, origin):
  (root / "markup.yaml").write_text(files.MARKUP.replace("origin: 0", f"origin: {origin}"))


@pytest.mark.parametrize("origin", [0, 0.5, 1])
def test_a_table_becomes_zero_based_records_with_the_image_s_bytes(root, build, origin):
  declare_origin(root, origin)
  files.write_table(root, files.rows(range(12), origin=origin))
  out, info, records = build()
  check_landmarks(records)

  for (name, _), row in by_name(records).items():
    assert row["image"] == (root / name).read_bytes()
    assert row["visible"].all()
    assert np.isnan(row["box_dataset"]).all()
    np.testing.assert_array_equal(
      row["box_landmarks"], [*row["landmarks"].min(0), *row["landmarks"].max(0)]
    )
  assert info.metadata["markup"] == files.NUM
  assert custom_markup.parse_markup(info.metadata["own_markup"]).names == tuple(files.NAMES)
  assert f"--config='configs/custom.py:{root / 'markup.yaml'}'" in out.splitlines()[-1], (
    "a folder with a space in its name"
  )


@pytest.mark.parametrize("origin", [0, 0.5, 1])
def test_pts_files_beside_the_images_give_the_same(root, build, origin):
  declare_origin(root, origin)
  files.write_pts(root, range(12), origin=origin)
  check_landmarks(build()[2])


def test_a_coco_file_gives_the_same_and_boxes_from_the_corner(root, build):
  files.write_coco(root, files.coco(range(12)))
  _, _, records = build()
  check_landmarks(records)
  for row in by_name(records).values():
    np.testing.assert_array_equal(row["box_dataset"], [9.5, 7.5, 49.5, 43.5])


def test_coco_s_first_pixel_is_where_its_key_point_and_its_box_meet(root, build):
  """A box around the one pixel (20, 10) is [20, 10, 1, 1] in COCO.

  Here it ends half a pixel around that pixel's centre.
  """
  content = files.coco(range(12))
  for face in content["annotations"]:
    face["keypoints"][:2] = 20, 10
    face["bbox"] = [20, 10, 1, 1]
  files.write_coco(root, content)
  for row in by_name(build()[2]).values():
    np.testing.assert_array_equal(row["landmarks"][0], [20, 10])
    np.testing.assert_array_equal(row["box_dataset"], [19.5, 9.5, 20.5, 10.5])


def test_coco_visibility_says_annotated_hidden_or_visible(root, build):
  content = files.coco(range(12))
  for face in content["annotations"][:2]:
    face["keypoints"][2], face["keypoints"][3:6] = 1, [0, 0, 0]
  content["annotations"][2]["keypoints"] = [0] * 15
  content["annotations"][3]["iscrowd"] = 1
  files.write_coco(root, content)
  out, _, records = build()

  for note, row in (
    ("no landmark is annotated, left out", 2),
    ("iscrowd is 1: not a single face, left out", 3),
  ):
    first = f"annotations.json, annotations[{row}]"
    assert f"note: {note}: {first}" in out

  by_key = by_name(records)
  assert by_key.keys() == {(files.name(seed), 0) for seed in range(12) if seed not in (2, 3)}

  row = by_key[files.name(1), 0]
  np.testing.assert_array_equal(row["visible"], [False, False, True, True, True])
  np.testing.assert_array_equal(
    np.isnan(row["landmarks"]).all(-1), [False, True, False, False, False]
  )
  np.testing.assert_allclose(row["landmarks"][0], files.landmarks(1)[0], atol=4e-6)


def test_empty_cells_are_landmarks_that_are_not_annotated(root, build):
  table = files.rows(range(12))
  table[5][3:5] = "", " "
  files.write_table(root, table)
  row = by_name(build()[2])[files.name(4), 0]

  np.testing.assert_array_equal(
    np.isnan(row["landmarks"]).all(-1), [False, True, False, False, False]
  )
  np.testing.assert_array_equal(row["visible"], [True, False, True, True, True])
  assert np.isfinite(row["box_landmarks"]).all()


def test_columns_stand_in_any_order_and_boxes_share_the_origin(root, build):
  declare_origin(root, 1)
  table = [[*reversed(row)] for row in files.rows(range(12), origin=1)]
  boxes = [["box_x1", "box_y1", "box_x0", "box_y0"], *[[51, 46, 11, 9]] * 12]
  table = [[*row, *box] for row, box in zip(table, boxes, strict=True)]
  table[3][-4:] = [""] * 4
  files.write_table(root, table)
  _, _, records = build()
  check_landmarks(records)

  np.testing.assert_array_equal(by_name(records)[files.name(0), 0]["box_dataset"], [10, 8, 50, 45])
  assert np.isnan(by_name(records)[files.name(2), 0]["box_dataset"]).all()


def test_what_excel_and_windows_leave_in_a_table_does_no_harm(root, build):
  files.write_table(root, files.rows(range(12)))
  path = root / "landmarks.csv"
  path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b",", b", ") + b",,,,,,,,,,\r\n\r\n")
  check_landmarks(build()[2])


def test_several_faces_of_an_image_are_numbered_in_the_order_of_the_lines(root, build):
  table = files.rows(range(12))
  second = [files.name(3), *(files.landmarks(3) + 2).ravel().tolist()]
  files.write_table(root, [*table, second])
  _, _, records = build()

  assert names(records)["train"].count(files.name(3)) == 2
  np.testing.assert_allclose(
    by_name(records)[files.name(3), 1]["landmarks"], files.landmarks(3) + 2, atol=4e-6
  )


def test_images_are_also_found_by_their_name_in_images(root, build):
  table = files.rows(range(12))
  files.write_table(
    root, [table[0], *([str(row[0]).removeprefix("images/"), *row[1:]] for row in table[1:])]
  )
  check_landmarks(build()[2])


def test_without_a_split_every_tenth_image_is_held_out_and_that_is_said(root, build):
  files.write_table(root, [files.HEADER, *reversed(files.rows(range(12))[1:])])
  out, info, records = build()
  assert names(records)["test"] == [files.name(0), files.name(10)] and len(records["train"]) == 10
  note = "no split is given, so every tenth image is held out as `test`, the others are `train`"
  assert f"note: {note}: 2 of these, the first is {files.name(0)}" in out
  assert info.metadata["notes"][note] == [files.name(0), files.name(10)]


def test_a_bad_line_does_not_move_the_hold_out(root, build):
  table = files.rows(range(12))
  table[1][1] = "here"
  files.write_table(root, table)
  _, info, records = build("--skip_bad")
  assert names(records)["test"] == [files.name(10)]
  assert info.metadata["skipped"] == {"landmarks.csv, line 2": "x0: 'here' is not a decimal number"}


def test_a_column_says_the_splits(root, build):
  splits = ["split", *["train", "val", "test"] * 4]
  files.write_table(
    root, [[*row, split] for row, split in zip(files.rows(range(12)), splits, strict=True)]
  )
  out, _, records = build()

  assert names(records) == {
    split: [files.name(seed) for seed in range(k, 12, 3)] for k, split in enumerate(splits[1:4])
  }
  assert "held out" not in out


@pytest.mark.parametrize(
  "write", [files.write_pts, lambda root, seeds: files.write_coco(root, files.coco(seeds))]
)
def test_lists_say_the_splits_of_every_format(root, build, write):
  write(root, range(12))
  (root / "train.txt").write_text("\n".join(files.name(seed) for seed in range(9)) + "\n")
  (root / "test.txt").write_bytes(
    "\r\n\r\n".join(f"face {seed:02d}.png" for seed in range(9, 12)).encode()
  )
  _, _, records = build()

  assert names(records) == {
    "train": [files.name(k) for k in range(9)],
    "test": [files.name(k) for k in range(9, 12)],
  }


def test_an_image_without_landmarks_is_a_note(root, build):
  files.write_pts(root, range(11))
  out, _, _ = build()
  assert f"note: an image without landmarks, not used: {files.name(11)}" in out


def test_a_mark_up_of_the_library_needs_only_its_number(tmp_path, build, root):
  (root / "markup.yaml").write_text("name: my_faces\norigin: 0\nmarkup: 19\n")
  header = ["image", *(f"{axis}{k}" for k in range(19) for axis in "xy")]
  points = np.random.default_rng(0).uniform(5, 45, (12, 38))
  files.write_table(
    root, [header, *([files.name(seed), *points[seed].tolist()] for seed in range(12))]
  )
  _, info, records = build()

  assert info.metadata["markup"] == 19 and len(by_name(records)) == 12


def test_two_datasets_live_in_one_folder_and_keep_their_names(root, build, tmp_path, capfd):
  files.write_table(root, files.rows(range(12)))
  build()
  other = shutil.copytree(root, tmp_path / "other")
  (other / "markup.yaml").write_text(files.MARKUP.replace("my_faces", "others"))

  for name, code in (("custom/others", 0), ("custom/my_faces", 2), ("custom", 0)):
    assert prepare.main([name, f"--manual_dir={other}", f"--data_dir={tmp_path / 'data'}"]) == code
  assert "custom has no configuration 'my_faces'; it has others." in capfd.readouterr().err
  assert sorted(path.name for path in (tmp_path / "data" / "custom").iterdir()) == [
    "my_faces",
    "others",
  ]
