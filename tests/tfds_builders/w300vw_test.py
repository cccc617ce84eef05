"""The 300VW builder: the very frame of each annotation, and the protocol's frames only."""

import importlib
import shutil
import zipfile
from pathlib import Path

import cv2
import genuine_files
import numpy as np
import prepared
import pytest
import tensorflow_datasets as tfds

from fal_jax import data
from fal_jax.errors import InputError
from fal_jax.images import read_image
from tfds_builders import prepare
from tfds_builders.w300vw import broken_frames, frames, w300vw_dataset_builder
from tfds_builders.w300vw.w300vw_dataset_builder import Builder

FRAMES = {"001": 23, "114": 12, "203": 12, "410": 12}
BROKEN = {"410": "2-4 11"}


def frame_landmarks(video: str, number: int) -> np.ndarray:
  """(68, 2) float64, 0-based, with three decimals as in genuine files."""
  return np.round(np.random.default_rng([int(video), number]).uniform([5, 5], [90, 70], (68, 2)), 3)


def write_pts(path: Path, landmarks: np.ndarray) -> None:
  """As the dataset has them: 1-based, DOS line ends, some double spaces."""
  lines = "".join(
    f"{x:.3f}{' ' * (1 + k % 2)}{y:.3f}\r\n" for k, (x, y) in enumerate(landmarks + 1)
  )
  path.write_bytes(f"version:  1\r\nn_points:  68\r\n{{\r\n{lines}}}\r\n".encode())


def grey(number: int) -> int:
  """Brightness of a frame, which tells its number."""
  return 20 + 8 * number


def write_video(path: Path, count: int) -> None:
  """An .avi of MPEG-4 with predicted frames, as the dataset's are.

  A frame is right only if all before it were decoded.
  """
  writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"XVID"), 25, (96, 80))
  assert writer.isOpened()
  for number in range(1, count + 1):
    writer.write(np.full((80, 96, 3), grey(number), np.uint8))
  writer.release()


def write_dataset(root: Path) -> None:
  for video, count in FRAMES.items():
    (root / video / "annot").mkdir(parents=True)
    write_video(root / video / "vid.avi", count)
    for number in range(1, count + 1):
      write_pts(root / video / "annot" / f"{number:06d}.pts", frame_landmarks(video, number))
  (root / "ReadMe.txt").write_text("as in the archive")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  root = tmp_path_factory.mktemp("made") / "300VW_Dataset_2015_12_14"
  write_dataset(root)
  return root


@pytest.fixture
def root(made, tmp_path, monkeypatch):
  monkeypatch.setattr(broken_frames, "_RANGES", BROKEN)
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {})  # those of the genuine frames
  splits = {
    name: w300vw_dataset_builder._Split(video, FRAMES[video])
    for name, video in zip(("train", "test_a", "test_b", "test_c"), FRAMES, strict=True)
  }
  monkeypatch.setattr(w300vw_dataset_builder, "_SPLITS", splits)
  return Path(shutil.copytree(made, tmp_path / "files" / made.name))


def plan(root, config="every1", **options):
  builder = Builder(data_dir=root.parents[1] / "data", config=config, **options)
  return builder, builder.plan(root.parent, unpack_dir=root.parents[1] / "unpacked")


def numbers(faces):
  return [face.extra["frame"] for face in faces]


def brightness(image: bytes) -> float:
  return float(read_image(image, name="frame").mean())


def test_the_lists_are_those_of_the_challenge():
  splits = w300vw_dataset_builder._SPLITS

  assert {name: len(split.videos) for name, split in splits.items()} == {
    "train": 50,
    "test_a": 31,
    "test_b": 19,
    "test_c": 14,
  }
  assert len({video for split in splits.values() for video in split.videos}) == 114
  assert sum(split.frames for split in splits.values()) == 218597

  counts = Builder(data_dir="unused", config="every1").official_counts()
  assert counts == {"train": 95192, "test_a": 62135, "test_b": 32805, "test_c": 26338}
  assert Builder(data_dir="unused").official_counts() == {}, (
    "nobody states them for every tenth frame"
  )


def test_each_video_has_as_many_broken_frames_as_others_counted():
  counts = {
    401: 120,
    402: 109,
    410: 148,
    411: 316,
    508: 99,
    518: 208,
    529: 134,
    530: 109,
    531: 14,
    533: 234,
    540: 6,
    547: 30,
    548: 139,
    551: 36,
    553: 31,
    557: 394,
  }

  assert {
    int(video): len(broken_frames.broken_frames(video)) for video in broken_frames._RANGES
  } == counts
  assert sum(counts.values()) == 2127 and broken_frames.broken_frames("001") == frozenset()
  assert 731 in broken_frames.broken_frames("401") and 732 not in broken_frames.broken_frames("401")


