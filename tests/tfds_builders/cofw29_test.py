"""The COFW-29 builder: exact records out of MATLAB 7.3 files, every problem named at once."""

import json
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cofw_files
import genuine_files
import h5py
import numpy as np
import prepared
import pytest
import scipy.io

from fal_jax.errors import InputError
from fal_jax.images import read_image
from tfds_builders import prepare
from tfds_builders.cofw29.cofw29_dataset_builder import Builder
from tfds_builders.common.cofw import CofwImage, box_from_xywh
from tfds_builders.common.downloads import Downloads

TRAIN, TEST = range(12), range(50, 53)
OFFICIAL = {split: Builder.OFFICIAL_COUNTS[split] for split in ("train", "fit", "val", "test")}


@pytest.fixture
def root(tmp_path, monkeypatch):
  """A small COFW, taken for a complete one."""
  monkeypatch.setattr(Builder, "OFFICIAL_COUNTS", {"train": 12, "fit": 10, "val": 2, "test": 3})
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {})
  (tmp_path / "cofw").mkdir()
  cofw_files.write_cofw(tmp_path / "cofw" / "COFW_train_color.mat", "Tr", TRAIN)
  cofw_files.write_cofw(tmp_path / "cofw" / "COFW_test_color.mat", "T", TEST)
  return tmp_path / "cofw"


def build(root, **options) -> Builder:
  return Builder(data_dir=root.parent / "data", **options)


def test_official_counts_are_the_papers():
  assert OFFICIAL["train"] == 1345 == OFFICIAL["fit"] + OFFICIAL["val"] and OFFICIAL["test"] == 507
  assert OFFICIAL["val"] == len(range(0, 1345, 10))


def test_records_hold_the_same_pixels_and_zero_based_landmarks(root, capfd):
  code = prepare.main(["cofw29", f"--data_dir={root.parent / 'data'}", f"--manual_dir={root}"])
  printed = capfd.readouterr()

  assert (code, printed.err) == (0, "")
  assert ["train", "12", "12"] in prepared.table(printed.out)
  note = "note: stored grey; all three channels hold the same: "
  assert f"{note}COFW_train_color.mat/0004" in printed.out
  assert "--config=configs/cofw29.py" in printed.out
  assert printed.out.rstrip().endswith("--workdir=runs/cofw29")

  info, records = prepared.read(root.parent / "data", "cofw29")
  assert prepared.counts(records) == {"train": 12, "fit": 10, "val": 2, "test": 3}
  assert info.metadata["markup"] == 29 and info.metadata["partial"] is False

  for split, indices in (("train", TRAIN), ("test", TEST)):
    rows = {row["file_name"].decode(): row for row in records[split]}
    for position, index in enumerate(indices):
      row = rows[f"COFW_{split}_color.mat/{position + 1:04d}"]
      pixels = read_image(row["image"])
      expected = cofw_files.photo(index)
      np.testing.assert_array_equal(
        pixels, expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, -1)
      )
      np.testing.assert_allclose(
        row["landmarks"], cofw_files.face_landmarks(index, 29), rtol=0, atol=5e-6
      )
      np.testing.assert_array_equal(row["visible"], cofw_files.face_visible(index, 29))
      np.testing.assert_array_equal(row["box_dataset"], cofw_files.face_box(index))


def test_images_are_the_same_from_many_threads(root):
  images = [CofwImage(root / "COFW_train_color.mat", "IsTr", index) for index in TRAIN] * 10
  alone = [image.read_bytes() for image in images[: len(TRAIN)]]
  with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(CofwImage.read_bytes, images)) == alone * 10


def test_fit_and_val_are_a_fixed_cut_through_train(root):
  splits = prepared.names(build(root).plan(root))

  assert splits["val"] == ["COFW_train_color.mat/0001", "COFW_train_color.mat/0011"]
  assert sorted(splits["fit"] + splits["val"]) == splits["train"]

  cofw_files.change_variable(
    root / "COFW_train_color.mat",
    "phisTr",
    lambda rows: np.where(np.arange(12)[:, None] == 1, np.nan, rows),
  )
  without = prepared.names(build(root, skip_bad=True).plan(root))

  assert without["val"] == splits["val"]
  assert without["fit"] == [x for x in splits["fit"] if not x.endswith("0002")]


