"""Any image file -> uint8 RGB: the one decoder of builders, training input and prediction.

How it treats unusual kinds:

* Grey, 1-bit, palette, CMYK, YCbCr: converted to RGB; colour profiles are ignored.
* Alpha or a transparent palette entry: composited on mid-grey (128), which makes neither a dark nor
  a bright edge.
* 16 bits per channel: value / 257, rounded, so that 65535 -> 255; or linear from a given range.
* 32-bit integer or float pixels: refused unless a range is given, since theirs is not known.
* Animation, multi-page TIFF, multi-picture JPEG: the first frame.
* EXIF orientation: ignored, because most annotations are made on the stored pixels; applied when
  `upright`, if it can be read.
* Truncated: refused. Damage *inside* a JPEG's stream cannot be detected by any decoder, only by a
  checksum of the file.

JPEG, PNG and WebP of ordinary size are decoded here, all else by another process (`isolated`), in
which a crash or a memory bomb costs this one image.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax.errors import InputError
from fal_jax.parsing import isolated, limits, pixels

MAX_JPEG_PIXELS = limits.MAX_JPEG_PIXELS  # what is asked for on photographs

# Endings that files of these formats have in practice, in lower case: what a folder's images are.
# fmt: off
IMAGE_SUFFIXES = (
  ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm",
  ".pgm", ".avif", ".jp2",
)
# fmt: on


def read_image(
  source: bytes | str | os.PathLike[str],
  *,
  upright: bool = False,
  value_range: tuple[float, float] | None = None,
  max_pixels: int = limits.MAX_PIXELS,
  max_jpeg_pixels: int | None = None,
  name: str | None = None,
  trusted: bool = False,
) -> np.ndarray:
  """Reads an image file as RGB.

  Args:
    source: path of an image file, or the bytes of one.
    upright: whether to turn the pixels as the EXIF orientation says: True for prediction on
      photographs, False for prepared datasets, whose landmarks belong to the stored pixels.
    value_range: of images of more than 8 bits per channel, such as thermal ones, the value that
      becomes black and the one that becomes white; what lies outside is clipped. By default 0 and
      65535, which leaves few grey levels of a sensor that uses a part of the range. 8-bit images
      stay as they are.
    max_pixels: largest width x height that is decoded; checked in the file's header, before any
      memory is spent.
    max_jpeg_pixels: the same for JPEG files of plain RGB or grey, which take no more memory than
      their pixels; by default `max_pixels` too.
    name: what messages call the image; by default its path.
    trusted: whether these bytes have been decoded before, as those of a prepared dataset: they are
      then decoded in this process, whatever their format.

  Returns:
    (H, W, 3) uint8, RGB, contiguous and writable.

  Raises:
    InputError: the file is missing, not an image, truncated or too large; the sentence names it and
      the likely cause.
  """
  name = name or ("given bytes" if isinstance(source, bytes) else str(source))
  data = source if isinstance(source, bytes) else _read_bytes(source, name)
  options = {"upright": upright, "value_range": value_range, "max_pixels": max_pixels}
  options["max_jpeg_pixels"] = max_jpeg_pixels
  return _call("decode", data, name, trusted=trusted, **options)


def deep_values(data: bytes, *, name: str) -> np.ndarray | None:
  """The pixels of an image of more than 8 bits per channel, as stored.

  Args:
    data: the file's bytes.
    name: what messages call the image.

  Returns:
    (H, W) or (H, W, C), uint16, int32 or float32: what `value_range` of `read_image` refers to;
    None for an image of 8 bits.

  Raises:
    InputError: the file is not an image, or cannot be decoded.
  """
  return _call("deep_values", data, name)


def read_header(data: bytes, *, name: str) -> tuple[int, int, str, int]:
  """Reads what an image file says about itself; its pixels stay encoded.

  Args:
    data: the file's bytes, at least those of its header.
    name: what messages call the image.

  Returns:
    Width and height of the stored pixels, Pillow's mode ("RGB", "L", ...) and EXIF orientation.

  Raises:
    InputError: the file is not an image, or its header is damaged.
  """
  width, height, mode, orientation = _call("read_header", data, name)
  return width, height, mode, orientation


def _call(function: str, data: bytes, name: str, *, trusted: bool = False, **options: Any) -> Any:
  """Calls a function of `pixels`, here or in the other process."""
  if trusted or pixels.is_ordinary(data):
    return getattr(pixels, function)(data, name=name, **options)
  try:
    return isolated.call(f"{pixels.__name__}:{function}", content=data, name=name, **options)
  except isolated.Failed as failed:
    raise InputError(
      f"{name}: this image cannot be decoded, {failed}: convert it to JPEG or PNG."
    ) from failed


def _read_bytes(source: str | os.PathLike[str], name: str) -> bytes:
  """The file's bytes, or one sentence why not."""
  if str(source).lower().startswith(("http://", "https://", "gs://", "s3://")):
    raise InputError(f"{name} is a web address: download the image and give its path.")

  path = Path(source)
  if path.is_dir():
    raise InputError(f"{name} is a folder, not an image: give the path of one file.")
  if path.exists() and not path.is_file():
    raise InputError(f"{name} is a device or pipe, not an image file.")

  try:
    return path.read_bytes()
  except (OSError, ValueError) as error:  # ValueError: a path with a null character
    reason = getattr(error, "strerror", None) or error
    raise InputError(f"{name} cannot be read: {reason}.") from error
