"""Menpo's guard: copies that count from another pixel are refused in every layout of the files."""

import shutil
from pathlib import Path

import genuine_files
import numpy as np
import pytest
import w300_files
from PIL import Image

from fal_jax.errors import InputError
from tfds_builders.menpo import menpo_dataset_builder
from tfds_builders.menpo.menpo_dataset_builder import Builder

CONFIGS = {"frontal68": 68, "profile39": 39}
POSES = {68: "semifrontal", 39: "profile"}
KNOWN = {
  68: ("aflw__face_39823.jpg", "aflw__face_39824.jpg"),
  39: ("aflw__face_39822.jpg", "aflw__face_39831.jpg"),
}


def face_landmarks(name: str, num_landmarks: int) -> np.ndarray:
  """(K, 2) float64, 0-based: a made-up face with the known first landmark."""
  rng = np.random.default_rng(num_landmarks)
  points = np.round(rng.uniform([0, 0], [90, 160], (num_landmarks, 2)), 3)
  points[0] = Builder.FIRST_LANDMARKS[name]
  return points


def write_pairs(folder: Path, shift: float) -> None:
  """Both mark-ups in one folder, as in the challenge."""
  folder.mkdir(parents=True, exist_ok=True)
  for num_landmarks, names in KNOWN.items():
    for name in names:
      w300_files.write_image(folder / name, num_landmarks)
      points = face_landmarks(name, num_landmarks) + shift
      w300_files.write_pts((folder / name).with_suffix(".pts"), points)


def write_lists(root: Path, shift: float) -> None:
  """The MenpoBenchmark release."""
  for num_landmarks, names in KNOWN.items():
    pose = POSES[num_landmarks]
    folder = root / "Train" / "image" / pose
    folder.mkdir(parents=True)

    lines = []
    for name in names:
      w300_files.write_image(folder / name, num_landmarks)
      points = face_landmarks(name, num_landmarks) + 1 + shift
      numbers = [5, 6, 50, 44, *range(10), *points.ravel()]
      lines.append(" ".join([f"image/{pose}/{name}", *(f"{value:.3f}" for value in numbers)]))
    (root / "Train" / f"Menpo2D_{pose}_train.txt").write_text("\n".join(lines) + "\n")


def pack(root: Path, archive: str) -> None:
  """Packs everything below `root` into one archive in it."""
  content = root.parent / "content"
  root.rename(content)
  root.mkdir()
  shutil.make_archive(str(root / archive), "zip", content)


def packed_pairs(inner: str):
  def write(root: Path, shift: float) -> None:
    write_pairs(root / inner, shift)
    pack(root, "menpo_challenge_trainset")

  return write


def packed_lists(root: Path, shift: float) -> None:
  write_lists(root / "Menpo2D", shift)
  pack(root, "Menpo2D")


LAYOUTS = {
  "trainset": lambda root, shift: write_pairs(root / "trainset", shift),
  "trainset/trainset": lambda root, shift: write_pairs(root / "trainset" / "trainset", shift),
  "trainset/menpo/train": lambda root, shift: write_pairs(root / "trainset/menpo/train", shift),
  "zip": packed_pairs("."),
  "zip of trainset": packed_pairs("trainset"),
  "zip of train": packed_pairs("train"),
  "Menpo2D": lambda root, shift: write_lists(root / "Menpo2D", shift),
  "Train": write_lists,
  "zip of Menpo2D": packed_lists,
}


@pytest.fixture(autouse=True)
def small_counts(monkeypatch):
  counts = {68: {"train": 2, "test": 0}, 39: {"train": 2, "test": 0}}
  releases = {name: counts for name in menpo_dataset_builder._RELEASES}
  monkeypatch.setattr(menpo_dataset_builder, "_RELEASES", releases)


@pytest.mark.parametrize("below", [False, True], ids=["data elsewhere", "data below"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("config", CONFIGS)
def test_a_copy_shifted_by_a_pixel_is_refused_in_every_layout(config, layout, below, tmp_path):
  """Wherever the archive is unpacked, below the user's own folder too."""
  names = KNOWN[CONFIGS[config]]

  for shift in (0, 1, -1):
    root = tmp_path / str(shift) / "files"
    root.mkdir(parents=True)
    LAYOUTS[layout](root, shift)
    data_dir = root / "data" if below else tmp_path / str(shift) / "data"
    builder = Builder(data_dir=data_dir, config=config)

    if shift == 0:
      files = [face.file_name for face in builder.plan(root)["train"]]
      assert [Path(file).name for file in files] == [*names]
      origin = f"confirmed by the first landmark of {', '.join(files)}"
      assert builder.info.metadata["origin"] == origin
      continue

    with pytest.raises(InputError, match="menpo: 2 problems") as caught:
      builder.plan(root)
    for name in names:
      assert f"{name}: the first landmark is (" in str(caught.value)


@pytest.mark.parametrize("shift", [0, 1, -1])
def test_the_genuine_profiles_pass_and_shifted_they_do_not(shift, tmp_path):
  genuine = genuine_files.arrays(genuine_files.path("annotations", "menpo_profile.npz"))
  folder = tmp_path / "trainset"
  folder.mkdir()
  for name in KNOWN[39]:
    row = [Path(path).name for path in genuine["names"]].index(name)
    Image.new("RGB", (600, 600)).save(folder / name)
    points = genuine["landmarks"][row]
    w300_files.write_pts((folder / name).with_suffix(".pts"), points + shift)
  builder = Builder(data_dir=tmp_path / "data", config="profile39")

  if shift == 0:
    assert len(builder.plan(tmp_path)["train"]) == 2
  else:
    with pytest.raises(InputError, match="2 problems"):
      builder.plan(tmp_path)
