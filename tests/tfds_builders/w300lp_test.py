"""The 300W-LP builder: pixels of the view, whole photographs held out, mirrored views."""

import importlib
import json
import shutil
import zipfile
from pathlib import Path

import cv2
import genuine_files
import numpy as np
import prepared
import pytest
import scipy.io
import tensorflow_datasets as tfds

from fal_jax import data
from fal_jax.errors import InputError
from fal_jax.landmarks import MARKUPS
from tfds_builders import prepare
from tfds_builders.w300lp import views, w300lp_dataset_builder
from tfds_builders.w300lp.w300lp_dataset_builder import Builder

# Views by folder. Eleven photographs in AFW, so that two are held out; the first shows two faces.
STEMS = {
  "AFW": [
    "AFW_1001_1_0",
    "AFW_1001_1_1",
    "AFW_1001_2_0",
    *(f"AFW_{2000 + i}_1_{v}" for i in range(10) for v in (0, 1)),
  ],
  "HELEN": ["HELEN_3001_1_0", "HELEN_3001_1_1"],
  "IBUG": ["IBUG_image_008_1_0", "IBUG_image_092 _01_0"],
  "LFPW": ["LFPW_image_test_0001_0", "LFPW_image_train_0001_0", "LFPW_image_train_0002_0"],
}


def view_landmarks(stem: str) -> np.ndarray:
  """(68, 2) float64, 0-based."""
  return np.random.default_rng(list(stem.encode())).uniform([100, 150], [350, 400], (68, 2))


def write_landmarks(
  root: Path, folder: str, stem: str, points: np.ndarray, name: str = "pts_2d"
) -> None:
  (root / "landmarks" / folder).mkdir(parents=True, exist_ok=True)
  scipy.io.savemat(
    root / "landmarks" / folder / f"{stem}_pts.mat", {name: points, "pts_3d": points + 20}
  )


