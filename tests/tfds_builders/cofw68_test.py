"""The COFW-68 builder: photographs, landmarks and boxes of many files, in one order."""

import shutil
import zipfile
from pathlib import Path

import cofw_files
import genuine_files
import numpy as np
import prepared
import pytest
import scipy.io
import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from fal_jax.images import read_image
from tfds_builders import prepare
from tfds_builders.cofw68.cofw68_dataset_builder import Builder
from tfds_builders.common.downloads import Downloads

FACES = range(12)  # more than nine: the files sort by number, not by name
DATA = "cofw68-benchmark/COFW68_Data"


def write_points(path: Path, landmarks: np.ndarray, visible: np.ndarray) -> None:
  scipy.io.savemat(path, {"Points": landmarks + 1, "Occ": (~visible)[None].astype(np.uint8)})


@pytest.fixture
def root(tmp_path, monkeypatch):
  """A small COFW-68, taken for a complete one."""
  monkeypatch.setattr(Builder, "OFFICIAL_COUNTS", {"test": len(FACES)})
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {})
  root = tmp_path / "cofw"
  (root / DATA / "test_annotations").mkdir(parents=True)
  cofw_files.write_cofw(root / "COFW_test_color.mat", "T", FACES)
  for index in FACES:
    file = root / DATA / "test_annotations" / f"{index + 1}_points.mat"
    write_points(file, cofw_files.face_landmarks(index, 68), cofw_files.face_visible(index, 68))
  x0, y0, x1, y1 = np.array([cofw_files.face_box(index) for index in FACES]).T
  boxes = np.stack([x0 + 1, y0 + 1, x1 - x0, y1 - y0], -1).astype(np.int16)
  scipy.io.savemat(root / DATA / "cofw68_test_bboxes.mat", {"bboxes": boxes})
  return root


def build(root, **options) -> Builder:
  return Builder(data_dir=root.parent / "data", **options)


def test_records_put_each_face_s_files_together(root, capfd):
  code = prepare.main(["cofw68", f"--data_dir={root.parent / 'data'}", f"--manual_dir={root}"])
  printed = capfd.readouterr()

  assert (code, printed.err) == (0, "")

  command = printed.out.splitlines()[-1]
  assert "--config=configs/cofw68.py --mode=eval" in command
  assert command.endswith("--workdir=runs/w300lp")

  builder = tfds.builder_from_directory(root.parent / "data" / "cofw68" / "1.0.0")
  assert builder.info.metadata["markup"] == 68 and list(builder.info.splits) == ["test"]

  rows = {
    row["file_name"].decode(): row
    for row in builder.as_data_source(split="test", decoders={"image": tfds.decode.SkipDecoding()})
  }

  assert len(rows) == len(FACES)

  for index in FACES:
    row = rows[f"COFW_test_color.mat/{index + 1:04d}"]
    expected = cofw_files.photo(index)

    np.testing.assert_array_equal(
      read_image(row["image"]), expected if expected.ndim == 3 else np.stack([expected] * 3, -1)
    )
    np.testing.assert_allclose(
      row["landmarks"], cofw_files.face_landmarks(index, 68), rtol=0, atol=5e-6
    )
    np.testing.assert_array_equal(row["visible"], cofw_files.face_visible(index, 68))
    np.testing.assert_array_equal(row["box_dataset"], cofw_files.face_box(index))


@pytest.mark.parametrize("layout", ["archives", "bare", "in one"])
def test_files_are_found_however_they_were_fetched(root, layout):
  expected = [face.file_name for face in build(root).plan(root)["test"]]
  if layout == "bare":
    (root / DATA).rename(root / "COFW68_Data")
  if layout == "in one":
    for path in (root / DATA).iterdir():
      path.rename(root / path.name)
  if layout == "archives":
    with zipfile.ZipFile(root / "cofw68-benchmark-master.zip", "w") as archive:
      for path in (root / DATA).rglob("*.mat"):
        archive.write(
          path, f"cofw68-benchmark-master/{path.relative_to(root / 'cofw68-benchmark')}"
        )
    with zipfile.ZipFile(root / "COFW_color.zip", "w") as archive:
      archive.write(root / "COFW_test_color.mat", "COFW_test_color.mat")
    shutil.rmtree(root / "cofw68-benchmark")
    (root / "COFW_test_color.mat").unlink()

  assert [face.file_name for face in build(root).plan(root)["test"]] == expected


_MISSING = {
  "photographs": (
    lambda root: (root / "COFW_test_color.mat").unlink(),
    "COFW_test_color.mat: expected 12 faces, found 0",
  ),
  "other photographs": (
    lambda root: cofw_files.write_cofw(root / "COFW_test_color.mat", "T", range(5)),
    "COFW_test_color.mat: expected 12 faces, found 5",
  ),
  "boxes": (
    lambda root: (root / DATA / "cofw68_test_bboxes.mat").unlink(),
    "COFW68_Data/cofw68_test_bboxes.mat: expected 12 boxes, found no such file",
  ),
  "other boxes": (
    lambda root: scipy.io.savemat(
      root / DATA / "cofw68_test_bboxes.mat", {"bboxes": np.ones((3, 4))}
    ),
    "is 3 x 4, expected 12 x 4",
  ),
  "a face": (
    lambda root: (root / DATA / "test_annotations" / "7_points.mat").unlink(),
    "COFW68_Data/test_annotations: expected 12 files 1_points.mat and so on, found 11",
  ),
  "all faces": (
    lambda root: shutil.rmtree(root / DATA / "test_annotations"),
    "1_points.mat and so on, found 0",
  ),
}


