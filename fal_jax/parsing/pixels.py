"""Decoders of images: bytes to RGB. `fal_jax.images` decides in which process they run.

It runs here what is `is_ordinary`: JPEG, PNG and WebP files of ordinary size. Browsers decode these
with the same three libraries for every page they show, and OSS-Fuzz tries these day and night; the
memory that they take is known from the header and limited, and so are scans of JPEG files, their
only loop that a file may make as long as it likes.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import jpeg_factory

from fal_jax.errors import InputError, cut
from fal_jax.parsing import limits
from fal_jax.parsing.lookalikes import likely_cause

# Only these: Pillow would pass EPS files to Ghostscript, and the rarer formats are attack surface.
_ORDINARY = ("JPEG", "PNG", "WEBP")
_FORMATS = (*_ORDINARY, "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SCAN = b"\xff\xda"  # of JPEG; in compressed data 0xff is followed by 0
# How files of the other formats begin.
_RARE = (
  *(b"GIF8", b"BM", b"II", b"MM", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"),
  *(b"P%c" % kind for kind in b"0123456fy"),
)

# What the decoders raise on damaged files: they trust any size the header claims.
_DECODER_ERRORS = (
  OSError,
  SyntaxError,
  ValueError,
  RuntimeError,
  EOFError,
  IndexError,
  KeyError,
  TypeError,
  AttributeError,
  ArithmeticError,
  AssertionError,
  MemoryError,
  struct.error,
  zlib.error,
  cv2.error,
)

# EXIF orientation -> how the stored pixels are brought upright: (transpose first?, then the step
# along rows, the step along columns).
_UPRIGHT = {
  2: (False, 1, -1),
  3: (False, -1, -1),
  4: (False, -1, 1),
  5: (True, 1, 1),
  6: (True, 1, -1),
  7: (True, -1, -1),
  8: (True, -1, 1),
}
_ORIENTATION_TAG = 0x0112
_WIDTH_TAG, _HEIGHT_TAG = 256, 257  # of TIFF
_STRIP = 2**20  # pixels that are converted at once


class _Limits(NamedTuple):
  """What `fal_jax.images.read_image` was asked for."""

  max_pixels: int = limits.MAX_PIXELS
  max_jpeg_pixels: int | None = None


def is_ordinary(data: bytes) -> bool:
  """Whether an image can be decoded in this process, see above.

  Args:
    data: the file's bytes.

  Returns:
    True also for what is refused by its header: too many pixels, or no image at all.
  """
  if data.startswith(_PNG) and len(data) > 25:
    width, height = struct.unpack(">II", data[16:24])
    return _is_small(width * height, 8 if data[24] == 16 else 4)
  if (size := _webp_size(data)) is not None:
    return _is_small(size[0] * size[1], 8)  # for an animation it keeps two images
  return not _is_rare(data)


def _is_small(pixels: int, each: int) -> bool:
  return pixels * each <= limits.MAX_ORDINARY_BYTES or pixels > limits.MAX_PIXELS


def _is_rare(data: bytes) -> bool:
  """Whether a file may be of one of the formats beyond `_ORDINARY`."""
  return data.startswith(_RARE) or data[4:8] == b"ftyp"


def decode(
  data: bytes,
  *,
  name: str,
  upright: bool = False,
  value_range: tuple[float, float] | None = None,
  max_pixels: int = limits.MAX_PIXELS,
  max_jpeg_pixels: int | None = None,
) -> np.ndarray:
  """`fal_jax.images.read_image` of bytes: (H, W, 3) uint8 RGB, by the same arguments."""
  header = _header(data, name, _Limits(max_pixels, max_jpeg_pixels))
  with header:
    try:
      orientation = _orientation(header) if upright or header.format == "TIFF" else 1
      pixels = _rgb(header, data, value_range)
    except InputError as error:
      raise InputError(f"{name}: {error}") from error
    except _DECODER_ERRORS as error:
      cause = cut(
        f"{error}" if str(error) else type(error).__name__, length=limits.MAX_MESSAGE // 4
      )
      raise InputError(
        f"{name}: this {header.format} file cannot be decoded, "
        f"it is probably truncated or damaged, download it again ({cause})."
      ) from error

  # Pillow turns TIFF files, and only those, while loading: undo that unless it was asked for.
  if header.format == "TIFF":
    orientation = 1 if upright else {6: 8, 8: 6}.get(orientation, orientation)
  if orientation in _UPRIGHT:
    transpose, row_step, column_step = _UPRIGHT[orientation]
    pixels = (pixels.transpose(1, 0, 2) if transpose else pixels)[::row_step, ::column_step]

  return np.ascontiguousarray(pixels)


def deep_values(data: bytes, *, name: str) -> np.ndarray | None:
  """`fal_jax.images.deep_values`: (H, W) or (H, W, C), or None."""
  with _header(data, name, _Limits()) as header:
    try:
      return _deep(header, data)
    except InputError as error:
      raise InputError(f"{name}: {error}") from error
    except _DECODER_ERRORS as error:
      raise InputError(f"{name}: not an image that can be read: {likely_cause(data)}.") from error


def read_header(data: bytes, *, name: str) -> tuple[int, int, str, int]:
  """`fal_jax.images.read_header`."""
  _check_webp(data, name, _Limits())
  try:
    with _open(data) as header:
      # Pillow would decode all of a PNG file to see whether an EXIF block follows its pixels.
      searchable = header.format != "PNG" or "exif" in header.info or b"eXIf" in data
      orientation = _orientation(header) if searchable else 1
      width, height = header.size
      if header.format == "TIFF":  # of which Pillow gives the upright size
        tags = getattr(header, "tag_v2", {})
        width, height = tags.get(_WIDTH_TAG, width), tags.get(_HEIGHT_TAG, height)
      return int(width), int(height), header.mode, int(orientation)
  except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
    raise InputError(f"{name}: not an image: {likely_cause(data)}.") from error


def _header(data: bytes, name: str, allowed: _Limits) -> Image.Image:
  """The image with its header read, if it asks for no more than is allowed."""
  _check_webp(data, name, allowed)
  try:
    header = _open(data)
  except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
    raise InputError(f"{name}: the image is too large ({error}); shrink it first.") from error
  except _DECODER_ERRORS as error:
    raise InputError(f"{name}: not an image: {likely_cause(data)}.") from error

  try:
    _check_header(header, data, name, allowed)
  except BaseException:
    header.close()
    raise
  return header


def _check_webp(data: bytes, name: str, allowed: _Limits) -> None:
  """Refuses a WebP file before it is opened, which takes the memory of all its pixels."""
  if (size := _webp_size(data)) is not None:
    _check_size(*size, name=name, allowed=allowed.max_pixels, may_be_jpeg=allowed)
    limits.check_ratio(4 * size[0] * size[1], len(data), what=_what(name, size))


def _check_header(header: Image.Image, data: bytes, name: str, allowed: _Limits) -> None:
  """Refuses an image by its header, before its pixels take memory."""
  width, height = header.size
  plain = _is_plain_jpeg(header)
  if plain and allowed.max_jpeg_pixels:
    _check_size(width, height, name=name, allowed=allowed.max_jpeg_pixels)
  else:
    _check_size(
      width, height, name=name, allowed=allowed.max_pixels, may_be_jpeg=None if plain else allowed
    )

  each = 3 if plain else _bytes_per_pixel(header, data)
  if not plain and width * height * each > limits.MAX_DECODED_BYTES:
    raise InputError(
      f"{name}: {width} x {height} pixels of {each} bytes are more than the "
      f"{limits.MAX_DECODED_BYTES:,} bytes allowed; shrink the image, or save it with 8 bits per "
      "channel."
    )
  limits.check_ratio(width * height * each, len(data), what=_what(name, header.size))

  if header.format in ("JPEG", "MPO"):
    scans = data.count(_SCAN)
    if scans * width * height > limits.MAX_JPEG_WORK and scans > 1:
      raise InputError(
        f"{name}: {width} x {height} pixels in {scans} scans are more than any camera writes; save "
        "the image again."
      )


def _check_size(
  width: int, height: int, *, name: str, allowed: int, may_be_jpeg: _Limits | None = None
) -> None:
  """Refuses an image of too many pixels."""
  if width * height > allowed:
    hint = ", or save it as JPEG" if may_be_jpeg and may_be_jpeg.max_jpeg_pixels else ""
    raise InputError(
      f"{name}: {width} x {height} pixels are more than the {allowed:,} allowed; "
      f"shrink the image{hint}."
    )


def _what(name: str, size: tuple[int, int]) -> str:
  return f"{name}: {size[0]} x {size[1]} pixels"


def _bytes_per_pixel(header: Image.Image, data: bytes) -> int:
  """What a pixel takes while it is decoded; Pillow keeps colours in four bytes."""
  if _has_16_bits(header, data):
    return 2 * max(len(header.getbands()), 1)
  return 1 if header.mode in ("1", "L", "P") else 4


def _open(data: bytes) -> Image.Image:
  """The image with its header read.

  Pillow warns of more than 89 megapixels, which telephones have, and refuses more than 179; for
  JPEG files its reader is called directly, and `_check_header` alone decides.
  """
  if data.startswith(_JPEG):
    return jpeg_factory(io.BytesIO(data))
  return Image.open(io.BytesIO(data), formats=_FORMATS if _is_rare(data) else _ORDINARY)


def _webp_size(data: bytes) -> tuple[int, int] | None:
  """(width, height) of a WebP file; None for others, and for those that are cut."""
  if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
    return None
  match data[12:16]:
    case b"VP8X":
      width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
      return width, height
    case b"VP8L":
      bits = int.from_bytes(data[21:25], "little")
      return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    case b"VP8 ":
      width, height = struct.unpack("<HH", data[26:30])
      return width & 0x3FFF, height & 0x3FFF
  return None


def _orientation(image: Image.Image) -> int:
  """EXIF orientation of an opened image, 1 to 8.

  It is 1, upright, where there is none or the EXIF block is damaged.
  """
  try:
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
  except (SyntaxError, ValueError, struct.error):
    return 1
  return orientation if type(orientation) is int else 1


def _is_plain_jpeg(image: Image.Image) -> bool:
  """Whether it is a JPEG file without a fourth channel."""
  return image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")


def _rgb(image: Image.Image, data: bytes, value_range: tuple[float, float] | None) -> np.ndarray:
  """Pixels as stored, (H, W, 3) uint8 RGB."""
  # The fast path, for the plain JPEG files of the training input; same pixels as Pillow's. OpenCV's
  # releases differ on truncated files, so only a file that ends with the end-of-image marker takes
  # it.
  if _is_plain_jpeg(image) and data.endswith(b"\xff\xd9"):
    encoded = np.frombuffer(data, np.uint8)
    pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is not None and pixels.shape[:2] == (image.height, image.width):
      return pixels

  if (values := _deep(image, data)) is not None:
    if image.mode in ("I", "F") and image.format != "PPM" and value_range is None:
      raise InputError(
        "32-bit pixels have no known range; save the image with 8 or 16 bits per channel, or in "
        "your own dataset give `range` in markup.yaml."
      )
    if value_range is None and values.max(initial=0) > 65535:
      raise InputError("16-bit pixels cannot be decoded; save the image with 8 bits per channel.")
    height, width = values.shape[:2]
    return _in_strips(height, width, lambda top, end: _from_deep(values[top:end], value_range))

  image.load()
  is_transparent = image.has_transparency_data
  width, height = image.size

  def strip(top: int, end: int) -> np.ndarray:
    part = image.crop((0, top, width, end))
    if is_transparent:
      return _on_grey(np.asarray(part.convert("RGBA")))
    return np.asarray(part.convert("RGB"))

  return _in_strips(height, width, strip)


def _in_strips(height: int, width: int, strip: Callable[[int, int], np.ndarray]) -> np.ndarray:
  """(H, W, 3) uint8 of what a function makes of rows: between them lies little memory."""
  pixels = np.empty((height, width, 3), np.uint8)
  rows = max(_STRIP // max(width, 1), 1)
  for top in range(0, height, rows):
    end = min(top + rows, height)
    pixels[top:end] = strip(top, end)
  return pixels


def _deep(image: Image.Image, data: bytes) -> np.ndarray | None:
  """(H, W[, C]) in OpenCV's channel order, as stored, of an image of more than 8 bits.

  None for the others.
  """
  if _has_16_bits(image, data):  # Pillow drops the low byte of 16-bit colour
    with _open(data) as again:
      again.load()  # finds truncated files
    if image.format == "PNG":
      _check_chunks(data)
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
      raise InputError("16-bit pixels cannot be decoded; save the image with 8 bits per channel.")
    return values
  return np.array(image) if image.mode.startswith("I") or image.mode == "F" else None


def _check_chunks(data: bytes) -> None:
  """Refuses a PNG file with a chunk longer than itself, for which OpenCV takes the memory first."""
  at, end = len(_PNG), len(data)
  while at + 8 <= end:
    at += 12 + int.from_bytes(data[at : at + 4], "big")
    if at > end:
      raise EOFError("a chunk of a PNG file is longer than the file")


def _has_16_bits(image: Image.Image, data: bytes) -> bool:
  """Whether every channel of a PNG or TIFF file has 16 bits."""
  if image.format == "PNG":
    return data[24] == 16  # bit depth, in the header chunk that every PNG starts with
  return image.format == "TIFF" and set(getattr(image, "tag_v2", {}).get(258, ())) == {16}


def _from_deep(values: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
  """(H, W[, C]) in OpenCV's channel order -> (H, W, 3) uint8 RGB; by default from 0..65535."""
  pixels = _stretched(values, value_range)
  if pixels.ndim == 2:
    return np.repeat(pixels[..., None], 3, -1)
  if pixels.shape[-1] == 4:
    pixels[..., 3] = _stretched(values[..., 3], None)
    return _on_grey(pixels[..., [2, 1, 0, 3]])
  return pixels[..., ::-1]


def _stretched(values: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
  """Values of a range, by default 0..65535, to uint8 of 0..255, rounded; NaN becomes 0."""
  if value_range is None:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
  low, high = value_range
  scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
  return np.rint(np.nan_to_num(scaled).clip(0, 255)).astype(np.uint8)


def _on_grey(rgba: np.ndarray) -> np.ndarray:
  """(H, W, 4) uint8 -> (H, W, 3) uint8: composited on mid-grey."""
  colour, alpha = rgba[..., :3], rgba[..., 3:]
  if (alpha == 255).all():  # the usual case, of a photograph saved by a program that draws
    return colour
  mixed = colour.astype(np.uint16) * alpha + 128 * (255 - alpha.astype(np.uint16)) + 127
  return (mixed // 255).astype(np.uint8)
