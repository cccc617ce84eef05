"""Every kind of bad image and of bad `.pts` gets a line of its own, all in one message.

The other families are tested where they are read: archives in `downloads_test`, `.mat` in
`mat_test`, CSV, YAML and COCO files in `custom_mistakes_test`, predictions in `score_test`.
"""

import io
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import prepared
import pytest
import w300_files
from PIL import Image

from fal_jax.errors import InputError
from fal_jax.images import read_image
from tfds_builders import prepare
from tfds_builders.common.pts import read_pts

PIXELS = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8), (60, 50))


def encoded(kind: str, pixels: np.ndarray = PIXELS, mode: str | None = None, **options) -> bytes:
  file = io.BytesIO()
  image = Image.fromarray(pixels)
  (image.convert(mode) if mode else image).save(file, kind, **options)
  return file.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")


def huge_png() -> bytes:
  """A few bytes that say they are 20,000 x 20,000 pixels."""
  header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
  chunk = b"IHDR" + header
  return PNG[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + PNG[33:]


IMAGES = {
  "empty": (b"", "the file is empty"),
  "login_page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "looks like HTML"),
  "html_in_capitals": (b"<HTML><HEAD>", "looks like HTML"),
  "lfs_pointer": (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    "Git LFS pointer",
  ),
  "heic": (b"\0\0\0\x18ftypheic" + bytes(40), "looks like HEIC"),
  "mp4": (b"\0\0\0\x18ftypmp42" + bytes(40), "looks like a video"),
  "avi": (b"RIFF\0\0\0\0AVI LIST" + bytes(40), "looks like a video"),
  "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "looks like SVG"),
  "pdf": (b"%PDF-1.7\n", "PostScript or PDF"),
  "postscript": (b"%!PS-Adobe-3.0\n", "PostScript or PDF"),
  "zip": (b"PK\x03\x04" + bytes(40), "looks like an archive"),
  "gzip": (b"\x1f\x8b\x08" + bytes(40), "looks like an archive"),
  "rar": (b"Rar!\x1a\x07\x00" + bytes(40), "looks like an archive"),
  "numpy": (b"\x93NUMPY\x01\x00" + bytes(60), "looks like a NumPy file"),
  "text": (b"446 91\n446 92\n", "not an image"),
  "zeros": (bytes(500), "not an image"),
  "jpeg_half": (JPEG[: len(JPEG) // 2], "truncated or damaged"),
  "jpeg_header_only": (JPEG[:20], "truncated or damaged|header is truncated"),
  "jpeg_last_byte": (JPEG[:-1], "truncated or damaged"),
  "png_half": (PNG[: len(PNG) // 2], "truncated or damaged"),
  "png_no_end": (PNG[:-30], "truncated or damaged"),
  "png_wrong_checksum": (
    PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:],
    "truncated or damaged|header is truncated",
  ),
  "gif_half": (encoded("GIF")[:60], "truncated or damaged"),
  "bmp_half": (encoded("BMP")[:900], "truncated or damaged"),
  "webp_half": (encoded("WEBP")[:60], "truncated or damaged|header is truncated"),
  "tiff_half": (encoded("TIFF")[:900], "truncated or damaged|header is truncated"),
  "floats": (
    encoded("TIFF", PIXELS[..., 0].astype(np.float32)),
    "32-bit pixels have no known range",
  ),
  "huge": (huge_png(), "too large|more than the 64,000,000 allowed"),
}

LINES = [f"{x} {y}" for x, y in w300_files.face_landmarks(0) + 1]


def pts(*lines: str, count: object = 68) -> bytes:
  return "\n".join(["version: 1", f"n_points: {count}", "{", *lines, "}", ""]).encode()


def with_line(text: str) -> bytes:
  return pts(*LINES[:9], text, *LINES[10:])


PTS = {
  "empty": (b"", "holds 0 landmarks, expected 68"),
  "login_page": (b"<html>Sign in</html>", "line 1: '<html>Sign in</html>' is not a landmark"),
  "one_short": (pts(*LINES[:-1]), "holds 67 landmarks, expected 68"),
  "one_more": (pts(*LINES, "1 2"), "holds 69 landmarks, expected 68"),
  "another_markup": (pts(*LINES[:39], count=39), "n_points '39', expected 68"),
  "count_is_text": (pts(*LINES, count="many"), "n_points 'many', expected 68"),
  "count_is_empty": (pts(*LINES, count=""), "n_points '', expected 68"),
  "no_brace": (pts(*LINES)[:-3], "no closing brace after 68 landmarks"),
  "cut_in_a_line": (pts(*LINES)[:200], "is not a landmark|no closing brace"),
  "words_after_the_brace": (pts(*LINES) + b"1 2\n", "after the closing brace"),
  "underscore": (with_line("1_000 2"), "line 13: '1_000 2' is not a landmark"),
  "nan": (with_line("nan 2"), "line 13: 'nan 2' is not a landmark"),
  "inf": (with_line("inf 2"), "'inf 2' is not a landmark"),
  "overflow": (with_line("1e400 2"), "'1e400' is out of range"),
  "comma_between": (with_line("1.5,2.5"), "'1.5,2.5' is not a landmark"),
  "decimal_commas": (with_line("1,5 2,5"), "'1,5 2,5' is not a landmark"),
  "three_numbers": (with_line("1 2 3"), "'1 2 3' is not a landmark"),
  "one_number": (with_line("1"), "'1' is not a landmark"),
  "hexadecimal": (with_line("0x10 2"), "'0x10 2' is not a landmark"),
  "arabic_digits": (with_line("١ ٢"), "is not a landmark"),
  "second_brace": (with_line("{"), "is not a landmark"),
  "utf_16": (pts(*LINES).decode().encode("utf-16"), "is not text in UTF-8"),
  "binary": (b"\x00\xff\xfe" * 50, "is not text in UTF-8"),
  "image": (JPEG, "is not text in UTF-8"),
  "far_outside": (
    pts(*(f"{x + 900} {y}" for x, y in w300_files.face_landmarks(0))),
    "px outside the 60 x 50 image",
  ),
  "a_single_spot": (pts(*["20 20"] * 68), "that is not a face"),
  "all_zero": (pts(*["0 0"] * 68), "that is not a face"),
}


def run(
  root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, *options: str
) -> tuple[int, str, str]:
  w300_files.expect_counts(monkeypatch)
  code = prepare.main(
    [
      "w300",
      f"--manual_dir={root}",
      f"--data_dir={root.parent / 'data'}",
      "--allow_partial",
      *options,
    ]
  )
  printed = capfd.readouterr()
  return code, printed.out, printed.err


@pytest.mark.parametrize(
  ("family", "ending"), [(IMAGES, ".png"), (PTS, ".pts")], ids=["image", "pts"]
)
def test_every_kind_of_bad_file_has_its_own_line_in_one_message(
  tmp_path, monkeypatch, capfd, family, ending
):
  w300_files.write_dataset(tmp_path / "300w")
  folder = tmp_path / "300w" / "ibug"
  for name, (content, _) in family.items():
    (folder / f"{name}.png").write_bytes(PNG)
    (folder / f"{name}.pts").write_bytes(pts(*LINES))
    (folder / f"{name}{ending}").write_bytes(content)

  code, _, err = run(tmp_path / "300w", monkeypatch, capfd)
  assert code == 2 and "Traceback" not in err
  assert f"error: w300: {len(family)} problems" in err.splitlines()[0]
  assert "--skip_bad" in err.splitlines()[0]

  for name, (_, expected) in family.items():
    lines = [line for line in err.splitlines() if f"ibug/{name}." in line]
    assert len(lines) == 1, f"{name}: {lines}"
    assert re.search(expected, lines[0])
  assert not (tmp_path / "data" / "w300").exists()

  code, out, err = run(tmp_path / "300w", monkeypatch, capfd, "--skip_bad")
  assert code == 0 and f"skipped: {len(family)} bad files" in out
  assert ["test_challenge", "2", "135"] in prepared.table(out), "the good ones are there"


@pytest.mark.parametrize("name", IMAGES)
def test_the_reader_of_images_says_one_sentence(name):
  content, expected = IMAGES[name]
  with pytest.raises(InputError, match=expected) as raised:
    read_image(content, name="faces/1.jpg")
  assert str(raised.value).startswith("faces/1.jpg: ") and "\n" not in str(raised.value)


@pytest.mark.parametrize(
  "name", [name for name in PTS if name not in ("far_outside", "a_single_spot", "all_zero")]
)
def test_the_reader_of_pts_says_one_sentence(tmp_path, name):
  content, expected = PTS[name]
  (tmp_path / "1.pts").write_bytes(content)
  with pytest.raises(InputError, match=expected) as raised:
    read_pts(tmp_path / "1.pts", num_landmarks=68, origin=1)
  assert str(tmp_path / "1.pts") in str(raised.value) and "\n" not in str(raised.value)
