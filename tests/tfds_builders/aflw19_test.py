"""The AFLW-19 builder: orders of the .mat file undone, the split and both frontal recipes."""

import json
import re
import shutil
from pathlib import Path

import aflw19_files
import genuine_files
import h5py
import numpy as np
import prepared
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from fal_jax import metrics
from fal_jax.errors import InputError
from tfds_builders import prepare
from tfds_builders.aflw19 import release
from tfds_builders.aflw19.aflw19_dataset_builder import Builder

MAT = "AFLWinfo_release.mat"
FLICKR = Path("aflw/data/flickr")


@pytest.fixture
def root(tmp_path, monkeypatch):
  aflw19_files.expect_counts(monkeypatch)
  aflw19_files.write_dataset(tmp_path / "aflw19")
  return tmp_path / "aflw19"


def build(root, **options) -> Builder:
  return Builder(data_dir=root.parent / "data", **options)


def changed(name: str, where, value) -> dict[str, np.ndarray]:
  values = aflw19_files.variables()[name]
  values[where] = value
  return {name: values}


def test_official_counts_are_those_of_the_file():
  assert Builder.OFFICIAL_COUNTS["train"] == release.NUM_TRAIN
  assert sum(Builder.OFFICIAL_COUNTS.values()) == release.NUM_FACES


def test_the_archives_become_exact_records_by_the_command_line(root, tmp_path, capfd):
  aflw19_files.pack(root, tmp_path / "packed")
  code = prepare.main(
    ["aflw19", f"--manual_dir={tmp_path / 'packed'}", f"--data_dir={tmp_path / 'data'}"]
  )

  assert code == 0

  lines = prepared.table(capfd.readouterr().out)
  assert ["train", "3", "3"] in lines and ["test_full", "5", "5"] in lines
  assert ["test_frontal", "3", "-"] in lines and ["test_frontal_inside", "2", "-"] in lines

  builder = tfds.builder_from_directory(tmp_path / "data" / "aflw19" / "1.0.0")
  metadata = dict(builder.info.metadata)

  assert metadata.pop("official_counts") == {"train": 3, "test_full": 5}
  assert metadata == {
    "markup": 19,
    "partial": False,
    "missing": [],
    "skipped": {},
    "warnings": {},
    "notes": {},
  }

  raw = {"image": tfds.decode.SkipDecoding()}
  seen = []

  for split, ra in (("train", aflw19_files.RA[:3]), ("test_full", aflw19_files.RA[3:])):
    rows = {
      (row["file_name"].decode(), int(row["face_index"])): row
      for row in builder.as_data_source(split=split, decoders=raw)
    }

    for row in np.array(ra) - 1:
      name = aflw19_files.NAMES[row]
      record = rows.pop((name, aflw19_files.NAMES[:row].count(name)))

      assert record["image"] == (root / FLICKR / name).read_bytes()
      np.testing.assert_array_equal(
        record["landmarks"], aflw19_files.landmarks(row).astype(np.float32)
      )
      np.testing.assert_array_equal(record["box_dataset"], aflw19_files.box(row))
      np.testing.assert_array_equal(
        record["box_landmarks"], [*record["landmarks"].min(0), *record["landmarks"].max(0)]
      )
      assert np.flatnonzero(~record["visible"]).tolist() == aflw19_files.INVISIBLE.get(row, [])

      seen.append(row)

    assert not rows

  assert sorted(seen) == list(range(8))


def test_splits_follow_ra_and_frontal_faces_are_all_visible_and_then_all_inside(root):
  splits = prepared.labels(build(root).plan(root))

  assert splits["train"] == ["0/image00042.jpg#0", "0/image00002.jpg#0", "0/image00070.jpg#0"]
  assert splits["test_full"] == [
    "2/image00013.jpg#1",
    "2/image00013.jpg#0",
    "2/image00061.jpg#0",
    "3/image00035.png#0",
    "3/image00050.jpg#0",
  ]
  assert splits["test_frontal"] == [
    "2/image00013.jpg#1",
    "3/image00035.png#0",
    "3/image00050.jpg#0",
  ]
  assert splits["test_frontal_inside"] == [
    "2/image00013.jpg#1",
    "3/image00050.jpg#0",
  ]  # a chin on the edge is not inside


