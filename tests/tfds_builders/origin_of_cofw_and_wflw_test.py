"""The guards of COFW and WFLW, whose files name their faces: the same in every layout."""

import re
import shutil
import zipfile
from pathlib import Path

import cofw_files
import genuine_files
import numpy as np
import pytest
import scipy.io
import wflw_files

from fal_jax.errors import InputError
from tfds_builders.cofw29.cofw29_dataset_builder import Builder as Cofw29
from tfds_builders.cofw68.cofw68_dataset_builder import Builder as Cofw68
from tfds_builders.common.manual import ManualFaceBuilder
from tfds_builders.wflw.wflw_dataset_builder import Builder as Wflw

SHIFTS = (0, 1, -1)


def check(builder: ManualFaceBuilder, root: Path, shift: float, names: list[str]) -> None:
  """Plans a build: the named faces confirm the origin, or each of them is an error."""
  if shift == 0:
    builder.plan(root)
    origin = builder.info.metadata["origin"].replace("#0", "")
    assert origin == f"confirmed by the first landmark of {', '.join(names)}"
    return

  with pytest.raises(InputError, match=f"{len(names)} problems?") as caught:
    builder.plan(root)
  for name in names:
    assert re.search(rf"{re.escape(name)}(#\d)?: the first landmark is \(", str(caught.value))


def move_cofw(root: Path, layout: str) -> None:
  """Where `COFW_color.zip`, or what comes out of it, may lie."""
  file = root / "COFW_test_color.mat"
  if layout == "folder":
    (root / "COFW_color").mkdir()
    file.rename(root / "COFW_color" / file.name)
  elif layout != "top":
    inner = "COFW_color/" if layout == "zip of folder" else ""
    with zipfile.ZipFile(root / "COFW_color.zip", "w") as archive:
      archive.write(file, inner + file.name)
    file.unlink()


COFW_LAYOUTS = ("top", "folder", "zip", "zip of folder")


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layout", COFW_LAYOUTS)
def test_genuine_faces_of_cofw29(layout, shift, tmp_path, monkeypatch):
  genuine = genuine_files.arrays(genuine_files.path("annotations", "cofw29_test.npz"))
  names = [Path(name).stem for name in genuine["names"]]
  row = names.index("1")
  landmarks, visible = genuine["landmarks"][row], genuine["visible"][row]
  monkeypatch.setattr(Cofw29, "OFFICIAL_COUNTS", {"train": 0, "fit": 0, "val": 0, "test": 1})

  root = tmp_path / "files"
  root.mkdir()
  cofw_files.write_mat73(
    root / "COFW_test_color.mat",
    {
      "phisT": cofw_files.cofw_row(landmarks + shift, visible)[None],
      "bboxesT": np.array([[1.0, 1, 5, 5]]),
    },
    {"IsT": [np.zeros((300, 300, 3), np.uint8)]},
  )
  move_cofw(root, layout)

  builder = Cofw29(data_dir=root / "data", allow_partial=True)
  check(builder, root, shift, ["COFW_test_color.mat/0001"])


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layout", COFW_LAYOUTS)
def test_genuine_faces_of_cofw68(layout, shift, tmp_path, monkeypatch):
  samples = genuine_files.path("samples", "cofw68")
  monkeypatch.setattr(Cofw68, "OFFICIAL_COUNTS", {"test": 1})

  root = tmp_path / "files"
  folder = root / "cofw68-benchmark-master" / "COFW68_Data" / "test_annotations"
  folder.mkdir(parents=True)
  face = scipy.io.loadmat(samples / "test_annotations" / "1_points.mat")
  points = {"Points": face["Points"] + shift, "Occ": face["Occ"]}
  scipy.io.savemat(folder / "1_points.mat", points)
  boxes = scipy.io.loadmat(samples / "cofw68_test_bboxes.mat")["bboxes"]
  scipy.io.savemat(folder.parent / "cofw68_test_bboxes.mat", {"bboxes": boxes[:1]})
  cofw_files.write_mat73(
    root / "COFW_test_color.mat", {}, {"IsT": [np.zeros((300, 300, 3), np.uint8)]}
  )
  move_cofw(root, layout)
  if layout.startswith("zip"):
    benchmark = root / "cofw68-benchmark-master"
    shutil.make_archive(str(benchmark), "zip", root, benchmark.name)
    shutil.rmtree(benchmark)

  builder = Cofw68(data_dir=root / "data", allow_partial=True)
  check(builder, root, shift, ["COFW_test_color.mat/0001"])


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layout", ["unpacked", "packed"])
def test_a_face_of_wflw_by_its_genuine_name(layout, shift, tmp_path, monkeypatch):
  """The genuine lines themselves have no image here: a made-up face with the known landmark."""
  known, first = next(iter(Wflw.FIRST_LANDMARKS.items()))
  names = {"train": [known, *wflw_files.NAMES["train"][1:]], "test": wflw_files.NAMES["test"]}
  landmarks = wflw_files.landmarks

  def with_known(split: str, index: int) -> np.ndarray:
    points = landmarks(split, index)
    if (split, index) == ("train", 0):
      points += np.array(first) - points[0]
    return points + shift

  monkeypatch.setattr(wflw_files, "NAMES", names)
  monkeypatch.setattr(wflw_files, "landmarks", with_known)
  monkeypatch.setattr(Wflw, "OFFICIAL_COUNTS", wflw_files.COUNTS)
  root = tmp_path / "files"
  wflw_files.write_dataset(root)
  shutil.copy(genuine_image(), root / "WFLW_images" / known)
  if layout == "packed":
    wflw_files.pack(root, tmp_path / "packed")
    root = tmp_path / "packed"

  check(Wflw(data_dir=tmp_path / "data"), root, shift, [known])


def genuine_image() -> Path:
  """A genuine image of WFLW, large enough for the known landmark."""
  return genuine_files.path("samples", "wflw", "27_Spa_Spa_27_714_0.jpg")
