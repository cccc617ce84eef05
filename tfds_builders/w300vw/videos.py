"""One video of 300VW: its annotated frames as faces."""

import contextlib
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fal_jax.errors import InputError
from fal_jax.images import IMAGE_SUFFIXES
from tfds_builders.common.downloads import Downloads
from tfds_builders.common.pts import read_pts
from tfds_builders.common.validate import Face, Finding
from tfds_builders.w300vw.broken_frames import broken_frames
from tfds_builders.w300vw.frames import extract


@dataclasses.dataclass(frozen=True)
class Video:
  """What is there of a video.

  Attributes:
    annotated: number of annotation files; None where there is no such video.
    faces: one for each good frame that is wanted.
    findings: what is wrong with its files.
    witnesses: known frames that are not wanted, without their image.
  """

  annotated: int | None
  faces: Sequence[Face] = ()
  findings: Sequence[Finding] = ()
  witnesses: Sequence[Face] = ()


def read_video(
  downloads: Downloads, video: str, *, stride: int, frames_dir: Path, known: Collection[str] = ()
) -> Video:
  """Reads one video.

  Args:
    downloads: the dataset's files.
    video: its number, "001".
    stride: one frame in this many is taken.
    frames_dir: where frames are extracted to.
    known: names of frames ("001/000006") that are read whether they are taken or not.

  Returns:
    How many of its frames are annotated; a face for each good one that is wanted; what is wrong.

  Raises:
    InputError: frames cannot be written.
  """
  folder = downloads.find_in(("300VW_Dataset_2015_12_14/", ""), video)
  if folder is None:
    return Video(None)

  annotations = _by_number(folder / "annot", (".pts",))
  if not annotations:
    return Video(0, findings=[Finding(f"{video}/annot", "no annotation files 000001.pts, ...")])

  broken = broken_frames(video)
  wanted = {
    number: file
    for number, file in annotations.items()
    if (number - 1) % stride == 0 and number not in broken
  }
  images, findings = _frames(
    folder, video, wanted, last=max(annotations), count=len(annotations), frames_dir=frames_dir
  )

  faces = []
  for number, file in wanted.items() if images else ():
    label = f"{video}/annot/{file.name}"
    if number not in images:
      findings.append(Finding(label, f"no frame {video}/imgs/{number:06d}.jpg or .png"))
      continue

    try:
      landmarks = read_pts(file, num_landmarks=68, origin=1)
    except InputError as error:
      findings.append(Finding.from_error(label, error, path=file))
      continue

    extra = {"video": video, "frame": number}
    faces.append(Face(images[number], f"{video}/{number:06d}", landmarks, extra))

  others = {number: file for number, file in annotations.items() if number not in wanted}
  return Video(len(annotations), faces, findings, _witnesses(others, video, known))


def _witnesses(others: Mapping[int, Path], video: str, known: Collection[str]) -> list[Face]:
  """The known frames among those that are not wanted; unreadable ones say nothing."""
  witnesses = []
  for number, file in others.items():
    name = f"{video}/{number:06d}"
    if name not in known:
      continue
    with contextlib.suppress(InputError):
      witnesses.append(Face(file, name, read_pts(file, num_landmarks=68, origin=1)))
  return witnesses


def _frames(
  folder: Path, video: str, wanted: Mapping[int, Path], *, last: int, count: int, frames_dir: Path
) -> tuple[dict[int, Path], list[Finding]]:
  """The frames of a video as image files.

  Args:
    folder: the folder of the video.
    video: its number, "001".
    wanted: frame number -> annotation file.
    last: the highest number of an annotated frame.
    count: number of annotated frames.
    frames_dir: where frames are extracted to.

  Returns:
    Image files by frame number, and what is wrong: no images then if frames and annotations may not
    belong together.
  """
  images = _by_number(folder / "imgs", IMAGE_SUFFIXES)
  if 0 in images:
    message = (
      "frames are counted from 0, expected from 1 as the annotations are: extract them again"
    )
    return {}, [Finding(f"{video}/imgs", message)]
  if images:
    return images, []

  file = folder / "vid.avi"
  label = f"{video}/vid.avi"
  if not file.is_file():
    message = f"no such file, and no frames {video}/imgs/000001.jpg, ..."
    return {}, [Finding(label, message)]
  try:
    decoded = extract(file, wanted, frames_dir)
  except InputError as error:
    return {}, [Finding.from_error(label, error, path=file)]
  except OSError as error:
    raise InputError(
      f"{frames_dir} cannot be written ({error.strerror}): "
      "make room, or build fewer frames, e.g. w300vw/every10."
    ) from error

  if decoded < last:
    message = (
      f"{decoded} frames can be decoded but annotations continue to frame {last}: "
      "truncated, or other frames are missing"
    )
    return {}, [Finding(label, message)]

  images = {number: frames_dir / f"{number:06d}.jpg" for number in wanted}
  if decoded != count:
    return images, [Finding(label, "not every frame is annotated", "note")]
  return images, []


def _by_number(folder: Path, suffixes: Sequence[str]) -> dict[int, Path]:
  """Files named by a number, in its order."""
  if not folder.is_dir():
    return {}
  files = {
    int(file.stem): file
    for file in folder.iterdir()
    if file.suffix.lower() in suffixes and file.stem.isascii() and file.stem.isdigit()
  }
  return dict(sorted(files.items()))