@pytest.mark.parametrize("packed", [False, True])
def test_files_are_found_where_unpacking_puts_them(root, packed):
  expected = prepared.names(build(root).plan(root))
  files = sorted(root.glob("*.mat"))
  if packed:
    with zipfile.ZipFile(root / "COFW_color.zip", "w") as archive:
      for file in files:
        archive.write(file, f"COFW_color/{file.name}")
        file.unlink()
  else:
    (root / "COFW_color").mkdir()
    for file in files:
      file.rename(root / "COFW_color" / file.name)

  assert prepared.names(build(root).plan(root)) == expected


def test_a_missing_file_is_named_with_where_to_get_it(root):
  (root / "COFW_train_color.mat").unlink()
  with pytest.raises(InputError) as caught:
    build(root).plan(root)
  assert str(caught.value).splitlines()[1] == "  COFW_train_color.mat: expected 12 faces, found 0"
  assert "https://data.caltech.edu/records/bc0bf-nc666" in str(caught.value)
  builder = build(root, allow_partial=True)
  assert prepared.counts(builder.plan(root)) == {"test": 3}


def test_without_h5py_the_sentence_says_how_to_install_it(root, monkeypatch):
  monkeypatch.setitem(sys.modules, "h5py", None)
  with pytest.raises(InputError, match=r"requires h5py: `pip install 'fal_jax\[datasets\]'`"):
    build(root).plan(root)


def cut(file: Path, part: float) -> None:
  file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])


def change(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
  """Something that changes one variable of a file."""
  return lambda file: cofw_files.change_variable(file, name, change)


_BAD_FILES = {
  "login page": (lambda file: file.write_bytes(b"<!DOCTYPE html><html>"), "is a web page"),
  "empty": (lambda file: file.write_bytes(b""), "is empty"),
  "truncated": (lambda file: cut(file, 0.5), "is truncated"),
  "version 5": (
    lambda file: scipy.io.savemat(file, {"IsT": 1}),
    "is a MATLAB 5 file, expected version 7.3",
  ),
  "another file": (
    lambda file: cofw_files.write_cofw(file, "Tr", TEST),
    "has no variable 'IsT', 'phisT', 'bboxesT'",
  ),
  "other landmarks": (
    change("phisT", lambda rows: rows[:, :58]),
    "phisT is 3 x 58, expected any x 87",
  ),
  "a face less": (change("phisT", lambda rows: rows[1:]), "bboxesT is 3 x 4, expected 2 x 4"),
  "no cells": (change("IsT", lambda _: np.eye(3)), "IsT is not a cell array"),
}


@pytest.mark.parametrize("kind", _BAD_FILES)
def test_each_kind_of_bad_file_is_one_line_naming_it(kind, root):
  spoil, cause = _BAD_FILES[kind]
  spoil(root / "COFW_test_color.mat")

  with pytest.raises(InputError) as caught:
    build(root).plan(root)

  first, line = str(caught.value).splitlines()[:2]
  assert first.startswith("cofw29 is not complete")
  assert line.startswith(
    f"  COFW_test_color.mat: expected 3 faces, found 0: {root / 'COFW_test_color.mat'}"
  )
  assert cause in line


def replace_cell(file: Path, index: int, value: np.ndarray | None) -> None:
  with h5py.File(file, "r+") as opened:
    reference = h5py.Reference()
    if value is not None:
      reference = opened.create_dataset("#refs#/other", data=value).ref
    opened["IsT"][0, index] = reference


def damage_pixels(file: Path, index: int) -> None:
  with h5py.File(file, "r") as opened:
    where = opened["#refs#"][f"IsT_{index}"].id.get_chunk_info(0)
  data = bytearray(file.read_bytes())
  data[where.byte_offset : where.byte_offset + where.size] = bytes(where.size)
  file.write_bytes(data)


_SECOND = np.arange(3)[:, None] == 1
_SECOND_FACE = _SECOND & (np.arange(87) < 58)
_BAD_FACES = {
  "not a number": (
    change("phisT", lambda rows: np.where(_SECOND_FACE, np.nan, rows)),
    "landmark 0 is [nan, nan]",
  ),
  "occlusion": (
    change("phisT", lambda rows: np.where(_SECOND, 7, rows)),
    "occlusion 7, expected 0 or 1",
  ),
  "another image": (
    change("phisT", lambda rows: np.where(_SECOND_FACE, rows + 300, rows)),
    "px outside the 60 x 70 image, further than",
  ),
  "no pixels": (
    lambda file: replace_cell(file, 1, np.eye(5)),
    "not an image: IsT{2} holds float64 5 x 5",
  ),
  "four channels": (
    lambda file: replace_cell(file, 1, np.zeros((4, 6, 5), np.uint8)),
    "IsT{2} holds uint8 5 x 6 x 4",
  ),
  "nothing": (lambda file: replace_cell(file, 1, None), "IsT{2} holds nothing"),
  "damaged pixels": (lambda file: damage_pixels(file, 1), "is damaged"),
}


@pytest.mark.parametrize("kind", _BAD_FACES)
def test_each_kind_of_bad_face_is_one_line_naming_it(kind, root):
  spoil, cause = _BAD_FACES[kind]
  spoil(root / "COFW_test_color.mat")

  line = prepared.only_problem("cofw29", lambda: build(root).plan(root))

  assert line.startswith("  COFW_test_color.mat/0002: ")
  assert cause in line
  assert len(build(root, skip_bad=True).plan(root)["test"]) == 2


def test_a_box_without_extent_is_noted_and_left_out(root):
  cofw_files.change_variable(
    root / "COFW_test_color.mat", "bboxesT", lambda boxes: np.where(_SECOND, 0, boxes)
  )
  builder = build(root)
  face = builder.plan(root)["test"][1]

  assert np.isnan(face.extra["box_dataset"]).all()
  assert builder.info.metadata["notes"]["its box has no extent; the record has none"] == [
    "COFW_test_color.mat/0002"
  ]


def test_boxes_lose_the_one_and_keep_their_size():
  np.testing.assert_array_equal(box_from_xywh(np.array([64, 9, 120, 116])), [63, 8, 183, 124])


def test_files_that_count_from_zero_are_told_by_their_first_landmark(root, monkeypatch):
  first = cofw_files.face_landmarks(TEST[0], 29)[0]
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {"COFW_test_color.mat/0001": tuple(first)})
  build(root).plan(root)
  cofw_files.change_variable(
    root / "COFW_test_color.mat", "phisT", lambda rows: rows - (np.arange(87) < 58)
  )

  with pytest.raises(InputError, match="another version of them"):
    build(root).plan(root)


