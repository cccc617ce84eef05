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
"""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import jpeg_factory

from fal_jax.errors import InputError

# Only these: Pillow would pass EPS files to Ghostscript, and the rarer formats are attack surface.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")

_MAX_PIXELS = 64_000_000  # that are decoded unless more are asked for

# Endings that files of these formats have in practice, in lower case: what a folder's images are.
# fmt: off
IMAGE_SUFFIXES = (
  ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm",
  ".pgm", ".avif", ".jp2",
)
# fmt: on

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
  OverflowError,
  MemoryError,
  struct.error,
  zlib.error,
  cv2.error,
)

# Files that are often found under an image's name: (what they contain near their start, what to
# tell the user).
_LOOKALIKES = (
  ((b"<!doctype html", b"<html"), "looks like HTML (a login or error page?), download it again"),
  (
    (b"version https://git-lfs",),
    "looks like a Git LFS pointer, fetch the file itself with `git lfs pull`",
  ),
  (
    (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"),
    "looks like HEIC (a phone's photograph?), convert it to JPEG",
  ),
  ((b"ftyp", b"avi list", b"\x1a\x45\xdf\xa3"), "looks like a video, extract its frames first"),
  ((b"<svg",), "looks like SVG, export it as PNG"),
  ((b"%!ps", b"%pdf"), "looks like PostScript or PDF, export it as PNG"),
  ((b"pk\x03\x04", b"\x1f\x8b", b"rar!", b"7z\xbc\xaf"), "looks like an archive, unpack it first"),
  ((b"\x93numpy",), "looks like a NumPy file, give its array instead"),
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


def read_image(
  source: bytes | str | os.PathLike[str],
  *,
  upright: bool = False,
  value_range: tuple[float, float] | None = None,
  max_pixels: int = _MAX_PIXELS,
  max_jpeg_pixels: int | None = None,
  name: str | None = None,
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

  Returns:
    (H, W, 3) uint8, RGB, contiguous and writable.

  Raises:
    InputError: the file is missing, not an image, truncated or too large; the sentence names it and
      the likely cause.
  """
  name = name or ("given bytes" if isinstance(source, bytes) else str(source))
  data = source if isinstance(source, bytes) else _read_bytes(source, name)

  try:
    header = _open(data)
  except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
    raise InputError(f"{name}: the image is too large ({error}); shrink it first.") from error
  except _DECODER_ERRORS as error:
    raise InputError(f"{name}: not an image: {_likely_cause(data)}.") from error

  with header:
    width, height = header.size
    plain = _is_plain_jpeg(header)
    allowed = max_jpeg_pixels if max_jpeg_pixels and plain else max_pixels
    if width * height > allowed:
      hint = "" if plain or not max_jpeg_pixels else ", or save it as JPEG"
      raise InputError(
        f"{name}: {width} x {height} pixels are more than the {allowed:,} allowed; "
        f"shrink the image{hint}."
      )

    try:
      orientation = exif_orientation(header) if upright or header.format == "TIFF" else 1
      pixels = _decode(header, data, value_range)
    except InputError as error:
      raise InputError(f"{name}: {error}") from error
    except _DECODER_ERRORS as error:
      cause = f"{error}" if str(error) else type(error).__name__
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
  try:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as header:
      if header.width * header.height > _MAX_PIXELS:
        raise InputError(f"more than {_MAX_PIXELS:,} pixels.")
      return _deep(header, data)
  except InputError as error:
    raise InputError(f"{name}: {error}") from error
  except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
    raise InputError(f"{name}: not an image that can be read: {_likely_cause(data)}.") from error


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
  try:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as header:
      # Pillow would decode all of a PNG file to see whether an EXIF block follows its pixels.
      searchable = header.format != "PNG" or "exif" in header.info or b"eXIf" in data
      orientation = exif_orientation(header) if searchable else 1
      width, height = header.size
      if header.format == "TIFF":  # of which Pillow gives the upright size
        tags = getattr(header, "tag_v2", {})
        width, height = tags.get(_WIDTH_TAG, width), tags.get(_HEIGHT_TAG, height)
      return width, height, header.mode, orientation
  except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
    raise InputError(f"{name}: not an image: {_likely_cause(data)}.") from error


def exif_orientation(image: Image.Image) -> int:
  """EXIF orientation of an opened image, 1 to 8.

  It is 1, upright, where there is none or the EXIF block is damaged.
  """
  try:
    return image.getexif().get(_ORIENTATION_TAG, 1)
  except (SyntaxError, ValueError, struct.error):
    return 1


def _open(data: bytes) -> Image.Image:
  """The image with its header read.

  Pillow warns of more than 89 megapixels, which telephones have, and refuses more than 179; for
  JPEG files its reader is called directly, and `read_image` alone decides.
  """
  if data.startswith(b"\xff\xd8\xff"):
    return jpeg_factory(io.BytesIO(data))
  return Image.open(io.BytesIO(data), formats=_FORMATS)


def _is_plain_jpeg(image: Image.Image) -> bool:
  """Whether it is a JPEG file without a fourth channel."""
  return image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")


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


def _likely_cause(data: bytes) -> str:
  """Says what a file that no decoder recognises most likely is."""
  if not data:
    return "the file is empty (an interrupted download?), download it again"

  signatures = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
  if data.startswith(signatures) or data[8:12] in (b"WEBP", b"avif"):
    return "it has an image signature but its header is truncated or damaged, download it again"

  start = data[:512].lower()
  for signs, cause in _LOOKALIKES:
    if any(sign in start for sign in signs):
      return cause

  return f"it starts with {data[:8]!r}, and JPEG, PNG, WebP, BMP, GIF and TIFF files do not"


def _decode(image: Image.Image, data: bytes, value_range: tuple[float, float] | None) -> np.ndarray:
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
    return _from_deep(values, value_range)

  if image.has_transparency_data:
    return _on_grey(np.array(image.convert("RGBA")))
  return np.array(image.convert("RGB"))


def _deep(image: Image.Image, data: bytes) -> np.ndarray | None:
  """(H, W[, C]) in OpenCV's channel order, as stored, of an image of more than 8 bits.

  None for the others.
  """
  if _has_16_bits(image, data):  # Pillow drops the low byte of 16-bit colour
    image.load()  # finds truncated files
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
      raise InputError("16-bit pixels cannot be decoded; save the image with 8 bits per channel.")
    return values
  return np.array(image) if image.mode.startswith("I") or image.mode == "F" else None


def _has_16_bits(image: Image.Image, data: bytes) -> bool:
  """Whether every channel of a PNG or TIFF file has 16 bits."""
  if image.format == "PNG":
    return data[24] == 16  # bit depth, in the header chunk that every PNG starts with
  return image.format == "TIFF" and set(getattr(image, "tag_v2", {}).get(258, ())) == {16}


def _from_deep(values: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
  """(H, W[, C]) in OpenCV's channel order -> (H, W, 3) uint8 RGB; by default from 0..65535."""
  if value_range is None and values.max(initial=0) > 65535:
    raise InputError("16-bit pixels cannot be decoded; save the image with 8 bits per channel.")

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
  colour = rgba[..., :3].astype(np.uint32)
  alpha = rgba[..., 3:].astype(np.uint32)
  return ((colour * alpha + 128 * (255 - alpha) + 127) // 255).astype(np.uint8)