def write_dataset(root: Path) -> None:
  """Images, their own .mat with other points, and the folder of landmarks, as in the archive."""
  (root / "Code").mkdir(parents=True)

  for folder, stems in STEMS.items():
    for ending in ("", "_Flip"):
      (root / (folder + ending)).mkdir()
    for stem in stems:
      rng = np.random.default_rng(list(stem.encode()))
      pixels = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)
      pixels = cv2.resize(pixels, (450, 450), interpolation=cv2.INTER_NEAREST)
      for ending, image in (("", pixels), ("_Flip", pixels[:, ::-1])):
        assert cv2.imwrite(str(root / (folder + ending) / f"{stem}.jpg"), image)
        scipy.io.savemat(root / (folder + ending) / f"{stem}.mat", {"pt2d": np.full((2, 68), 7.0)})
      write_landmarks(root, folder, stem, view_landmarks(stem))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The folder of a small 300W-LP, which tests copy: writing it takes longer."""
  folder = tmp_path_factory.mktemp("whole") / "300W_LP"
  write_dataset(folder)
  return folder


@pytest.fixture
def root(whole, tmp_path, monkeypatch):
  monkeypatch.setattr(
    w300lp_dataset_builder, "COUNTS", {folder: len(stems) for folder, stems in STEMS.items()}
  )
  return shutil.copytree(whole, tmp_path / "files" / "300W_LP")


def plan(root: Path, config: str | None = None, **options):
  """The builder, and its faces by split."""
  builder = Builder(data_dir=root.parents[1] / "data", config=config, **options)
  return builder, builder.plan(root.parent)


def names(faces):
  return [face.file_name for face in faces]


def records(tmp_path, config="no_flips"):
  builder = tfds.builder_from_directory(tmp_path / "data" / "w300lp" / config / "1.0.0")
  source = builder.as_data_source(split="train", decoders={"image": tfds.decode.SkipDecoding()})
  return builder.info, {row["file_name"].decode(): row for row in source}


def test_official_counts_are_those_of_the_authors():
  assert w300lp_dataset_builder.COUNTS == {"AFW": 5207, "HELEN": 37676, "IBUG": 1786, "LFPW": 16556}
  counts = {
    name: Builder(data_dir="unused", config=name).official_counts()["train"]
    for name in ("no_flips", "with_flips")
  }
  assert counts == {"no_flips": 61225, "with_flips": 122450}


def test_a_file_that_crashes_its_reader_is_a_finding_about_this_file(root):
  # SciPy's reader ends the process that reads this; 300W-LP has tens of thousands of such files.
  path = root / "landmarks" / "AFW" / "AFW_2003_1_0_pts.mat"
  content = bytearray(path.read_bytes())
  content[184] = 0
  path.write_bytes(content)

  line = prepared.only_problem("w300lp", lambda: plan(root))
  assert "AFW_2003_1_0_pts.mat" in line and "crashes the library that reads it" in line
  assert len(plan(root, skip_bad=True)[1]["train"]) == 29


def test_prepare_writes_pixels_of_the_view_and_the_images_own_bytes(root, tmp_path, capfd):
  command = [f"--manual_dir={root.parent}", f"--data_dir={tmp_path / 'data'}"]

  assert prepare.main(["w300lp", *command]) == 0

  out = capfd.readouterr().out
  assert "python -m fal_jax.main --config=configs/w300_private.py" in out
  assert ["train", "30", "30"] in prepared.table(out)

  info, by_name = records(tmp_path)
  assert info.metadata["markup"] == 68
  assert not info.metadata["partial"]
  assert info.metadata["notes"] == {}
  assert by_name.keys() == {
    f"{folder}/{stem}.jpg" for folder, stems in STEMS.items() for stem in stems
  }
  for name, row in by_name.items():
    np.testing.assert_allclose(
      row["landmarks"], view_landmarks(Path(name).stem), rtol=0, atol=3e-5
    )  # float32 below 450 px
    assert row["image"] == (root / name).read_bytes()
    assert row["subset"].decode() == name.split("/")[0].lower()
    assert np.isnan(row["box_dataset"]).all()
  assert by_name["AFW/AFW_1001_2_0.jpg"]["photograph"] == b"AFW_1001"

  config = importlib.import_module("configs.w300_private").get_config()
  name = config.data.name

  assert (
    len(data.open_split(name, "train", data_dir=str(tmp_path / "data"), num_landmarks=68)) == 30
  )


def test_training_on_crops_of_it_is_still_evaluated_on_300w(root, tmp_path, capfd):
  code = prepare.main(
    ["w300lp", f"--manual_dir={root.parent}", f"--data_dir={tmp_path / 'data'}", "--crops=320"]
  )
  assert code == 0
  last = capfd.readouterr().out.splitlines()[-1]
  assert "configs/w300_private.py --config.data.name=w300lp_no_flips_crops320 " in last
  assert "eval.name" not in last


def test_the_archive_itself_will_do(root, tmp_path):
  (tmp_path / "packed").mkdir()
  with zipfile.ZipFile(tmp_path / "packed" / "300W_LP.zip", "w") as archive:
    for path in root.rglob("*"):
      archive.write(path, path.relative_to(root.parent))
  shutil.rmtree(root.parent)
  builder = Builder(data_dir=tmp_path / "data")
  assert len(builder.plan(tmp_path / "packed", unpack_dir=tmp_path / "unpacked")["train"]) == 30


def test_the_folder_above_or_the_archives_own_folder_gives_the_same_names(root):
  builder, splits = plan(root)
  assert names(builder.plan(root)["train"]) == names(splits["train"])


def test_files_whose_names_begin_with_a_dot_or_an_underscore_are_no_views(root):
  """TFDS's own reader of the archive leaves out the latter too."""
  for name in ("._AFW_1001_1_0", "_AFW_1001_1_0"):
    (root / "AFW" / f"{name}.jpg").write_bytes(b"left by a tool")

  assert len(plan(root)[1]["train"]) == 30


