"""The 300W builder: official splits, exact records, every problem named at once."""

import shutil
from pathlib import Path

import genuine_files
import numpy as np
import prepared
import pytest
import tensorflow_datasets as tfds
import w300_files
from PIL import Image

from fal_jax import data
from fal_jax.errors import InputError
from tfds_builders.common.downloads import Downloads
from tfds_builders.w300 import w300_dataset_builder
from tfds_builders.w300.w300_dataset_builder import Builder


@pytest.fixture
def root(tmp_path, monkeypatch):
  w300_files.expect_counts(monkeypatch)
  w300_files.write_dataset(tmp_path / "300w")
  return tmp_path / "300w"


def build(root, **options) -> Builder:
  return Builder(data_dir=root.parent / "data", **options)


def test_official_counts_add_up():
  count = {folder.path: folder.count for folder in w300_dataset_builder._FOLDERS}

  assert len(count) == 8

  for split, official in Builder.OFFICIAL_COUNTS.items():
    if split not in ("fit", "val"):
      assert official == sum(
        folder.count for folder in w300_dataset_builder._FOLDERS if split in folder.splits
      )

  training = [count["afw"], count["helen/trainset"], count["lfpw/trainset"]]
  assert Builder.OFFICIAL_COUNTS["val"] == sum(len(range(0, n, 10)) for n in training)
  assert Builder.OFFICIAL_COUNTS["fit"] == sum(training) - Builder.OFFICIAL_COUNTS["val"]


def test_the_public_faces_are_a_union_and_parts_of_one_another_are_not(root, tmp_path):
  """The 3,837 that LUVLi trains on: 3,148 and 689 of the genuine dataset."""
  assert Builder.OFFICIAL_COUNTS["train"] + Builder.OFFICIAL_COUNTS["test_full"] == 3837

  build(root).download_and_prepare(
    download_dir=tmp_path, download_config=tfds.download.DownloadConfig(manual_dir=root)
  )

  def count(split):
    return len(data.open_split("w300", split, data_dir=str(tmp_path / "data"), num_landmarks=68))

  assert count("train+test_full") == 18 + 6
  assert count("fit+val") == 18
  with pytest.raises(InputError, match="'train' and 'val' of 'w300' share 4 faces"):
    count("train+val")


def test_records_hold_the_files_bytes_and_zero_based_landmarks(root, tmp_path):
  builder = build(root)
  builder.download_and_prepare(
    download_dir=tmp_path, download_config=tfds.download.DownloadConfig(manual_dir=root)
  )
  info, records = prepared.read(tmp_path / "data", "w300")

  assert prepared.counts(records) == {
    "train": 18,
    "fit": 14,
    "val": 4,
    "test_common": 4,
    "test_challenge": 2,
    "test_full": 6,
    "test_private": 2,
  }
  assert dict(info.metadata) == {
    "markup": 68,
    "partial": False,
    "missing": [],
    "skipped": {},
    "warnings": {},
    "notes": {},
    "official_counts": Builder.OFFICIAL_COUNTS,
  }

  subsets = {"300W/01_Indoor": "indoor", "300W/02_Outdoor": "outdoor"} | {
    name: name for name in ("afw", "helen", "lfpw", "ibug")
  }
  files = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
  stems = [
    f"{folder}/image_{index + 1:04d}"
    for folder, count in w300_files.COUNTS.items()
    for index in range(count)
  ]
  seen = set()

  for row in [row for rows in records.values() for row in rows]:
    name = row["file_name"].decode()
    seen.add(name)
    landmarks = w300_files.face_landmarks(stems.index(name[:-4]))

    assert row["image"] == (root / name).read_bytes()
    assert row["landmarks"].dtype == np.float32
    np.testing.assert_allclose(
      row["landmarks"], landmarks, rtol=0, atol=4e-6
    )  # float32 below 64 px
    np.testing.assert_array_equal(
      row["box_landmarks"], [*row["landmarks"].min(0), *row["landmarks"].max(0)]
    )
    assert row["visible"].all() and row["face_index"] == 0 and np.isnan(row["box_dataset"]).all()
    assert [subset for prefix, subset in subsets.items() if name.startswith(prefix + "/")] == [
      row["subset"].decode()
    ]

  assert seen == {path.relative_to(root).as_posix() for path in files}


def test_fit_and_val_are_a_fixed_cut_through_train(root):
  splits = prepared.names(build(root).plan(root))

  assert splits["val"] == [
    "afw/image_0001.jpg",
    "afw/image_0011.jpg",
    "helen/trainset/image_0001.jpg",
    "lfpw/trainset/image_0001.png",
  ]
  assert sorted(splits["fit"] + splits["val"]) == sorted(splits["train"])

  # A bad file does not move the others from one part to the other.
  (root / "afw" / "image_0002.pts").write_text("1 2\n")
  without = prepared.names(build(root, skip_bad=True).plan(root))

  assert without["val"] == splits["val"]
  assert without["fit"] == [name for name in splits["fit"] if name != "afw/image_0002.jpg"]