@pytest.mark.parametrize("what", _MISSING)
def test_what_is_missing_is_one_line_with_where_to_get_it(what, root):
  remove, expected = _MISSING[what]
  remove(root)

  with pytest.raises(InputError) as caught:
    build(root).plan(root)

  lines = str(caught.value).splitlines()
  assert expected in lines[1] and not lines[2].startswith("  ")
  assert "https://github.com/golnazghiasi/cofw68-benchmark" in str(caught.value)
  assert "https://data.caltech.edu/records/bc0bf-nc666" in str(caught.value)


def resave(file: Path, **variables) -> None:
  """Changes variables of a file in place; None takes one out."""
  variables = {
    name: value for name, value in scipy.io.loadmat(file).items() if not name.startswith("__")
  } | variables
  scipy.io.savemat(file, {name: value for name, value in variables.items() if value is not None})


_BAD_FILES = {
  "login page": (lambda file: file.write_text("<html>"), "is a web page"),
  "67 points": (
    lambda file: resave(file, Points=np.ones((67, 2))),
    "Points is 67 x 2, expected 68 x 2",
  ),
  "lying": (
    lambda file: resave(file, Points=np.ones((2, 68))),
    "Points is 2 x 68, expected 68 x 2",
  ),
  "no occlusion": (lambda file: resave(file, Occ=None), "has no variable 'Occ'; it has Points"),
  "other occlusion": (
    lambda file: resave(file, Occ=np.full((1, 68), 2)),
    "occlusion 2, expected 0 or 1",
  ),
}


@pytest.mark.parametrize("kind", _BAD_FILES)
def test_each_kind_of_bad_annotation_is_one_line_naming_it(kind, root):
  spoil, cause = _BAD_FILES[kind]
  spoil(root / DATA / "test_annotations" / "2_points.mat")

  line = prepared.only_problem("cofw68", lambda: build(root).plan(root))

  assert line.startswith(f"  {DATA}/test_annotations/2_points.mat: ") and cause in line

  faces = build(root, skip_bad=True).plan(root)["test"]
  assert [face.file_name[-4:] for face in faces] == [
    f"{index + 1:04d}" for index in FACES if index != 1
  ]


def test_bad_landmarks_are_one_line_naming_the_face(root):
  resave(root / DATA / "test_annotations" / "2_points.mat", Points=np.full((68, 2), np.nan))
  with pytest.raises(
    InputError, match=r"1 problem .*\n  COFW_test_color.mat/0002: landmark 0 is \[nan, nan\]"
  ):
    build(root).plan(root)


def test_the_genuine_annotations_are_read_exactly(tmp_path):
  """Five genuine faces and all boxes; their photographs are not at hand, 507 others stand in."""
  samples = genuine_files.path("samples", "cofw68")
  path = tmp_path / "COFW_test_color.mat"
  cofw_files.write_mat73(path, {}, {"IsT": [np.zeros((9, 9, 3), np.uint8)] * 507})
  layout = Builder(data_dir=tmp_path).layout(Downloads([tmp_path, samples]))

  assert layout.missing == [
    "COFW68_Data/test_annotations: expected 507 files 1_points.mat and so on, found 5"
  ]

  faces = {int(face.file_name[-4:]): face for face in layout.splits["test"]}
  assert not layout.findings and list(faces) == [1, 2, 3, 100, 507]

  for number, face in faces.items():
    genuine = scipy.io.loadmat(samples / "test_annotations" / f"{number}_points.mat")

    np.testing.assert_array_equal(face.landmarks, genuine["Points"] - 1)
    np.testing.assert_array_equal(face.extra["visible"], genuine["Occ"][0] == 0)

    known = Builder.FIRST_LANDMARKS.get(face.file_name, face.landmarks[0])
    np.testing.assert_allclose(face.landmarks[0], known, rtol=0, atol=1e-3)

    # The box of a detector like 300W's holds most of the inner landmarks.
    x0, y0, x1, y1 = face.extra["box_dataset"]
    inner = face.landmarks[17:]

    assert (((inner > [x0, y0]) & (inner < [x1, y1])).all(-1)).mean() > 0.9

  np.testing.assert_array_equal(faces[1].extra["box_dataset"], [63, 8, 183, 124])


def test_the_two_mark_ups_of_a_genuine_face_agree():
  """Outer eye corners of both, each read by its own builder's rule.

  A wrong order of faces or axes would be tens of pixels.
  """
  shared = genuine_files.path()
  of_29 = genuine_files.arrays(shared / "annotations" / "cofw29_test.npz")

  for number in (1, 2, 3, 100, 507):
    file = shared / "samples" / "cofw68" / "test_annotations" / f"{number}_points.mat"
    points = scipy.io.loadmat(file)["Points"] - 1
    face = of_29["landmarks"][list(of_29["names"]).index(f"images/{number}.jpg")]

    np.testing.assert_allclose(points[[36, 45]], face[[8, 9]], atol=6)
