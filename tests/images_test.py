"""Reading images: every kind becomes RGB, every bad file becomes one sentence."""

import io
import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from fal_jax.errors import InputError
from fal_jax.images import deep_values, read_header, read_image

_NOISE = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
_SMOOTH = cv2.resize(_NOISE, (37, 30), interpolation=cv2.INTER_CUBIC)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
  """A file of one of Pillow's formats."""
  if isinstance(image, np.ndarray):
    image = Image.fromarray(image)
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def png_without_pixels(width: int, height: int) -> bytes:
  """A PNG file whose header is whole."""

  def chunk(kind: bytes, content: bytes) -> bytes:
    length = struct.pack(">I", len(content))
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return length + kind + content + checksum

  header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def sixteen_bits(values: np.ndarray, suffix: str) -> bytes:
  """A file with 16 bits per channel, of grey (H, W) or RGB (H, W, 3) values."""
  values = values.astype(np.uint16)
  if values.ndim == 3:
    values = values[..., ::-1]  # OpenCV's order
  return cv2.imencode(suffix, values)[1].tobytes()


@pytest.mark.parametrize(
  "options", [{}, {"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 30}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_pixels_agree_with_pillow(mode, options):
  data = encoded(Image.fromarray(_SMOOTH).convert(mode), "JPEG", **options)
  expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

  np.testing.assert_array_equal(read_image(data), expected)
  # With bytes after the end marker, as some cameras write them, Pillow decodes instead of OpenCV.
  np.testing.assert_array_equal(read_image(data + b"\0" * 7), expected)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_exactly(kind, tmp_path):
  path = tmp_path / "some image"
  path.write_bytes(encoded(_SMOOTH, kind))

  for source in (path, str(path), path.read_bytes()):
    image = read_image(source)
    np.testing.assert_array_equal(image, _SMOOTH)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable


def transparent_palette() -> Image.Image:
  image = Image.new("P", (3, 2), 1)
  image.putpalette([9, 9, 9, 200, 100, 50])
  return image


_COLOUR_OF_16_BITS = np.full((2, 3, 3), (65535, 255, 257 * 40))
_KINDS = {
  "grey": (encoded(Image.new("L", (3, 2), 77), "PNG"), (77, 77, 77)),
  "grey JPEG": (encoded(Image.new("L", (16, 16), 77), "JPEG"), (77, 77, 77)),
  "one bit": (encoded(Image.new("1", (3, 2), 1), "PNG"), (255, 255, 255)),
  "palette": (encoded(transparent_palette(), "PNG"), (200, 100, 50)),
  "CMYK": (
    encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100),
    (255, 0, 0),
  ),
  "opaque RGBA": (encoded(Image.new("RGBA", (3, 2), (10, 20, 30, 255)), "PNG"), (10, 20, 30)),
  "half transparent": (
    encoded(Image.new("RGBA", (3, 2), (255, 0, 28, 51)), "PNG"),
    (153, 102, 108),
  ),
  "transparent grey": (encoded(Image.new("LA", (3, 2), (255, 0)), "PNG"), (128, 128, 128)),
  "transparent palette": (encoded(transparent_palette(), "PNG", transparency=1), (128, 128, 128)),
  "transparent GIF": (encoded(transparent_palette(), "GIF", transparency=1), (128, 128, 128)),
  "16-bit grey PNG": (sixteen_bits(np.full((2, 3), 32768), ".png"), (128, 128, 128)),
  "16-bit grey TIFF": (sixteen_bits(np.full((2, 3), 65535), ".tiff"), (255, 255, 255)),
  "16-bit colour PNG": (sixteen_bits(_COLOUR_OF_16_BITS, ".png"), (255, 1, 40)),
  "16-bit colour TIFF": (sixteen_bits(_COLOUR_OF_16_BITS, ".tiff"), (255, 1, 40)),
  "16-bit PGM": (encoded(np.full((2, 3), 32768, np.uint16), "PPM"), (128, 128, 128)),
  "WebP": (encoded(Image.new("RGB", (3, 2), (10, 20, 30)), "WEBP", lossless=True), (10, 20, 30)),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_every_kind_becomes_rgb(kind):
  data, colour = _KINDS[kind]

  image = read_image(data)

  assert image.shape[2:] == (3,) and image.dtype == np.uint8 and image.flags.c_contiguous
  np.testing.assert_array_equal(image, np.broadcast_to(np.uint8(colour), image.shape))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_animations_give_their_first_frame(kind):
  frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
  options = {"lossless": True} if kind == "WEBP" else {}
  data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)

  image = read_image(data)

  np.testing.assert_array_equal(image, np.broadcast_to(np.uint8([255, 0, 0]), (3, 4, 3)))


def test_a_header_is_read_without_the_pixels():
  exif = Image.Exif()
  exif[0x0112] = 6
  data = encoded(Image.fromarray(_SMOOTH).convert("L"), "JPEG", exif=exif)

  assert read_header(data[:400], name="cut") == (37, 30, "L", 6)
  assert read_header(png_without_pixels(700, 20), name="none") == (700, 20, "RGB", 1)
  for bad in (b"", b"<html>", data[:10]):
    with pytest.raises(InputError, match=r"a\.jpg: not an image: "):
      read_header(bad, name="a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_only_when_asked_for(kind, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  stored = read_image(encoded(_SMOOTH, kind))
  data = encoded(_SMOOTH, kind, exif=exif)

  np.testing.assert_array_equal(read_image(data), stored)
  expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
  np.testing.assert_array_equal(read_image(data, upright=True), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_exif_block_leaves_the_image_readable(kind):
  exif = Image.Exif()
  exif[0x0112] = 6
  data = encoded(_SMOOTH, kind, exif=exif.tobytes())

  damaged = data.replace(b"MM\0*", b"XX\0*")
  if kind == "PNG":  # whose chunks carry checksums
    start = data.index(b"eXIf")
    end = start + 4 + int.from_bytes(data[start - 4 : start], "big")
    checksum = struct.pack(">I", zlib.crc32(damaged[start:end]))
    damaged = damaged[:end] + checksum + damaged[end + 4 :]

  assert damaged != data and read_image(data, upright=True).shape == (37, 30, 3)
  np.testing.assert_array_equal(read_image(damaged, upright=True), read_image(data))


def test_size_is_refused_from_the_header_alone():
  # Decoding these would complain about the pixels instead.
  too_many = r"^face.png: 9000 x 9000 pixels are more than the 64,000,000 allowed"
  with pytest.raises(InputError, match=too_many):
    read_image(png_without_pixels(9000, 9000), name="face.png")
  with pytest.raises(InputError, match=r"^face.png: the image is too large .*400000000 pixels"):
    read_image(png_without_pixels(20_000, 20_000), name="face.png")
  with pytest.raises(InputError, match="truncated or damaged"):
    read_image(png_without_pixels(90, 90))

  data = encoded(_SMOOTH, "PNG")
  assert read_image(data, max_pixels=37 * 30).shape == (30, 37, 3)
  with pytest.raises(InputError, match="37 x 30 pixels are more than the 1,109 allowed"):
    read_image(data, max_pixels=37 * 30 - 1)


def test_plain_jpeg_files_may_have_a_limit_of_their_own():
  jpeg, png = encoded(_SMOOTH, "JPEG"), encoded(_SMOOTH, "PNG")
  limits = {"max_pixels": 1000, "max_jpeg_pixels": 37 * 30}
  assert read_image(jpeg, **limits).shape == (30, 37, 3)
  with pytest.raises(InputError, match="1,000 allowed; shrink the image, or save it as JPEG"):
    read_image(png, **limits)
  with pytest.raises(InputError, match=r"1,109 allowed; shrink the image\.$"):
    read_image(jpeg, max_pixels=1000, max_jpeg_pixels=37 * 30 - 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_extreme_shapes_are_allowed(size):
  assert read_image(encoded(Image.new("RGB", size), "JPEG")).shape == (size[1], size[0], 3)


_JPEG = encoded(_SMOOTH, "JPEG")
_PNG = encoded(_SMOOTH, "PNG")
_PNG_16_BITS = sixteen_bits(_SMOOTH.astype(int) * 257, ".png")
_THUMBNAIL = b"\xff\xe1" + struct.pack(">H", 2 + 4) + b"ab\xff\xd9"


def _png(*chunks):
  """A PNG file of given (kind, content)."""
  return b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    for kind, content in (*chunks, (b"IEND", b""))
  )


_NO_PALETTE = _png(
  (b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0\0\1" * 2))
)
_NOT_IMAGES = {
  "PNG of palette colours without them": (_NO_PALETTE, "truncated or damaged"),
  "JPEG cut in half": (_JPEG[: len(_JPEG) // 2], "truncated or damaged"),
  "JPEG one byte short": (_JPEG[:-1], "truncated or damaged"),
  "JPEG cut in half with thumbnail inside": (
    _JPEG[:2] + _THUMBNAIL + _JPEG[2 : len(_JPEG) // 2],
    "truncated or damaged",
  ),
  "PNG cut in half": (_PNG[: len(_PNG) // 2], "truncated or damaged"),
  "WebP cut in half": (encoded(_SMOOTH, "WEBP")[:200], "truncated or damaged"),
  "BMP cut in half": (encoded(_SMOOTH, "BMP")[:1000], "truncated or damaged"),
  "GIF cut in half": (encoded(_SMOOTH, "GIF")[:500], "truncated or damaged"),
  "16-bit PNG truncated": (_PNG_16_BITS[:600], "truncated or damaged"),
  "16-bit PNG with a chunk of 4 GB": (
    _PNG_16_BITS.replace(
      (len(_PNG_16_BITS) - 57).to_bytes(4, "big") + b"IDAT", b"\xff\xff\xff\x00IDAT"
    ),
    "truncated or damaged",
  ),
  "JPEG header cut": (_JPEG[:20], "truncated or damaged"),
  "empty": (b"", "the file is empty"),
  "login page": (
    b"\n<!DOCTYPE HTML><title>Sign in</title>",
    r"looks like HTML \(a login or error page\?\)",
  ),
  "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
  "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "looks like HEIC"),
  "video": (b"\0\0\0\x18ftypisom\0\0\0\0", "looks like a video"),
  "PDF": (b"%PDF-1.7", "looks like PostScript or PDF"),
  "zip": (b"PK\x03\x04" + bytes(20), "looks like an archive"),
  "text": (b"hello", r"starts with b'hello'"),
  "float TIFF": (encoded(np.zeros((2, 3), np.float32), "TIFF"), "no known range"),
}


@pytest.mark.parametrize("kind", _NOT_IMAGES)
def test_bad_files_are_one_sentence_with_name_and_cause(kind, tmp_path):
  data, cause = _NOT_IMAGES[kind]
  path = tmp_path / "odd name.jpg"
  path.write_bytes(data)

  with pytest.raises(InputError, match=cause) as caught:
    read_image(path)

  message = str(caught.value)
  assert message.startswith(str(path)) and "\n" not in message and message.endswith(".")
  with pytest.raises(InputError, match=f"^given bytes: .*{cause}"):
    read_image(data)


def test_what_is_not_a_file_is_refused_in_one_sentence(tmp_path):
  for source, cause in [
    (tmp_path, "is a folder"),
    (tmp_path / "nothing.jpg", "No such file"),
    ("https://example.com/face.jpg", "is a web address"),
    ("/dev/null", "is a device"),
    ("a\0b", "null byte"),
  ]:
    with pytest.raises(InputError, match=cause):
      read_image(source)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_raise_nothing_but_input_errors():
  rng = random.Random(0)
  kinds = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
  samples = [encoded(_SMOOTH, kind) for kind in kinds]
  samples += [encoded(Image.fromarray(_SMOOTH).quantize(8), "PNG"), _PNG_16_BITS]

  refused = 0
  for sample in samples:
    for _ in range(60):
      damaged = bytearray(sample)
      for _ in range(rng.choice([1, 4])):
        damaged[rng.randrange(rng.choice([64, len(damaged)]))] = rng.randrange(256)

      try:
        image = read_image(bytes(damaged), upright=True, max_pixels=1_000_000)
        assert image.dtype == np.uint8 and image.shape[2:] == (3,)
      except InputError as error:
        refused += 1
        assert str(error).startswith("given bytes: ")

  assert refused > 100


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3)])
def test_a_range_stretches_16_bits_and_clips_what_lies_outside(shape, suffix):
  values = np.random.default_rng(0).integers(900, 2100, shape)
  data = sixteen_bits(values, suffix)
  expected = np.clip((values - 1000) / 1000, 0, 1) * 255
  expected = expected if expected.ndim == 3 else expected[..., None]

  pixels = read_image(data, value_range=(1000, 2000))
  assert np.abs(pixels.astype(float) - expected).max() <= 0.501 and np.ptp(pixels) == 255
  found = deep_values(data, name="a")
  assert found.dtype == np.uint16
  np.testing.assert_array_equal(found if found.ndim == 2 else found[..., ::-1], values)


def test_a_range_leaves_alpha_alone():
  values = np.full((2, 2, 4), 1500, np.uint16)
  values[0, :, 3], values[1, :, 3] = 0, 65535
  data = cv2.imencode(".png", values)[1].tobytes()
  pixels = read_image(data, value_range=(1000, 2000))
  assert pixels[:, 0, 0].tolist() == [128, 128]
  assert read_image(data, value_range=(1000, 1500))[:, 0, 0].tolist() == [128, 255]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_range_makes_32_bits_readable(dtype):
  values = np.array([[290, 300, 310]], dtype)
  data = encoded(values, "TIFF")
  np.testing.assert_array_equal(read_image(data, value_range=(290, 310))[0, :, 0], [0, 128, 255])
  if dtype is np.float32:
    data = encoded(np.array([[np.nan, np.inf, -np.inf]], dtype), "TIFF")
    assert read_image(data, value_range=(290, 310))[0, :, 0].tolist() == [0, 255, 0]


def test_a_range_does_not_touch_8_bits():
  data = encoded(_SMOOTH, "PNG")
  np.testing.assert_array_equal(read_image(data, value_range=(100, 200)), _SMOOTH)
  assert deep_values(data, name="a") is None
  with pytest.raises(InputError, match=r"^a\.png: "):
    deep_values(b"no", name="a.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_header_gives_the_stored_size_of_a_turned_image(kind):
  exif = Image.Exif()
  exif[0x0112] = 6
  data = encoded(_SMOOTH, kind, exif=exif)
  assert read_header(data, name="a")[:2] == read_image(data).shape[1::-1] == (37, 30)
  assert read_header(data, name="a")[3] == 6