def test_prepare_writes_the_very_frame_of_each_annotation(root, tmp_path, capfd):
  command = [f"--manual_dir={root.parent}", f"--data_dir={tmp_path / 'data'}"]

  assert prepare.main(["w300vw/every1", *command]) == 0

  out, err = capfd.readouterr()
  lines = prepared.table(out)

  assert ["train", "23", "23"] in lines and ["test_c", "8", "8"] in lines and err == ""
  assert "--config=configs/w300vw.py --mode=eval" in out and "--workdir=runs/w300lp" in out

  folder = tmp_path / "data" / "w300vw" / "every1"
  assert [path.name for path in folder.iterdir()] == ["1.0.0"], "no extracted frame stays behind"

  config = importlib.import_module("configs.w300vw").get_config()
  name = config.eval.name

  assert (
    len(data.open_split(name, "test_a", data_dir=str(tmp_path / "data"), num_landmarks=68)) == 12
  )

  builder = tfds.builder_from_directory(folder / "1.0.0")
  assert builder.info.metadata["markup"] == 68 and not builder.info.metadata["partial"]

  for split, (video, count) in zip(
    ("train", "test_a", "test_b", "test_c"), FRAMES.items(), strict=True
  ):
    rows = list(builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()}))

    assert {row["video"].decode() for row in rows} == {video}

    found = sorted(int(row["frame"]) for row in rows)
    assert found == [n for n in range(1, count + 1) if video != "410" or n not in (2, 3, 4, 11)]

    for row in rows:
      number = int(row["frame"])
      assert row["file_name"].decode() == f"{video}/{number:06d}"
      np.testing.assert_allclose(
        row["landmarks"], frame_landmarks(video, number), rtol=0, atol=4e-6
      )
      assert abs(brightness(row["image"]) - grey(number)) < 3.9, "neighbours are 8 apart"


def test_every_tenth_frame_begins_with_the_first_and_is_the_default(root, tmp_path, capfd):
  code = prepare.main(["w300vw", f"--manual_dir={root.parent}", f"--data_dir={tmp_path / 'data'}"])

  assert code == 0

  out = capfd.readouterr().out
  assert ["train", "3", "-"] in prepared.table(out)
  assert "--mode=eval --config.eval.name=w300vw/every10 " in out

  _, splits = plan(root, "every10")
  assert numbers(splits["train"]) == [1, 11, 21] and numbers(splits["test_a"]) == [1, 11]
  assert numbers(splits["test_c"]) == [1], "frame 11 is a broken one"

  kept = sorted(path.name for path in (tmp_path / "unpacked" / "frames" / "001").glob("*.jpg"))
  assert kept == ["000001.jpg", "000011.jpg", "000021.jpg"], "no other frame takes space"


def test_the_archive_itself_will_do_and_a_dry_run_leaves_nothing(root, tmp_path, capfd):
  (tmp_path / "packed").mkdir()
  with zipfile.ZipFile(tmp_path / "packed" / "300VW_Dataset_2015_12_14.zip", "w") as archive:
    for path in root.rglob("*"):
      archive.write(path, path.relative_to(root.parent))
  shutil.rmtree(root)
  command = [
    "w300vw/every1",
    f"--manual_dir={tmp_path / 'packed'}",
    f"--data_dir={tmp_path / 'data'}",
  ]

  assert prepare.main([*command, "--dry_run"]) == 0
  assert not (tmp_path / "data").exists()
  assert ["test_b", "12", "12"] in prepared.table(capfd.readouterr().out)
  assert prepare.main(command) == 0


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_frames_extracted_before_are_taken_as_they_are(root, ending):
  (root / "001" / "vid.avi").unlink()
  (root / "001" / "imgs").mkdir()

  for number in range(1, 24):
    cv2.imwrite(
      str(root / "001" / "imgs" / f"{number:06d}.{ending}"),
      np.full((80, 96, 3), 255 - grey(number), np.uint8),
    )

  _, splits = plan(root)
  assert numbers(splits["train"]) == list(range(1, 24))
  assert splits["train"][4].file_name == "001/000005"
  assert brightness(splits["train"][4].image.read_bytes()) == pytest.approx(255 - grey(5), abs=1)


def test_a_second_try_does_not_extract_again(root, tmp_path, monkeypatch):
  first = tmp_path / "unpacked" / "frames" / "001" / "000001.jpg"
  plan(root)
  before = first.stat().st_mtime_ns
  plan(root)

  assert first.stat().st_mtime_ns == before

  write_video(root / "001" / "vid.avi", 24)  # another video
  plan(root)

  assert first.stat().st_mtime_ns != before


def test_a_full_disk_is_one_sentence(root, tmp_path, monkeypatch, capfd):
  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(frames.Path, "write_bytes", full)
  code = prepare.main(
    ["w300vw", f"--manual_dir={root.parent}", f"--data_dir={tmp_path / 'data'}", "--dry_run"]
  )

  assert code == 2

  err = capfd.readouterr().err
  assert "cannot be written (No space left on device): make room, or build fewer frames" in err
  assert len(err.splitlines()) == 1


