"""Videos and cameras frame by frame, and videos of what was found in them.

One frame is in memory at a time. Sound is neither read nor written.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from fal_jax.errors import InputError
from fal_jax.output import folders, opencv
from fal_jax.photos.sources import Frame, Item

DEFAULT_RATE = 25.0  # frames/s, where neither file nor camera says
_MAX_RATE = 1000.0

# What a header announces is an estimate for some kinds of files, and a video that was trimmed
# without being encoded again has more frames than it shows.
_TOLERANCE = 0.02

# Of the codecs in OpenCV's wheels the one that players know and that costs 10 ms for a frame of
# 1280 x 720: H.264 is missing for its licence, and VP9 takes 200 ms.
_CODEC = "mp4v"


class Video:
  """A file or a camera, opened.

  Attributes:
    rate: frames/s, on average.
    total: frames that a file announces; None where that is not known.
    live: whether it is a camera.
    frames_read: how many frames there were so far.
    failure: why there are no more, if that is not the end; a sentence.
  """

  def __init__(
    self, item: Item, capture: Any, *, live: bool, clock: Callable[[], float] = time.monotonic
  ):
    """Takes over what OpenCV has opened.

    Args:
      item: the file or camera.
      capture: a `cv2.VideoCapture`, or something like it.
      live: whether time is what a clock says, not the file.
      clock: s; tests pass their own.

    Raises:
      InputError: it could not be opened.
    """
    if not capture.isOpened():
      raise InputError(f"{item.path}: {_why_closed(item, live=live)}.")
    # Telephones store upright videos lying on their side.
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    rate = capture.get(cv2.CAP_PROP_FPS)
    total = capture.get(cv2.CAP_PROP_FRAME_COUNT)

    self.rate = float(rate) if 0 < rate <= _MAX_RATE else DEFAULT_RATE
    self.total = round(total) if not live and 0 < total < 1e9 else None
    self.live = live
    self.frames_read = 0
    self.failure = ""
    self._item = item
    self._capture = capture
    self._clock = clock

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._capture.release()

  def frames(self) -> Iterator[Frame]:
    """Reads one frame after the other; seeking would miss the frame in many files.

    Yields:
      Frames with rising times, in s from about 0. Ids are the video's with a number from 1:
      "clip.mp4@000001", as FFmpeg numbers the images that it extracts.
    """
    start = self._clock()
    seconds = -math.inf
    while (bgr := self._read()) is not None:
      elapsed = self._clock() - start if self.live else self._position()
      # A file of variable rate has its own times; some kinds have none, or some that fall.
      seconds = elapsed if elapsed > seconds else seconds + 1 / self.rate
      self.frames_read += 1
      image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
      yield Frame(
        f"{self._item.id}@{self.frames_read:06d}", self._item.path, image, seconds=seconds
      )
    self.failure = self._why_ended(seconds)

  def _read(self) -> np.ndarray | None:
    """The next frame (H, W, 3) uint8 BGR; None if there is none."""
    try:
      good, bgr = self._capture.read()
    except cv2.error:
      return None
    return bgr if good else None

  def _position(self) -> float:
    """The time of the last frame, s."""
    return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

  def _why_ended(self, seconds: float) -> str:
    """Why there is no further frame after one at this time; empty if it was the last."""
    path, count = self._item.path, self.frames_read
    if self.live:
      return f"{path}: the camera has stopped after frame {count}: is it still connected?"
    if not count:
      return f"{path}: no frame can be decoded: {_DOWNLOAD_AGAIN}."

    # Where the rate varies, the number is an estimate, but the time is not.
    expected = (self.total or 0) * (1 - _TOLERANCE) - 1
    if count < expected and seconds * self.rate + 1 < expected:
      return (
        f"{path}: it ends after frame {count} of the {self.total} that it announces: truncated or "
        "damaged? What was read is written"
      )
    return ""


def open_video(item: Item) -> Video:
  """Opens a video file, or a camera.

  Args:
    item: its `kind` says which; the path of a camera is "camera:0".

  Returns:
    The video, to be closed as a context manager.

  Raises:
    InputError: it cannot be opened.
  """
  with _quiet_opencv():
    if item.kind == "camera":
      return Video(item, cv2.VideoCapture(int(item.path.name.partition(":")[2])), live=True)
    # Not by whatever backend: others take a file called %d.mp4 for a series of images.
    return Video(item, cv2.VideoCapture(str(item.path), cv2.CAP_FFMPEG), live=False)


_DOWNLOAD_AGAIN = (
  "truncated, or of a kind that OpenCV cannot read? Download it again, or convert it to MP4"
)


def _why_closed(item: Item, *, live: bool) -> str:
  """What keeps a video from being opened."""
  path = item.path
  if live:
    return "there is no such camera, or another program uses it, or you may not"
  if not path.exists():
    return "no such file"
  if path.is_file() and not path.stat().st_size:
    return "the file is empty (an interrupted download?), download it again"
  if not os.access(path, os.R_OK):
    return "you have no permission to read it"
  return f"not a video that can be decoded: {_DOWNLOAD_AGAIN}"


class AnnotatedVideo:
  """Writes a video frame by frame; it gets its name when it is complete."""

  def __init__(self, path: Path, *, rate: float, live: bool = False):
    """Writes nothing yet.

    Args:
      path: .mp4; what is there is replaced.
      rate: frames/s.
      live: whether frames come as they come: the video then repeats or leaves out frames in order
        to be as long as it took. Else it has each frame once.
    """
    self._path = path
    self._unfinished = path.with_name(f"{path.name}.unfinished.mp4")  # FFmpeg looks at the ending
    self._rate = rate
    self._live = live
    self._written = 0
    self._size = (0, 0)
    self._writer: cv2.VideoWriter | None = None

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    if self._writer is not None:
      self._writer.release()
    if self._written:
      self._unfinished.replace(self._path)

  def write(self, image: np.ndarray, *, seconds: float) -> None:
    """Appends a frame.

    Args:
      image: (H, W, 3) uint8 RGB; the first one decides the size, without its last row or column if
        their number is odd, which the codec cannot store.
      seconds: its time.

    Raises:
      InputError: the file cannot be written.
    """
    if self._writer is None:
      self._size = image.shape[1], image.shape[0]
      self._writer = self._opened()
    if (image.shape[1], image.shape[0]) != self._size:  # some cameras change it on the way
      image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)

    copies = max(0, math.floor(seconds * self._rate) + 1 - self._written) if self._live else 1
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    for _ in range(copies):
      self._writer.write(bgr)
    self._written += copies

  def _opened(self) -> cv2.VideoWriter:
    folders.make_dir(self._path.parent, flag="--out")
    code = cv2.VideoWriter.fourcc(*_CODEC)
    with _quiet_opencv():
      writer = cv2.VideoWriter(str(self._unfinished), cv2.CAP_FFMPEG, code, self._rate, self._size)
    if not writer.isOpened():
      width, height = self._size
      raise InputError(
        f"{self._path}: a video of {width} x {height} px cannot be written there: name another "
        "--out, or do without it by --nooverlays."
      )
    return writer


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
  """Keeps what OpenCV and FFmpeg say about a bad file off the screen: we say it in one sentence."""
  # FFmpeg's level is read once, when the first video is opened.
  os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
  with opencv.quiet("SILENT"):
    yield