@pytest.mark.parametrize(
  ("stem", "expected"),
  [
    ("AFW_134212_1_0", "AFW_134212"),
    ("AFW_134212_2_11", "AFW_134212"),
    ("HELEN_232194_1_3", "HELEN_232194"),
    ("LFPW_image_train_0002_9", "LFPW_image_train_0002"),
    ("IBUG_image_008_1_0", "IBUG_image_008"),
    ("IBUG_image_109_0", "IBUG_image_109"),
    ("IBUG_image_092 _01_4", "IBUG_image_092 "),
  ],
)
def test_a_views_name_tells_its_photograph(stem, expected):
  assert views.photograph(stem) == expected


@pytest.mark.parametrize("config", ["no_flips", "with_flips"])
def test_no_photograph_is_on_both_sides_of_the_hold_out(root, config):
  _, splits = plan(root, config)
  photographs = {
    name: {face.extra["photograph"] for face in faces} for name, faces in splits.items()
  }

  assert not photographs["fit"] & photographs["val"]
  assert photographs["val"] == {
    "AFW_1001",
    "AFW_2009",
    "HELEN_3001",
    "IBUG_image_008",
    "LFPW_image_test_0001",
  }
  assert sorted(names(splits["fit"] + splits["val"])) == sorted(names(splits["train"]))

  first = [name for name in names(splits["val"]) if name.startswith("AFW/AFW_1001")]
  assert first == ["AFW/AFW_1001_1_0.jpg", "AFW/AFW_1001_1_1.jpg", "AFW/AFW_1001_2_0.jpg"], (
    "both faces of the photograph"
  )


def test_mirrored_views_get_mirrored_landmarks_where_the_archive_has_none(root):
  builder, splits = plan(root, "with_flips")

  assert len(splits["train"]) == 60 and builder.info.metadata["notes"] == {}

  by_name = {face.file_name: face for face in splits["train"]}
  plain, mirrored = by_name["HELEN/HELEN_3001_1_0.jpg"], by_name["HELEN_Flip/HELEN_3001_1_0.jpg"]

  np.testing.assert_allclose(
    mirrored.landmarks[36], [449 - plain.landmarks[45, 0], plain.landmarks[45, 1]]
  )
  np.testing.assert_allclose(
    mirrored.landmarks[8], [449 - plain.landmarks[8, 0], plain.landmarks[8, 1]]
  )

  pixels, turned = (cv2.imread(str(face.image)).astype(float) for face in (plain, mirrored))
  assert np.abs(pixels[:, ::-1] - turned).mean() < 5, "the fixture's pixels agree with 449 - x"


@pytest.mark.parametrize("origin", [0, 1])
def test_mirrored_views_with_landmarks_of_their_own_betray_another_origin(root, origin):
  for folder, stems in STEMS.items():
    for stem in stems:
      points = view_landmarks(stem)
      write_landmarks(root, folder, stem, points + origin)
      write_landmarks(
        root, f"{folder}_Flip", stem, [449, 0] + points[MARKUPS[68].flip] * [-1, 1] + origin
      )

  builder, _ = plan(root, "with_flips")
  notes = {note: len(files) for note, files in builder.info.metadata["notes"].items()}
  message = (
    "landmarks are offset by +2.0 px from the mirrored ones of the view: "
    "is pts_2d counted from 1.0?"
  )

  assert notes == ({message: 30} if origin else {})


def test_all_that_is_missing_is_listed_with_where_to_get_it(root):
  shutil.rmtree(root / "IBUG")
  (root / "AFW" / "AFW_1001_1_0.jpg").unlink()
  (root / "landmarks" / "AFW" / "AFW_1001_1_0_pts.mat").unlink()

  with pytest.raises(InputError) as caught:
    plan(root)

  text = str(caught.value)
  assert text.splitlines()[1:3] == [
    "  AFW: expected 23 images with landmarks, found 22",
    "  IBUG: expected 2 images with landmarks, found 0",
  ]
  assert "projects/3DDFA" in text and "300W_LP.zip (2.63 GiB)" in text