def test_frames_without_annotation_are_noted(root):
  (root / "001" / "annot" / "000002.pts").unlink()
  builder, splits = plan(root, allow_partial=True)
  assert len(splits["train"]) == 22 and 2 not in numbers(splits["train"])
  assert builder.info.metadata["notes"] == {"not every frame is annotated": ["001/vid.avi"]}
  assert builder.info.metadata["missing"] == ["train: expected 23 annotated frames, found 22"]


def test_missing_videos_are_listed_with_where_to_ask(root):
  shutil.rmtree(root / "203")
  with pytest.raises(InputError) as caught:
    plan(root)
  assert "\n  test_b: expected 1 videos, not there are 203\n" in str(caught.value)
  assert "resources/300-VW" in str(caught.value)
  assert "300VW_Dataset_2015_12_14.zip (1.9 GB)" in str(caught.value)


_BAD_FILES = {
  "no video": (
    lambda d: (d / "vid.avi").unlink(),
    "vid.avi",
    "no such file, and no frames 001/imgs/000001.jpg",
  ),
  "empty video": (
    lambda d: (d / "vid.avi").write_bytes(b""),
    "vid.avi",
    "is not a video that can be decoded",
  ),
  "login page": (
    lambda d: (d / "vid.avi").write_text("<html>"),
    "vid.avi",
    "is not a video that can be decoded",
  ),
  "fewer frames than annotations": (
    lambda d: write_video(d / "vid.avi", 20),
    "vid.avi",
    "20 frames can be decoded but annotations continue to frame 23",
  ),
  "no annotations": (lambda d: shutil.rmtree(d / "annot"), "annot", "no annotation files"),
  "annotation cut short": (
    lambda d: cut_pts(d / "annot" / "000005.pts"),
    "annot/000005.pts",
    "no closing brace",
  ),
  "49 points": (
    lambda d: write_pts(d / "annot" / "000005.pts", frame_landmarks("001", 5)[:49]),
    "annot/000005.pts",
    "49 landmarks",
  ),
  "points of a larger video": (
    lambda d: write_pts(d / "annot" / "000005.pts", frame_landmarks("001", 5) + 500),
    "000005",
    "px outside the 96 x 80 image",
  ),
  "frames counted from 0": (
    lambda d: write_frames(d, range(23)),
    "imgs",
    "counted from 0, expected from 1",
  ),
  "an extracted frame is missing": (
    lambda d: write_frames(d, [*range(1, 5), *range(6, 24)]),
    "annot/000005.pts",
    "no frame 001/imgs/000005.jpg or .png",
  ),
  "an extracted frame is damaged": (
    lambda d: (write_frames(d, range(1, 24)), (d / "imgs" / "000005.jpg").write_bytes(b"")),
    "000005",
    "not an image: the file is empty",
  ),
}


def cut_pts(path: Path) -> None:
  path.write_bytes(path.read_bytes()[:-3])


def write_frames(folder: Path, frame_numbers) -> None:
  (folder / "imgs").mkdir()
  for number in frame_numbers:
    cv2.imwrite(
      str(folder / "imgs" / f"{number:06d}.jpg"), np.full((80, 96, 3), grey(number), np.uint8)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", _BAD_FILES)
def test_each_kind_of_bad_file_is_one_line_naming_it(kind, root):
  spoil, file, cause = _BAD_FILES[kind]
  spoil(root / "001")

  line = prepared.only_problem("w300vw", lambda: plan(root, allow_partial=True))

  assert line.startswith(f"  001/{file}: ")
  assert cause in line

  _, splits = plan(root, allow_partial=True, skip_bad=True)
  assert len(splits.get("train", ())) == (22 if "000005" in file else 0)
  assert len(splits["test_a"]) == 12


def test_genuine_frames_are_read_exactly(tmp_path, monkeypatch):
  samples = genuine_files.path("samples", "w300vw")
  builder = Builder(data_dir=tmp_path / "data", config="every1", allow_partial=True)
  splits = builder.plan(samples)

  assert [face.file_name for face in splits["train"]] == ["001/000006", "001/000009"]
  assert [face.file_name for face in splits["test_a"]] == ["401/000732"], "000731 is a broken one"
  np.testing.assert_allclose(splits["train"][0].landmarks[0], [742.224, 196.764], rtol=0, atol=1e-9)
  np.testing.assert_allclose(
    splits["test_a"][0].landmarks[0], [362.817, 270.708], rtol=0, atol=1e-9
  )
  assert builder.info.metadata["origin"].endswith("first landmark of 001/000006, 401/000732")
  assert not (tmp_path / "data").exists(), "nothing is extracted where frames are there"
