"""Small videos of a face that moves by known amounts, and files that are damaged on purpose."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

RATE = 25.0
SIZE = 240, 320  # rows and columns


def portrait() -> np.ndarray:
  """(H, W, 3) uint8 RGB: Grace Hopper, the photograph that comes with matplotlib, made small."""
  import matplotlib.cbook

  with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
    pixels = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR_RGB)
  return cv2.resize(pixels, (205, 240), interpolation=cv2.INTER_AREA)


def shifts(count: int, *, speed: float = 1.5) -> np.ndarray:
  """(T, 2) int px: how far the face has moved to the right in each frame."""
  return np.round(np.outer(np.arange(count), [speed, 0])).astype(int)


def moving(image: np.ndarray, by: np.ndarray) -> Iterator[np.ndarray]:
  """Frames (240, 320, 3) uint8 RGB with the image moved by (T, 2) whole px, so exactly."""
  for x, y in by.tolist():
    frame = np.full((*SIZE, 3), 128, np.uint8)
    part = frame[max(y, 0) :, max(x, 0) :]
    height, width = min(image.shape[0], part.shape[0]), min(image.shape[1], part.shape[1])
    part[:height, :width] = image[:height, :width]
    yield frame


def write(
  path: Path, frames: Iterable[np.ndarray], *, rate: float = RATE, codec: str = "MJPG"
) -> Path:
  """Writes (H, W, 3) uint8 RGB frames of one size."""
  writer = None
  for frame in frames:
    if writer is None:
      size = frame.shape[1], frame.shape[0]
      code = cv2.VideoWriter.fourcc(*codec)
      writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, size)
      assert writer.isOpened()
    writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
  assert writer is not None
  writer.release()
  return path


def read(path: Path) -> list[np.ndarray]:
  """All frames (H, W, 3) uint8 RGB of a file, without any code of ours."""
  capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
  frames = []
  while True:
    good, bgr = capture.read()
    if not good:
      return frames
    frames.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def turn(path: Path) -> None:
  """Marks an MP4 file as stored on its side, as telephones do: to be shown turned clockwise."""
  data = bytearray(path.read_bytes())
  height = struct.unpack(">I", data[(at := data.find(b"tkhd")) + 84 : at + 88])[0]
  matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, height, 0, 1 << 30)
  data[at + 44 : at + 80] = matrix
  path.write_bytes(data)


def set_durations(path: Path, durations: Sequence[int]) -> None:
  """Makes the rate of an MP4 file vary: each frame lasts some ticks of its own clock."""
  data = path.read_bytes()
  at = data.find(b"stts") - 4
  size = struct.unpack(">I", data[at : at + 4])[0]
  rows = b"".join(struct.pack(">II", 1, ticks) for ticks in durations)
  table = struct.pack(">I4sII", 16 + len(rows), b"stts", 0, len(durations)) + rows
  data = bytearray(data[:at] + table + data[at + size :])
  for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # the boxes around it have grown
    start = data.find(name) - 4
    length = struct.unpack(">I", data[start : start + 4])[0] + len(table) - size
    data[start : start + 4] = struct.pack(">I", length)
  path.write_bytes(data)


class Camera:
  """Frames (H, W, 3) uint8 RGB as a `cv2.VideoCapture` of a camera gives them, then none."""

  def __init__(self, frames: Iterable[np.ndarray], *, rate: float = 30.0):
    self._frames = iter(frames)
    self._rate = rate
    self.released = False

  def isOpened(self) -> bool:
    return True

  def set(self, _: int, __: float) -> bool:
    return False

  def get(self, prop: int) -> float:
    return self._rate if prop == cv2.CAP_PROP_FPS else -1.0

  def read(self) -> tuple[bool, np.ndarray | None]:
    frame = next(self._frames, None)
    if frame is None:
      return False, None
    return True, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)

  def release(self) -> None:
    self.released = True