@pytest.mark.parametrize("folder_name", ["data/flickr", "flickr", "images", "."])
def test_images_are_found_where_others_move_them(folder_name, root):
  expected = prepared.labels(build(root).plan(root))
  target = root / folder_name
  target.mkdir(parents=True, exist_ok=True)
  for folder in (root / FLICKR).iterdir():
    folder.rename(target / folder.name)
  assert prepared.labels(build(root).plan(root)) == expected


def test_wrong_endings_are_tolerated_and_noted(root):
  for old, new in (
    ("0/image00002.jpg", "0/image00002.png"),
    ("3/image00035.png", "3/image00035.jpg"),
  ):
    (root / FLICKR / old).rename(root / FLICKR / new)

  builder = build(root)
  assert len(builder.plan(root)["train"]) == 3

  notes = builder.info.metadata["notes"][
    "its image was found under the other of the endings .jpg and .png"
  ]

  assert notes == ["0/image00002.jpg#0", "3/image00035.png#0"], "named as the annotations name them"


def test_everything_missing_is_listed_at_once_with_where_to_get_it(root):
  shutil.rmtree(root / FLICKR / "2")
  (root / FLICKR / "3" / "image00050.jpg").unlink()

  with pytest.raises(InputError) as caught:
    build(root).plan(root)
  assert str(caught.value).splitlines()[1:3] == [
    "  aflw/data/flickr/2: images of 3 of 3 faces not found, the first is 2/image00013.jpg",
    "  aflw/data/flickr/3: images of 1 of 2 faces not found, the first is 3/image00050.jpg",
  ]
  assert "https://www.tugraz.at/" in str(caught.value)
  assert "http://mmlab.ie.cuhk.edu.hk/" in str(caught.value)

  builder = build(root, allow_partial=True)
  assert prepared.counts(builder.plan(root)) == {
    "train": 3,
    "test_full": 1,
    "test_frontal": 1,
  }
  assert builder.info.metadata["partial"] is True


@pytest.mark.parametrize("gone", [MAT, "aflw"])
def test_images_or_annotations_alone_are_refused_even_for_a_partial_build(gone, root):
  path = root / gone
  shutil.rmtree(path) if path.is_dir() else path.unlink()
  with pytest.raises(InputError, match=r"none of its files were found below .*\n.* not found"):
    build(root, allow_partial=True).plan(root)


def interleaved() -> dict[str, np.ndarray]:
  return {"data": np.array([aflw19_files.landmarks(row).ravel() for row in range(8)])}


# What is changed in the file; what the sentence must say.
_BAD_VARIABLES = {
  "no mask": ({"mask_new": None}, "has no variable 'mask_new'; it has bbox, data, nameList, ra"),
  "21 landmarks": ({"data": np.zeros((8, 42))}, "data is 8 x 42, expected 8 x 38"),
  "a row too few": ({"bbox": np.zeros((7, 4))}, "bbox is 7 x 4, expected 8 x 4"),
  "text for numbers": ({"data": np.array(["x" * 38] * 8)}, "data holds .*, expected numbers"),
  "names without cells": (
    {"nameList": np.array(["0/image00002.jpg"] * 8)},
    "expected a cell array of 8 names",
  ),
  "empty name": (changed("nameList", (4, 0), ""), "nameList, row 5, holds no file name"),
  "number for a name": (changed("nameList", (4, 0), 5.0), "nameList, row 5, holds no file name"),
  "name that leads out": (
    changed("nameList", (4, 0), "../a.jpg"),
    "nameList, row 5: '../a.jpg' is outside",
  ),
  "absolute name": (
    changed("nameList", (4, 0), "/etc/a.jpg"),
    "nameList, row 5: '/etc/a.jpg' is outside",
  ),
  "visibility of two": (changed("mask_new", (3, 4), 2), "mask_new holds 2, expected 0 and 1 only"),
  "a row twice": (changed("ra", (0, 0), 1), r"ra is not a permutation of 1 \.\.\. 8"),
  "rows from zero": ({"ra": np.array([aflw19_files.RA]) - 1.0}, "ra is not a permutation"),
  "ra too short": ({"ra": np.array([[1, 2]])}, "ra is 1 x 2, expected 1 x 8"),
  "box in another order": (
    {"bbox": np.array([aflw19_files.box(row) for row in range(8)])},
    "landmarks and boxes do not belong together, only 0%",
  ),
}


