"""Every dataset's guard on genuine pieces: as they are, they pass; shifted by a pixel, they do not.

In each layout of folders and archives that its builder reads.
"""

import json
import re
import shutil
import tarfile
from pathlib import Path

import aflw19_files
import genuine_files
import numpy as np
import pytest
import scipy.io
import w300_files
from PIL import Image

from fal_jax.errors import InputError
from tfds_builders.aflw19 import release
from tfds_builders.aflw19.aflw19_dataset_builder import Builder as Aflw19
from tfds_builders.common.manual import ManualFaceBuilder
from tfds_builders.w300.w300_dataset_builder import Builder as W300
from tfds_builders.w300lp.w300lp_dataset_builder import Builder as W300LP
from tfds_builders.w300vw.w300vw_dataset_builder import Builder as W300VW

SHIFTS = (0, 1, -1)


def check(builder: ManualFaceBuilder, root: Path, shift: float, names: list[str]) -> None:
  """Plans a build: the named faces confirm the origin, or each of them is an error."""
  if shift == 0:
    builder.plan(root)
    origin = builder.info.metadata["origin"]
    assert origin.startswith("confirmed by the first landmark of ")
    assert all(name in origin for name in names)
    return

  with pytest.raises(InputError, match=f"{len(names)} problems?") as caught:
    builder.plan(root)
  for name in names:
    assert re.search(rf"{re.escape(name)}(#\d)?: the first landmark is \(", str(caught.value))
  assert builder.info.metadata["origin"].startswith("NOT CONFIRMED, contradicted by the first")


def shift_pts(file: Path, shift: float) -> None:
  """Adds to every coordinate of a `.pts` file, which keeps its header."""
  lines = file.read_text().splitlines()
  is_point = [re.fullmatch(r"\s*[\d.]+\s+[\d.]+\s*", line) for line in lines]
  moved = [
    " ".join(f"{float(word) + shift:.6f}" for word in line.split()) if match else line
    for line, match in zip(lines, is_point, strict=True)
  ]
  file.write_text("\n".join(moved) + "\n")


def pack(root: Path, archive: str) -> None:
  """Packs everything below `root` into one archive in it."""
  content = root.parent / "content"
  root.rename(content)
  root.mkdir()
  shutil.make_archive(str(root / archive), "zip", content)


# How a folder of 300W may lie there: unpacked, doubled, or as an archive with or without it.
def plain_folder(root: Path, folder: str) -> None:
  del root, folder


def doubled_folder(root: Path, folder: str) -> None:
  (root / folder).rename(root / "inner")
  (root / folder).mkdir()
  (root / "inner").rename(root / folder / folder)


def archive_of_folder(root: Path, folder: str) -> None:
  shutil.make_archive(str(root / folder), "zip", root, folder)
  shutil.rmtree(root / folder)


def archive_of_content(root: Path, folder: str) -> None:
  shutil.make_archive(str(root / folder), "zip", root / folder)
  shutil.rmtree(root / folder)


W300_LAYOUTS = (plain_folder, doubled_folder, archive_of_folder, archive_of_content)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layout", W300_LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize(
  ("folder", "name"),
  [
    ("afw", "afw/2437602091_1.jpg"),
    ("helen", "helen/trainset/1142136696_1.jpg"),
    ("lfpw", "lfpw/trainset/image_0827.png"),
  ],
)
def test_genuine_training_images_of_300w(folder, name, layout, shift, tmp_path):
  root = tmp_path / "files"
  shutil.copytree(genuine_files.path("samples", "w300", folder), root / folder)
  if folder == "afw":  # doubled in the samples
    (root / "afw" / "afw").rename(root / "samples")
    (root / "afw").rmdir()
    (root / "samples").rename(root / "afw")
  for file in root.rglob("*.pts"):
    shift_pts(file, shift)
  layout(root, folder)

  check(W300(data_dir=root / "data", allow_partial=True), root, shift, [name])


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layout", ["folder", "doubled", "parts"])
def test_a_genuine_private_image_of_300w(layout, shift, tmp_path):
  """Its points as mmpose keeps them, counted from 1; the archive comes in parts."""
  samples = genuine_files.path("samples", "w300", "300W", "01_Indoor")
  genuine = json.loads((samples / "test_300w.json").read_text())
  ids = {image["file_name"]: image["id"] for image in genuine["images"]}
  (face,) = (face for face in genuine["annotations"] if face["image_id"] == ids["indoor_029.png"])
  points = np.reshape(face["keypoints"], (68, 3))[:, :2]

  root = tmp_path / "files"
  folder = root / "300W" / "01_Indoor"
  folder.mkdir(parents=True)
  shutil.copy(samples / "indoor_029.png", folder)
  w300_files.write_pts(folder / "indoor_029.pts", points - 1 + shift)
  if layout == "doubled":
    doubled_folder(root, "300W")
  if layout == "parts":
    pack(root, "300w")
    content = (root / "300w.zip").read_bytes()
    (root / "300w.zip").unlink()
    half = len(content) // 2
    (root / "300w.zip.001").write_bytes(content[:half])
    (root / "300w.zip.002").write_bytes(content[half:])

  builder = W300(data_dir=root / "data", allow_partial=True)
  check(builder, root, shift, ["300W/01_Indoor/indoor_029.png"])