_BAD_FILES = {
  "no landmarks": (
    lambda r, mat: mat.unlink(),
    "AFW/AFW_1001_1_0.jpg",
    "no landmarks/AFW/AFW_1001_1_0_pts.mat for this",
  ),
  "no image": (
    lambda r, mat: (r / "AFW/AFW_1001_1_0.jpg").unlink(),
    "landmarks/AFW/AFW_1001_1_0_pts.mat",
    "no image AFW/AFW_",
  ),
  "empty": (lambda r, mat: mat.write_bytes(b""), "landmarks/AFW/AFW_1001_1_0_pts.mat", "is empty"),
  "login page": (
    lambda r, mat: mat.write_text("<html>"),
    "landmarks/AFW/AFW_1001_1_0_pts.mat",
    "is a web page",
  ),
  "truncated": (
    lambda r, mat: mat.write_bytes(mat.read_bytes()[:600]),
    "landmarks/AFW/AFW_1001_1_0_pts.mat",
    "truncated",
  ),
  "the image's own mat": (
    lambda r, mat: shutil.copy(r / "AFW/AFW_1001_1_0.mat", mat),
    "landmarks/AFW/AFW_1001_1_0_pts.mat",
    "no variable 'pts_2d'",
  ),
  "transposed": (
    lambda r, mat: scipy.io.savemat(mat, {"pts_2d": np.ones((2, 68))}),
    "landmarks/AFW/AFW_1001_1_0_pts.mat",
    "pts_2d is 2 x 68, expected 68 x 2",
  ),
  "NaN": (
    lambda r, mat: scipy.io.savemat(mat, {"pts_2d": np.full((68, 2), np.nan)}),
    "AFW/AFW_1001_1_0.jpg",
    "landmark 0 is [nan, nan]",
  ),
  "divided by 450": (
    lambda r, mat: scipy.io.savemat(mat, {"pts_2d": view_landmarks("AFW_1001_1_0") / 450}),
    "AFW/AFW_1001_1_0.jpg",
    "not a face",
  ),
  "image truncated": (
    lambda r, mat: (r / "AFW/AFW_1001_1_0.jpg").write_bytes(
      (r / "AFW/AFW_1001_1_0.jpg").read_bytes()[:-9]
    ),
    "AFW/AFW_1001_1_0.jpg",
    "cannot be decoded",
  ),
}


@pytest.mark.parametrize("kind", _BAD_FILES)
def test_each_kind_of_bad_file_is_one_line_naming_it(kind, root):
  spoil, file, cause = _BAD_FILES[kind]
  spoil(root, root / "landmarks" / "AFW" / "AFW_1001_1_0_pts.mat")

  line = prepared.only_problem("w300lp", lambda: plan(root, allow_partial=True))

  assert line.startswith(f"  {file}: ") and cause in line

  _, splits = plan(root, allow_partial=True, skip_bad=True)
  assert len(splits["train"]) == 29


def test_genuine_views_and_points_lie_on_each_other(tmp_path, monkeypatch):
  """The points as mmpose's converter left them, unchanged; only the container is ours."""
  samples = genuine_files.path("samples", "w300lp")
  genuine = json.loads((samples / "test_300wlp.json").read_text())
  monkeypatch.setattr(w300lp_dataset_builder, "COUNTS", {"AFW": 2})
  (tmp_path / "AFW").mkdir()
  points = {}

  for image, annotation in zip(genuine["images"], genuine["annotations"], strict=True):
    stem = image["file_name"].removesuffix(".jpg")
    shutil.copy(samples / f"{stem}.jpg", tmp_path / "AFW")
    points[stem] = np.reshape(annotation["keypoints"], (68, 3))[:, :2]
    write_landmarks(tmp_path, "AFW", stem, points[stem].astype(np.float32))

  splits = Builder(data_dir=tmp_path / "data").plan(tmp_path)
  assert [face.extra["photograph"] for face in splits["train"]] == ["AFW_134212"] * 2
  for face in splits["train"]:
    np.testing.assert_array_equal(face.landmarks, points[Path(face.file_name).stem])

  # The points in a view's own .mat are those of the photograph before it was turned: never to be
  # taken for the view's.
  copy = shutil.copy(
    samples / "IBUG_image_008_1_0.mat", tmp_path / "landmarks" / "AFW" / "AFW_134212_1_0_pts.mat"
  )

  with pytest.raises(InputError, match="has no variable 'pts_2d'; it has pt2d"):
    views.read_landmarks(copy)
