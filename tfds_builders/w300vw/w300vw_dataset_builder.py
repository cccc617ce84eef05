"""300VW: 114 videos of faces, 68 landmarks on every frame, with the three test categories.

Layout, splits and conventions are described in README.md beside this file.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.validate import Face
from tfds_builders.w300vw.broken_frames import broken_frames
from tfds_builders.w300vw.videos import Video, read_video


@dataclasses.dataclass(frozen=True)
class _Split:
  numbers: str  # of its videos
  frames: int  # official number of annotated frames, the broken ones included

  @property
  def videos(self) -> list[str]:
    return self.numbers.split()


_SPLITS: Mapping[str, _Split] = {
  "train": _Split(
    "001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 "
    "031 033 034 035 037 039 041 043 044 046 047 048 049 053 057 059 112 113 115 119 "
    "120 123 138 143 144 160 204 205 223 225",
    95192,
  ),
  "test_a": _Split(
    "114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 "
    "521 522 524 525 537 538 540 541 546 547 548",
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
    stride: one frame in this many is taken, beginning with the first of each video.
  """

  stride: int = 1


class Builder(ManualFaceBuilder):
  """Builds 300VW from its archive, packed or unpacked, or from frames extracted before."""

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
  NUM_LANDMARKS = 68
  EXTRA_FEATURES: ClassVar[Mapping[str, Any]] = {
    "video": tfds.features.Text(),
    "frame": tfds.features.Scalar(dtype=np.int32),
  }
  HOMEPAGE = "https://ibug.doc.ic.ac.uk/resources/300-VW/"
  LICENSE = "Research and other non-commercial use only; the videos belong to their owners."
  CITATION = """\
@inproceedings{shen2015_300vw,
  author    = {Jie Shen and Stefanos Zafeiriou and Grigorios G. Chrysos and Jean Kossaifi and
               Georgios Tzimiropoulos and Maja Pantic},
  title     = {The First Facial Landmark Tracking in-the-Wild Challenge: Benchmark and Results},
  booktitle = {IEEE International Conference on Computer Vision Workshops},
  year      = {2015},
}
"""
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Ask for 300VW_Dataset_2015_12_14.zip on https://ibug.doc.ic.ac.uk/resources/300-VW/ and put it
      into a folder, or unpack it there; it then holds 300VW_Dataset_2015_12_14/001/vid.avi,
      001/annot/000001.pts and so on for 114 videos. Frames that you have extracted yourself go into
      001/imgs/000001.jpg (or .png), ...; they are counted from 1 as the annotations are.
      """
  ARCHIVES = (Archive("300VW_Dataset_2015_12_14.zip", size="1.9 GB"),)

  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "001/000006": (742.224, 196.764),  # the file says 743.224 197.764, counted from 1
    "401/000732": (362.817, 270.708),
  }

  _frames_dir: Path

  def train_flags(self) -> str:
    flags = "--config=configs/w300vw.py --mode=eval"
    name = self.builder_config.name
    return flags if name == "every1" else f"{flags} --config.eval.name={self.name}/{name}"

  def workdir(self) -> str:
    return "runs/w300lp"

  def official_counts(self) -> Mapping[str, int]:
    """Known for all frames together only: its authors do not state how many a video has."""
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
    layout = Layout.empty(_SPLITS)
    videos = self._read_videos(
      downloads, [video for split in _SPLITS.values() for video in split.videos]
    )

    for name, split in _SPLITS.items():
      absent = [video for video in split.videos if videos[video].annotated is None]
      annotated = sum(videos[video].annotated or 0 for video in split.videos)

      if absent:
        layout.missing.append(
          f"{name}: expected {len(split.videos)} videos, not there are {' '.join(absent)}"
        )
      elif annotated != split.frames:
        layout.missing.append(
          f"{name}: expected {split.frames:,} annotated frames, found {annotated:,}"
        )

      for video in split.videos:
        layout.add(name, videos[video].faces)
        layout.findings += videos[video].findings
        layout.witnesses += videos[video].witnesses
    return layout

  def _read_videos(self, downloads: Downloads, numbers: Iterable[str]) -> dict[str, Video]:
    """Reads videos on all cores."""
    numbers = list(numbers)
    stride = self.builder_config.stride

    def read(video: str) -> Video:
      frames_dir = self._frames_dir / video
      known = self.FIRST_LANDMARKS
      return read_video(downloads, video, stride=stride, frames_dir=frames_dir, known=known)

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
      results = pool.map(read, numbers)
      title = f"Reading {self.name}"
      bar = tqdm(results, title, total=len(numbers), unit=" videos", disable=None)
      return dict(zip(numbers, bar, strict=True))
    finally:
      pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for all videos