def test_a_cropped_training_image_neither_confirms_nor_contradicts(tmp_path):
  (tmp_path / "afw").mkdir()
  for ending in (".jpg", ".pts"):
    shutil.copy(genuine_files.path("300w", "afw", f"2437602091_1{ending}"), tmp_path / "afw")
  builder = W300(data_dir=tmp_path / "data", allow_partial=True)

  assert len(builder.plan(tmp_path)["train"]) == 1
  assert builder.info.metadata["origin"].startswith("not confirmed; afw/2437602091_1.jpg is not")


def test_the_known_test_images_of_300w_are_those_of_an_independent_copy():
  """The annotations of all 689, from 0, by their file names."""
  genuine = genuine_files.arrays(genuine_files.path("annotations", "w300_full.npz"))
  firsts = {
    Path(str(name)).name: points[0]
    for name, points in zip(genuine["names"], genuine["landmarks"], strict=True)
  }
  known = {
    name: first
    for name, first in W300.FIRST_LANDMARKS.items()
    if name.startswith(("helen/testset", "lfpw/testset", "ibug"))
  }

  assert len(known) == 3
  for name, first in known.items():
    np.testing.assert_allclose(firsts[Path(name).name], first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layout", ["top", "folder", "zip"])
@pytest.mark.parametrize("config", ["every1", "every10"])
def test_genuine_frames_of_300vw(config, layout, shift, tmp_path):
  """Whether the known frames, the 6th and the 732nd, are taken or not."""
  root = tmp_path / "files"
  dataset = root if layout == "top" else root / "300VW_Dataset_2015_12_14"
  samples = genuine_files.path("samples", "w300vw")
  for video in ("001", "401"):
    shutil.copytree(samples / video, dataset / video)
    # One that both configurations take, on an image of the same size.
    for folder, of, name in (("annot", "*.pts", "000011.pts"), ("imgs", "*.jpg", "000011.jpg")):
      shutil.copy(sorted((samples / video / folder).glob(of))[0], dataset / video / folder / name)
  for file in root.rglob("*.pts"):
    shift_pts(file, shift)
  if layout == "zip":
    pack(root, "300VW_Dataset_2015_12_14")

  builder = W300VW(data_dir=root / "data", config=config, allow_partial=True)
  check(builder, root, shift, ["001/000006", "401/000732"])


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layout", ["top", "folder", "zip"])
@pytest.mark.parametrize("config", ["no_flips", "with_flips"])
def test_genuine_views_of_300w_lp(config, layout, shift, tmp_path):
  """The points as mmpose's converter left them, unchanged; only the container is ours."""
  root = tmp_path / "files"
  dataset = root if layout == "top" else root / "300W_LP"
  for folder in ("AFW", "AFW_Flip", "landmarks/AFW"):
    (dataset / folder).mkdir(parents=True)

  samples = genuine_files.path("samples", "w300lp")
  genuine = json.loads((samples / "test_300wlp.json").read_text())
  names = []
  for image, annotation in zip(genuine["images"], genuine["annotations"], strict=True):
    stem = image["file_name"].removesuffix(".jpg")
    names.append(f"AFW/{stem}.jpg")
    for folder in ("AFW", "AFW_Flip"):
      shutil.copy(samples / f"{stem}.jpg", dataset / folder)
    points = np.reshape(annotation["keypoints"], (68, 3))[:, :2].astype(np.float32) + shift
    scipy.io.savemat(dataset / "landmarks" / "AFW" / f"{stem}_pts.mat", {"pts_2d": points})
  (dataset / "AFW" / "_not_a_view.jpg").write_bytes(b"junk")
  if layout == "zip":
    pack(root, "300W_LP")

  check(W300LP(data_dir=root / "data", config=config, allow_partial=True), root, shift, names)


def write_aflw(root: Path, images: str, *, shift: float, moved: slice = slice(None)) -> list[str]:
  """The six genuine faces in the container of AFLWinfo_release.mat; returns their images' names."""
  samples = genuine_files.path("samples", "aflw")
  faces = {}
  for file in sorted(samples.glob("*.pts")):
    box = [float(word) for word in file.with_suffix(".rct").read_text().split()]
    faces[file.stem] = np.loadtxt(file)[:, :2], box
  annotations = json.loads((samples / "test_aflw.json").read_text())
  stems = {image["id"]: Path(image["file_name"]).stem for image in annotations["images"]}
  for face in annotations["annotations"]:
    low = np.array(face["center"]) - face["box_size"] / 2
    points = np.reshape(face["keypoints"], (19, 3))[:, :2]
    faces[stems[face["image_id"]]] = points, [*low, *(low + face["box_size"])]

  names = [f"{'023'[row % 3]}/{stem.partition('_')[0]}.jpg" for row, stem in enumerate(faces)]
  for stem, name in zip(faces, names, strict=True):
    (root / images / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(samples / f"{stem}.jpg", root / images / name)

  points = np.array([points for points, _ in faces.values()])
  points[moved] += shift
  boxes = np.array([box for _, box in faces.values()])
  cells = np.empty((6, 1), object)
  cells[:, 0] = names
  aflw19_files.write_mat(
    root,
    bbox=boxes[:, [0, 2, 1, 3]],
    data=points.transpose(0, 2, 1).reshape(6, 38),
    mask_new=np.ones((6, 19)),
    nameList=cells,
    ra=np.arange(1.0, 7)[None],
  )
  return names


@pytest.fixture
def six_faces(monkeypatch):
  monkeypatch.setattr(release, "NUM_FACES", 6)
  monkeypatch.setattr(release, "NUM_TRAIN", 3)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layout", ["aflw/data/flickr", "images", ".", "tar"])
def test_genuine_faces_of_aflw(layout, shift, six_faces, tmp_path):
  root = tmp_path / "files"
  images = "aflw/data/flickr" if layout == "tar" else layout
  names = write_aflw(root, images, shift=shift)
  if layout == "tar":
    with tarfile.open(root / "aflw.tar.gz", "w:gz", compresslevel=1) as archive:
      archive.add(root / "aflw", "aflw")
    shutil.rmtree(root / "aflw")

  check(Aflw19(data_dir=root / "data"), root, shift, names)


def test_one_hand_that_agrees_is_enough_for_aflw(six_faces, tmp_path):
  """Its known landmarks come from two copies of others, not from the file itself."""
  names = write_aflw(tmp_path, "images", shift=1, moved=slice(4, 6))
  builder = Aflw19(data_dir=tmp_path / "data")

  assert len(builder.plan(tmp_path)["test_full"]) == 3
  assert builder.info.metadata["origin"].startswith("NOT CONFIRMED, contradicted by")
  notes = [files for note, files in builder.info.metadata["notes"].items() if "first" in note]
  assert sorted(name for files in notes for name in files) == [f"{name}#0" for name in names[4:]]


def test_sizes_are_those_of_the_genuine_training_images():
  for name, size in W300.FIRST_LANDMARK_SIZES.items():
    inner = name.replace("afw/", "afw/afw/")
    with Image.open(genuine_files.path("samples", "w300", *inner.split("/"))) as image:
      assert image.size == size