def test_tests_are_what_their_papers_call_them(root):
  splits = prepared.names(build(root).plan(root))

  assert {name.rsplit("/", 1)[0] for name in splits["test_common"]} == {
    "helen/testset",
    "lfpw/testset",
  }
  assert {name.rsplit("/", 1)[0] for name in splits["test_challenge"]} == {"ibug"}
  assert splits["test_full"] == splits["test_common"] + splits["test_challenge"]
  assert {name.rsplit("/", 1)[0] for name in splits["test_private"]} == {
    "300W/01_Indoor",
    "300W/02_Outdoor",
  }


def test_what_unpacking_leaves_behind_is_tolerated(root):
  expected = prepared.names(build(root).plan(root))
  (root / "inner").mkdir()
  shutil.move(root / "afw", root / "inner" / "afw")
  shutil.move(root / "inner", root / "afw")  # afw/afw
  (root / "ibug" / "image_0001.png").rename(root / "ibug" / "image_092 _01.JPG.PNG")
  (root / "ibug" / "image_0001.pts").rename(root / "ibug" / "image_092 _01.JPG.PTS")
  for junk in ("Thumbs.db", "._image_0002.png", ".DS_Store", "afw_crops.csv", "image_0002.mat"):
    (root / "ibug" / junk).write_bytes(b"junk")
  (root / "ibug" / "__MACOSX").mkdir()
  (root / "ibug" / "__MACOSX" / "._image_0002.pts").write_bytes(b"junk")

  splits = prepared.names(build(root).plan(root))

  assert splits["test_challenge"] == ["ibug/image_0002.png", "ibug/image_092 _01.JPG.PNG"]
  assert splits["train"] == expected["train"], "a doubled folder changes no name"


def test_everything_missing_is_listed_at_once_with_where_to_get_it(root):
  shutil.rmtree(root / "300W")
  shutil.rmtree(root / "lfpw" / "testset")
  (root / "afw" / "image_0003.jpg").unlink()
  (root / "afw" / "image_0003.pts").unlink()

  with pytest.raises(InputError) as caught:
    build(root).plan(root)

  first, *lines = str(caught.value).splitlines()
  assert first.startswith(f"w300 is not complete below {root}") and "--allow_partial" in first
  assert lines[:4] == [
    "  afw: expected 12 annotated images, found 11",
    "  lfpw/testset: expected 2 annotated images, found 0",
    "  300W/01_Indoor: expected 1 annotated images, found 0",
    "  300W/02_Outdoor: expected 1 annotated images, found 0",
  ]
  assert "https://ibug.doc.ic.ac.uk/resources/300-W/" in str(caught.value)


def test_a_partial_build_leaves_absent_splits_out_and_says_so(root, tmp_path):
  for folder in ("300W", "ibug", "helen/testset", "lfpw/testset"):
    shutil.rmtree(root / folder)
  builder = build(root, allow_partial=True)
  builder.download_and_prepare(
    download_dir=tmp_path, download_config=tfds.download.DownloadConfig(manual_dir=root)
  )
  info, records = prepared.read(tmp_path / "data", "w300")

  assert prepared.counts(records) == {"train": 18, "fit": 14, "val": 4}
  assert info.metadata["markup"] == 68 and info.metadata["partial"] is True
  assert "ibug: expected 2 annotated images, found 0" in info.metadata["missing"]


def test_an_unrelated_folder_is_refused_even_for_a_partial_build(tmp_path):
  with pytest.raises(
    InputError,
    match=r"w300: none of its files were found below .*\n"
    r"  afw: expected 337 annotated images, found 0",
  ):
    build(tmp_path / "300w", allow_partial=True).plan(tmp_path)


def rewrite_points(folder: Path, change) -> None:
  w300_files.write_pts(folder / "image_0002.pts", change(w300_files.face_landmarks(0)))


# What to do to the folder of the face image_0002; the file that the finding must name; what it must
# say.
_BAD_FILES = {
  **w300_files.bad_pairs("image_0002"),
  "two images of one name": (
    lambda d: w300_files.write_image(d / "image_0002.png", 1),
    "image_0002.jpg",
    "expected one image and one .pts file of this name, found image_0002.jpg, image_0002.png",
  ),
  "67 points": (
    lambda d: rewrite_points(d, lambda p: p[1:]),
    "image_0002.pts",
    "the header says n_points '67'",
  ),
  "not a number": (
    lambda d: (d / "image_0002.pts").write_text("nan 1\n"),
    "image_0002.pts",
    "line 1: 'nan 1' is not a landmark",
  ),
  "one point 68 times": (
    lambda d: rewrite_points(d, lambda p: p[:1] + 0 * p),
    "image_0002.jpg",
    "lie within 0 x 0 px",
  ),
  "points on a line": (
    lambda d: rewrite_points(d, lambda p: p * [1, 0] + 5),
    "image_0002.jpg",
    "px, that is not a face",
  ),
  "points of a larger image": (
    lambda d: rewrite_points(d, lambda p: p * 0.5 + 200),
    "image_0002.jpg",
    "px outside the 60 x 50 image, further than",
  ),
}