@pytest.mark.parametrize("kind", _BAD_VARIABLES)
def test_each_kind_of_bad_variable_is_one_sentence_and_exit_2(kind, root, capfd):
  change, cause = _BAD_VARIABLES[kind]
  aflw19_files.write_mat(root, **change)
  code = prepare.main(
    ["aflw19", f"--manual_dir={root}", f"--data_dir={root.parent / 'data'}", "--skip_bad"]
  )

  assert code == 2

  error = capfd.readouterr().err
  assert error.startswith(f"error: {root / MAT}") and len(error.splitlines()) == 1
  assert re.search(cause, error)


def test_x_and_y_by_turns_are_refused(root):
  # One image is too small to tell: faces far to the right of their height give it away.
  data, bbox = aflw19_files.variables()["data"], aflw19_files.variables()["bbox"]
  data[:, :19] += 500
  bbox[:, :2] += 500
  aflw19_files.write_mat(
    root, data=data.reshape(8, 2, 19).transpose(0, 2, 1).reshape(8, 38), bbox=bbox
  )

  with pytest.raises(InputError, match="expected data as 19 x then 19 y"):
    build(root).plan(root)


def test_files_that_are_not_such_a_mat_are_one_sentence(root):
  content = (root / MAT).read_bytes()

  for bad, cause in (
    (b"", "is empty"),
    (b"<html>", "is a web page"),
    (content[:-100], "truncated"),
    (b"x" * 999, "not a readable MATLAB file"),
  ):
    (root / MAT).write_bytes(bad)
    with pytest.raises(InputError, match=cause):
      build(root).plan(root)

  (root / MAT).unlink()
  with h5py.File(root / MAT, "w", userblock_size=512) as file:
    file["bbox"] = np.zeros((4, 8))
  header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
  (root / MAT).write_bytes(header + (root / MAT).read_bytes()[128:])

  with pytest.raises(InputError, match=r"is a MATLAB 7\.3 file, expected version 5"):
    build(root).plan(root)


# What is changed in row 4 (from 0); what the finding must say.
_BAD_FACES = {
  "box without area": (
    changed("bbox", 4, [5, 5, 5, 45]),
    r"its box x0, y0, x1, y1 is \[5.0, 5.0, 5.0, 45.0\]",
  ),
  "box of NaN": (changed("bbox", (4, 0), np.nan), r"its box x0, y0, x1, y1 is \[nan, "),
  "landmark of NaN": (
    changed("data", (4, 19), np.nan),
    r"landmark 0 is \[.*, nan\], expected numbers",
  ),
  "landmarks on one spot": (changed("data", 4, 20.0), "that is not a face"),
  "landmarks of a larger image": (
    changed("data", 4, aflw19_files.variables()["data"][4] + 300),
    "px outside the 60 x 50 image",
  ),
}


@pytest.mark.parametrize("kind", _BAD_FACES)
def test_each_kind_of_bad_face_is_one_line_naming_it(kind, root):
  change, cause = _BAD_FACES[kind]
  aflw19_files.write_mat(root, **change)
  with pytest.raises(InputError, match=rf"aflw19: 1 problem .*\n  0/image00042\.jpg#0: .*{cause}"):
    build(root).plan(root)
  builder = build(root, skip_bad=True)
  assert len(builder.plan(root)["train"]) == 2
  assert list(builder.info.metadata["skipped"]) == ["0/image00042.jpg#0"]


