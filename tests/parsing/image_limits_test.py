"""Images that ask for too much, and which of them are decoded in this process at all."""

import io
import struct
import zlib

import cv2
import fuzz_seeds
import numpy as np
import pytest
from PIL import Image

from fal_jax.errors import InputError
from fal_jax.images import deep_values, read_header, read_image
from fal_jax.parsing import isolated, limits


def png(width, height, *, depth=8, colour=2, size=100):
  """A PNG file whose header is whole, and its pixels nothing."""

  def chunk(kind, content):
    return (
      struct.pack(">I", len(content))
      + kind
      + content
      + struct.pack(">I", zlib.crc32(kind + content))
    )

  header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
  return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(size))


def webp(width, height, *, size=100):
  """An extended WebP file that is nothing but its header."""
  sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
  content = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides + bytes(size)
  return b"RIFF" + struct.pack("<I", len(content)) + content


def jpeg_of_scans(scans):
  """A progressive JPEG file of a megapixel whose last scan is there many times."""
  file = io.BytesIO()
  Image.new("L", (1000, 1000)).save(file, "JPEG", progressive=True)
  data = file.getvalue()
  last = data.rindex(b"\xff\xda")
  return data[:last] + scans * data[last:-2] + b"\xff\xd9"


@pytest.fixture
def nobody_decodes(monkeypatch):
  """Neither this process nor the other one."""

  def refuse(*_, **__):
    raise AssertionError("it was to be refused by its header")

  monkeypatch.setattr(isolated, "call", refuse)
  for name in ("load", "convert", "crop"):
    monkeypatch.setattr(Image.Image, name, refuse)
  monkeypatch.setattr(cv2, "imdecode", refuse)


@pytest.mark.parametrize(
  ("data", "expected"),
  [
    (png(9000, 9000, size=10**6), "more than the 64,000,000 allowed"),
    (webp(16383, 16383), "16383 x 16383 pixels are more than the 64,000,000 allowed"),
    (jpeg_of_scans(2100), r"1000 x 1000 pixels in 2\d\d\d scans"),
  ],
)
def test_headers_that_ask_for_too_much_are_refused_at_once(nobody_decodes, data, expected):
  with pytest.raises(InputError, match=rf"^a\.jpg: .*{expected}") as caught:
    read_image(data, name="a.jpg")
  assert "\n" not in str(caught.value)
  if data.startswith(b"RIFF"):  # to open it takes the memory already
    with pytest.raises(InputError, match=expected):
      read_header(data, name="a.jpg")


@pytest.mark.parametrize(
  ("data", "expected"),
  [
    (png(8000, 8000, colour=6), r"would unpack from \d+ bytes to 256,000,000"),
    (webp(8000, 8000), "would unpack from 130 bytes to 256,000,000"),
    (png(8000, 8000, depth=16, colour=6, size=2 * 10**6), "pixels of 8 bytes are more than"),
  ],
)
def test_large_ones_are_refused_by_the_other_process(data, expected):
  with pytest.raises(InputError, match=rf"^a\.png: .*{expected}"):
    read_image(data, name="a.png")
  with pytest.raises(InputError, match=rf"^a\.png: .*{expected}"):
    deep_values(data, name="a.png")


def test_as_many_scans_as_encoders_write_are_read():
  assert read_image(jpeg_of_scans(20)).shape == (1000, 1000, 3)


def test_only_three_kinds_of_ordinary_size_are_decoded_in_this_process(monkeypatch):
  asked = []

  def call(function, **options):
    asked.append(function)
    raise isolated.Failed("it crashes the library that reads it (SIGSEGV)")

  monkeypatch.setattr(isolated, "call", call)
  for data in fuzz_seeds.ordinary_images(None):
    assert read_image(data).shape[2] == 3 and read_header(data, name="a")
  assert not asked

  rare = [*fuzz_seeds.rare_images(None), png(5000, 4000), webp(5000, 4000)]
  assert len(rare) >= 9
  for data in rare:
    with pytest.raises(InputError, match=r"^a: this image cannot be decoded, it crashes .*JPEG"):
      read_image(data, name="a")
    for function in (read_header, deep_values):
      with pytest.raises(InputError, match=r"^a: this image cannot be decoded, it cr"):
        function(data, name="a")
  assert len(asked) == 3 * len(rare)


def test_what_prepare_has_decoded_is_decoded_in_this_process(monkeypatch):
  monkeypatch.setattr(isolated, "call", None)
  for data in fuzz_seeds.rare_images(None)[:3]:
    assert read_image(data, trusted=True).shape == (30, 37, 3)


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "P", "LA"])
def test_pixels_are_the_same_in_strips(monkeypatch, mode):
  from fal_jax.parsing import pixels

  alpha = Image.fromarray(np.arange(30 * 37).reshape(30, 37).astype(np.uint8))
  picture = Image.fromarray(fuzz_seeds.PIXELS).convert(mode)
  if mode.endswith("A"):
    picture.putalpha(alpha)
  data = fuzz_seeds.encoded("PNG", picture)
  whole = read_image(data)
  monkeypatch.setattr(pixels, "_STRIP", 100)
  np.testing.assert_array_equal(read_image(data), whole)

  colour = np.asarray(picture.convert("RGBA"), np.float64)
  expected = colour[..., :3] * colour[..., 3:] + 128 * (255 - colour[..., 3:])
  assert np.abs(whole - expected / 255).max() <= 0.5


def test_a_ratio_counts_only_where_there_is_much():
  limits.check_ratio(limits.FREE_BYTES, 1, what="a.png")
  limits.check_ratio(limits.FREE_BYTES + 200, 1, what="a.png")
  with pytest.raises(InputError, match=r"^a\.png would unpack from 1 bytes to"):
    limits.check_ratio(limits.FREE_BYTES + 201, 1, what="a.png")