@pytest.mark.parametrize("kind", _BAD_FILES)
def test_each_kind_of_bad_file_is_one_line_naming_it(kind, root):
  spoil, file, cause = _BAD_FILES[kind]
  spoil(root / "afw")

  line = prepared.only_problem("w300", lambda: build(root, allow_partial=True).plan(root))

  assert line.startswith(f"  afw/{file}: ") and cause in line


def test_all_bad_files_are_reported_at_once_sorted_by_name(root):
  (root / "lfpw" / "testset" / "image_0001.png").write_bytes(b"")
  (root / "afw" / "image_0004.pts").write_text("")
  (root / "afw" / "image_0003.jpg").write_bytes(b"")

  with pytest.raises(InputError, match="3 problems") as caught:
    build(root).plan(root)

  lines = str(caught.value).splitlines()[1:]
  files = [line.split(":")[0].strip() for line in lines]

  assert files == ["afw/image_0003.jpg", "afw/image_0004.pts", "lfpw/testset/image_0001.png"]


def test_bad_files_are_left_out_and_listed_when_asked(root):
  (root / "afw" / "image_0003.jpg").write_bytes(b"")
  builder = build(root, skip_bad=True)
  splits = prepared.names(builder.plan(root))
  assert len(splits["train"]) == 17
  assert "afw/image_0003.jpg" not in splits["train"] + splits["fit"] + splits["val"]
  assert list(builder.info.metadata["skipped"]) == ["afw/image_0003.jpg"]
  assert builder.info.metadata["partial"] is False


def test_a_split_of_nothing_but_bad_files_is_refused(root):
  for path in (root / "ibug").glob("*.png"):
    path.write_bytes(b"")
  with pytest.raises(InputError, match="every face of the split 'test_challenge' is bad"):
    build(root, skip_bad=True).plan(root)


def test_oddities_are_kept_and_counted(root):
  Image.new("L", (60, 50)).save(root / "afw" / "image_0001.jpg")
  exif = Image.Exif()
  exif[0x0112] = 6
  Image.new("RGB", (60, 50)).save(root / "afw" / "image_0002.jpg", exif=exif)
  w300_files.write_pts(root / "afw" / "image_0003.pts", w300_files.face_landmarks(2) - 10)
  for ending in (".jpg", ".pts"):
    shutil.copy(root / "afw" / f"image_0005{ending}", root / "afw" / f"image_0004{ending}")
  builder = build(root)
  splits = prepared.names(builder.plan(root))

  assert len(splits["train"]) == 18
  assert builder.info.metadata["notes"] == {
    "stored as L, not RGB; converted when read": ["afw/image_0001.jpg"],
    "has an EXIF orientation; ignored, annotations belong to the stored pixels": [
      "afw/image_0002.jpg"
    ],
    "landmarks outside the image": ["afw/image_0003.jpg"],
    "same image and landmarks as afw/image_0004.jpg": ["afw/image_0005.jpg"],
  }


@pytest.mark.heavy
def test_the_real_training_images_are_read_exactly(tmp_path):
  root = genuine_files.path("300w")
  builder = Builder(data_dir=tmp_path, allow_partial=True)
  builder.download_and_prepare(
    download_dir=tmp_path, download_config=tfds.download.DownloadConfig(manual_dir=root)
  )
  info, records = prepared.read(tmp_path, "w300")

  assert prepared.counts(records) == {
    "train": 2012,
    "fit": 1810,
    "val": 202,
  }
  assert info.metadata["partial"] and len(info.metadata["missing"]) == 7
  assert info.metadata["origin"].startswith("not confirmed; afw/2437602091_1.jpg is not")

  train = {row["file_name"].decode(): row for row in records["train"]}
  for name, row in train.items():
    assert row["image"] == (root / name).read_bytes()

  first = train["lfpw/trainset/image_0001.jpg"]["landmarks"][0]
  np.testing.assert_array_equal(first, np.float32([93.167660, 107.807529]))


def test_a_genuine_file_without_header_is_read_exactly(tmp_path):
  samples = genuine_files.path("samples", "w300")
  layout = Builder(data_dir=tmp_path, allow_partial=True).layout(Downloads([samples]))
  landmarks = {face.file_name: face.landmarks for face in layout.splits["train"]}

  assert len(landmarks) == 12 and layout.splits["test_private"] == []
  np.testing.assert_allclose(
    landmarks["afw/9545523490_1.jpg"][0], [357.777048, 166.030611], rtol=0, atol=1e-9
  )
  np.testing.assert_allclose(
    landmarks["helen/trainset/2072336994_1.jpg"][0], [87.730226, 209.849845], rtol=0, atol=1e-9
  )