def test_all_genuine_test_annotations_are_read_exactly(tmp_path):
  """The 507 genuine faces, counted from 1 again and put into a file as MATLAB writes it."""
  shared = genuine_files.path()
  faces = genuine_files.arrays(shared / "annotations" / "cofw29_test.npz")
  order = np.argsort([int(Path(name).stem) for name in faces["names"]])
  landmarks, visible = faces["landmarks"][order], faces["visible"][order]
  rows = np.array([cofw_files.cofw_row(*face) for face in zip(landmarks, visible, strict=True)])
  boxes = np.tile([1.0, 1, 5, 5], (507, 1))
  path = tmp_path / "COFW_test_color.mat"
  cofw_files.write_mat73(
    path, {"phisT": rows, "bboxesT": boxes}, {"IsT": [np.zeros((9, 9, 3), np.uint8)] * 507}
  )
  read = Builder(data_dir=tmp_path).layout(Downloads([tmp_path])).splits["test"]

  np.testing.assert_allclose([face.landmarks for face in read], landmarks, rtol=0, atol=1e-12)
  np.testing.assert_array_equal([face.extra["visible"] for face in read], visible)

  for face in read:
    known = Builder.FIRST_LANDMARKS.get(face.file_name, face.landmarks[0])
    np.testing.assert_allclose(face.landmarks[0], known, rtol=0, atol=1e-3)
  # mmpose, which subtracts the one, numbers the test faces on from the 1,345 of training: the order
  # and the convention agree.
  for known in json.loads((shared / "samples" / "cofw29" / "test_cofw.json").read_text())[
    "annotations"
  ]:
    points = np.array(known["keypoints"]).reshape(29, 3)
    face = read[known["id"] - 1345 - 1]
    np.testing.assert_allclose(face.landmarks, points[:, :2], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(face.extra["visible"], points[:, 2] == 2)