def test_a_bad_image_and_a_link_that_leads_out_are_named(root):
  (root / FLICKR / "0" / "image00042.jpg").write_text("<html>")
  image = root / FLICKR / "0" / "image00070.jpg"
  image.rename(root.parent / "elsewhere.jpg")
  image.symlink_to(root.parent / "elsewhere.jpg")

  with pytest.raises(InputError) as caught:
    build(root).plan(root)

  first, second = str(caught.value).splitlines()[1:]
  assert first.startswith("  0/image00042.jpg#0: not an image: looks like HTML")
  assert second.startswith(
    "  0/image00070.jpg#0: the image 0/image00070.jpg is outside the dataset's folder"
  )


def test_points_outside_and_faces_annotated_twice_are_notes(root):
  data = aflw19_files.variables()["data"]
  data[0, 3] = -2.5
  data[2] = data[1]
  aflw19_files.write_mat(root, data=data)
  builder = build(root)
  splits = builder.plan(root)

  assert prepared.counts(splits)["test_full"] == 5
  assert splits["train"][1].landmarks[3, 0] == -2.5, "not clamped"
  assert builder.info.metadata["notes"] == {
    "landmarks outside the image": ["0/image00002.jpg#0"],
    "same image and landmarks as 2/image00013.jpg#1": ["2/image00013.jpg#0"],
  }


def test_only_the_side_of_the_square_box_fits_the_ratio_of_the_published_norms():
  """On six genuine faces; the paper has 2.14 by the landmarks' box and 1.31 as "NME_diag"."""
  samples = genuine_files.path("samples", "aflw")
  faces = []
  for file in sorted(samples.glob("*.pts")):
    x0, _, x1, _ = map(float, file.with_suffix(".rct").read_text().split())
    faces.append((np.loadtxt(file)[:, :2], x1 - x0))
  for face in json.loads((samples / "test_aflw.json").read_text())["annotations"]:
    faces.append((np.reshape(face["keypoints"], (19, 3))[:, :2], face["box_size"]))

  norms = metrics.norms(np.array([points for points, _ in faces]), 19)
  sides = np.array([side for _, side in faces])
  ratios = {
    "side": np.mean(sides / norms["box"]),
    "diagonal": np.mean(sides * np.sqrt(2) / norms["box"]),
    "landmarks' diagonal": np.mean(norms["diag"] / norms["box"]),
  }

  assert len(faces) == 6
  assert ratios["side"] == pytest.approx(2.14 / 1.31, abs=0.05)
  assert all(abs(ratio - 2.14 / 1.31) > 0.1 for name, ratio in ratios.items() if name != "side")


def test_genuine_faces_are_read_exactly(tmp_path, monkeypatch):
  samples = genuine_files.path("samples", "aflw")
  files = sorted(samples.glob("*.pts"))

  assert len(files) == 4

  points = np.array([prepared.table(file.read_text()) for file in files], np.float64)
  boxes = np.array([file.with_suffix(".rct").read_text().split() for file in files], np.float64)

  # Squares with an exclusive end, one of which ends at the image's border.
  np.testing.assert_array_equal(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])

  with Image.open(samples / "image00120_00010.jpg") as image:
    assert boxes[3, 2] == image.width

  monkeypatch.setattr(release, "NUM_FACES", 4)
  names = np.empty((4, 1), object)
  names[:, 0] = [f"0/{file.stem}.jpg" for file in files]
  bbox, data = boxes[:, [0, 2, 1, 3]], points[:, :, :2].transpose(0, 2, 1).reshape(4, 38)
  ra = np.array([[4, 2, 1, 3]], np.uint16)
  scipy.io.savemat(
    tmp_path / MAT,
    {"bbox": bbox, "data": data, "mask_new": points[:, :, 2], "nameList": names, "ra": ra},
  )
  read = release.read_release(tmp_path / MAT)

  np.testing.assert_array_equal(read.boxes, boxes)
  assert read.landmarks[0, 0].tolist() == [153.527863, 139.100616]

  for file, landmarks, visible in zip(files, read.landmarks, read.visible, strict=True):
    lines = [
      f"{x:.6f} {y:.6f} {seen:d}"
      for (x, y), seen in zip(landmarks.tolist(), visible.tolist(), strict=True)
    ]
    assert lines == file.read_text().splitlines()

  assert read.order.tolist() == [3, 1, 0, 2]
