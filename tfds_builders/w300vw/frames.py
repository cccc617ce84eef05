"""Frames of a video as image files.

Decoded one after the other, because seeking misses the frame in many .avi files.
"""

from collections.abc import Collection
from pathlib import Path

import cv2

from fal_jax.errors import InputError

# A fifth of what PNG takes, at a loss that is small beside the video's own compression; chroma at
# full resolution.
_JPEG = (
  cv2.IMWRITE_JPEG_QUALITY,
  95,
  cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
  cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)


def extract(video: Path, wanted: Collection[int], into: Path) -> int:
  """Writes some frames of a video as `000001.jpg`, ...

  Those of an earlier, finished extraction are reused.

  Args:
    video: the file.
    wanted: numbers of the frames, from 1.
    into: folder, made if it is not there.

  Returns:
    How many frames the video has, counted by decoding all of them: what its header says is often
    wrong.

  Raises:
    InputError: it is not a video that can be decoded.
    OSError: the frames cannot be written.
  """
  done = into / ".complete"
  stamp = f"{video.stat().st_size} {video.stat().st_mtime_ns}"
  if done.is_file() and done.read_text().startswith(f"{stamp} "):
    count = int(done.read_text().split()[-1])
    if all((into / f"{number:06d}.jpg").is_file() for number in wanted if number <= count):
      return count

  capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
  try:
    into.mkdir(parents=True, exist_ok=True)
    count = 0
    while capture.grab():
      count += 1
      if count not in wanted:
        continue
      decoded, frame = capture.retrieve()
      if not decoded:
        raise InputError(f"{video}: frame {count} cannot be decoded, fetch the file again.")

      jpeg = cv2.imencode(".jpg", frame, _JPEG)[1].tobytes()
      (into / f"{count:06d}.jpg").write_bytes(jpeg)

    if not count:
      raise InputError(
        f"{video} is not a video that can be decoded, or is truncated: download it again."
      )
    done.write_text(f"{stamp} {count}")
  finally:
    capture.release()
  return count
