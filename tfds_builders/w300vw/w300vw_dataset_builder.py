"""300VW: 114 videos of faces, 68 landmarks on every frame, with the three test categories.

Layout, splits and conventions are described in README.md beside this file.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from fal_jax.errors import InputError
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.pts import read_pts
from tfds_builders.common.schema import face_features
from tfds_builders.common.validate import Face, Finding
from tfds_builders.w300vw.broken_frames import broken_frames
from tfds_builders.w300vw.frames import extract

_CITATION = """\
@inproceedings{shen2015_300vw,
  author    = {Jie Shen and Stefanos Zafeiriou and Grigorios G. Chrysos and Jean Kossaifi and Georgios Tzimiropoulos and Maja
               Pantic},
  title     = {The First Facial Landmark Tracking in-the-Wild Challenge: Benchmark and Results},
  booktitle = {IEEE International Conference on Computer Vision Workshops},
  year      = {2015},
}
"""


@dataclasses.dataclass(frozen=True)
class _Split:
  numbers: str  # of its videos
  frames: int  # official number of annotated frames, the broken ones included

  @property
  def videos(self) -> list[str]:
    return self.numbers.split()


_SPLITS: Mapping[str, _Split] = {
  "train": _Split(
    "001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035 037 "
    "039 041 043 044 046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205 223 225",
    95192,
  ),
  "test_a": _Split(
    "114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525 "
    "537 538 540 541 546 547 548",
    62846,
  ),
  "test_b": _Split(
    "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553", 32872
  ),
  "test_c": _Split("410 411 516 517 526 528 529 530 531 533 557 558 559 562", 27687),
}


@dataclasses.dataclass(eq=False)
class W300VWConfig(tfds.core.BuilderConfig):
  """Which frames are built.

  Attributes:
    stride: every how many frames one is taken, beginning with the first of each video.
  """

  stride: int = 1


class Builder(ManualFaceBuilder):
  """Builds 300VW from its archive, packed or unpacked, or from frames that have been extracted
  already.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[W300VWConfig]] = [
    W300VWConfig(
      name="every10",
      description="Every tenth frame: to train on, and for a look at a network.",
      stride=10,
    ),
    W300VWConfig(
      name="every1",
      description="Every frame: the protocol, and what measures of jitter need.",
      stride=1,
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Ask for 300VW_Dataset_2015_12_14.zip on https://ibug.doc.ic.ac.uk/resources/300-VW/ and put it into a folder, or unpack it
      there; it then holds 300VW_Dataset_2015_12_14/001/vid.avi, 001/annot/000001.pts and so on for 114 videos. Frames that you
      have extracted yourself go into 001/imgs/000001.jpg (or .png), ...; they are counted from 1 as the annotations are.
      """
  ARCHIVES = (Archive("300VW_Dataset_2015_12_14.zip", size="1.9 GB"),)

  _frames_dir: Path

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      description=__doc__,
      features=face_features(
        68, video=tfds.features.Text(), frame=tfds.features.Scalar(dtype=np.int32)
      ),
      homepage="https://ibug.doc.ic.ac.uk/resources/300-VW/",
      citation=_CITATION,
      license="Research and other non-commercial use only; the videos belong to their owners.",
      metadata=tfds.core.MetadataDict(markup=68),
    )

  def train_flags(self) -> str:
    flags, name = "--config=configs/w300vw.py --mode=eval", self.builder_config.name
    return flags if name == "every1" else f"{flags} --config.eval.name={self.name}/{name}"

  def workdir(self) -> str:
    return "runs/w300lp"

  def official_counts(self) -> Mapping[str, int]:
    """Known for all frames together only: how many a video has, its authors do not say."""
    if self.builder_config.stride > 1:
      return {}
    return {
      name: split.frames - sum(len(broken_frames(video)) for video in split.videos)
      for name, split in _SPLITS.items()
    }

  def plan(self, manual_dir: Path, *, unpack_dir: Path | None = None) -> dict[str, list[Face]]:
    """See `ManualFaceBuilder.plan`; frames of videos go where archives are unpacked."""
    self._frames_dir = (unpack_dir or self.unpack_dir) / "frames"
    return super().plan(manual_dir, unpack_dir=unpack_dir)

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout(splits={name: [] for name in _SPLITS}, missing=[], findings=[])

    def read(video: str) -> _Video:
      return _read_video(
        downloads, video, stride=self.builder_config.stride, frames_dir=self._frames_dir / video
      )

    videos = [video for split in _SPLITS.values() for video in split.videos]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
      read_ones = tqdm(
        pool.map(read, videos),
        f"Reading {self.name}",
        total=len(videos),
        unit=" videos",
        disable=None,
      )
      found = dict(zip(videos, read_ones, strict=True))
    finally:
      pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for all videos
    for name, split in _SPLITS.items():
      absent = [video for video in split.videos if found[video].annotated is None]
      annotated = sum(found[video].annotated or 0 for video in split.videos)
      if absent:
        layout.missing.append(
          f"{name}: expected {len(split.videos)} videos, not there are {' '.join(absent)}"
        )
      elif annotated != split.frames:
        layout.missing.append(
          f"{name}: expected {split.frames:,} annotated frames, found {annotated:,}"
        )
      for video in split.videos:
        layout.splits[name] += found[video].faces
        layout.findings += found[video].findings
    return layout


@dataclasses.dataclass(frozen=True)
class _Video:
  annotated: int | None  # number of annotation files; None where there is no such video
  faces: Sequence[Face] = ()
  findings: Sequence[Finding] = ()


def _read_video(downloads: Downloads, video: str, *, stride: int, frames_dir: Path) -> _Video:
  """Reads one video.

  Args:
    downloads: the dataset's files.
    video: its number, "001".
    stride: every how many frames one is taken.
    frames_dir: where frames are extracted to.

  Returns:
    How many of its frames are annotated; a face for each good one that is wanted; what is wrong.
  """
  folder = downloads.find(f"300VW_Dataset_2015_12_14/{video}") or downloads.find(video)
  if folder is None:
    return _Video(None)
  annotations = _by_number(folder / "annot", (".pts",))
  broken = broken_frames(video)
  wanted = {
    number: file
    for number, file in annotations.items()
    if (number - 1) % stride == 0 and number not in broken
  }
  if not annotations:
    return _Video(0, findings=[Finding(f"{video}/annot", "no annotation files 000001.pts, ...")])

  images, finding = _frames(
    folder, video, wanted, last=max(annotations), count=len(annotations), frames_dir=frames_dir
  )
  findings = [finding] if finding else []
  faces = []
  for number, file in wanted.items() if images else ():
    if number not in images:
      findings.append(
        Finding(f"{video}/annot/{file.name}", f"no frame {video}/imgs/{number:06d}.jpg or .png")
      )
      continue
    try:
      landmarks = read_pts(file, num_landmarks=68, origin=1)
    except InputError as error:
      message = str(error).removeprefix(str(file)).lstrip(",: ").rstrip(".")
      findings.append(Finding(f"{video}/annot/{file.name}", message))
      continue
    faces.append(
      Face(images[number], f"{video}/{number:06d}", landmarks, {"video": video, "frame": number})
    )
  return _Video(len(annotations), faces, findings)


def _frames(
  folder: Path, video: str, wanted: Mapping[int, Path], *, last: int, count: int, frames_dir: Path
) -> tuple[dict[int, Path], Finding | None]:
  """Image files by frame number, and what is wrong: no images then if frames and annotations may
  not belong together.
  """
  images = _by_number(folder / "imgs", (".jpg", ".jpeg", ".png"))
  if 0 in images:
    return {}, Finding(
      f"{video}/imgs",
      "frames are counted from 0, expected from 1 as the annotations are: extract them again",
    )
  if images:
    return images, None
  if not (folder / "vid.avi").is_file():
    return {}, Finding(
      f"{video}/vid.avi", f"no such file, and no frames {video}/imgs/000001.jpg, ..."
    )
  try:
    frames = extract(folder / "vid.avi", wanted, frames_dir)
  except InputError as error:
    return {}, Finding(
      f"{video}/vid.avi", str(error).removeprefix(str(folder / "vid.avi")).lstrip(",: ").rstrip(".")
    )
  except OSError as error:
    raise InputError(
      f"{frames_dir} cannot be written ({error.strerror}): make room, or build fewer frames, e.g. w300vw/every10."
    ) from error
  if frames < last:
    message = f"{frames} frames can be decoded and annotations go on to frame {last}: cut short, or other frames are missing"
    return {}, Finding(f"{video}/vid.avi", message)
  images = {number: frames_dir / f"{number:06d}.jpg" for number in wanted}
  if frames != count:
    return images, Finding(f"{video}/vid.avi", "not every frame is annotated", "note")
  return images, None


def _by_number(folder: Path, endings: Sequence[str]) -> dict[int, Path]:
  """Files named by a number, in its order."""
  if not folder.is_dir():
    return {}
  files = {
    int(file.stem): file
    for file in folder.iterdir()
    if file.suffix.lower() in endings and file.stem.isascii() and file.stem.isdigit()
  }
  return dict(sorted(files.items()))
