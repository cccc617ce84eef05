"""Text files that people and their tools write.

Strict about what is a number, tolerant of a byte order mark.
"""

import contextlib
import math
import os
import re
from pathlib import Path

from fal_jax.errors import InputError
from fal_jax.parsing import limits
from tfds_builders.common.files import unreadable

# Decimal numbers only: float() also takes `nan`, `inf` and `1_000`, and turns `1e400` into
# infinity. Digits after digits only follow a point: else a long row of them, with something else at
# its end, could be split in as many ways as it is long, and each would be tried.
DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def decode(
  path: str | os.PathLike[str], *, advice: str, max_bytes: int = limits.MAX_TEXT_BYTES
) -> str:
  """The text of a file, UTF-8, without its byte order mark; it may be empty.

  Args:
    path: the file.
    advice: what to do about a file that is not UTF-8.
    max_bytes: the largest that is read.

  Returns:
    The text.

  Raises:
    InputError: the file cannot be read, is too large, or is not text.
  """
  check_size(Path(path), max_bytes)
  try:
    data = Path(path).read_bytes()
  except OSError as error:
    raise unreadable(path, error) from error

  try:
    return data.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    utf_16 = data.startswith(_UTF_16)
    cause = "saved as UTF-16?" if utf_16 else "an archive, an image, a NumPy file?"
    raise InputError(
      f"{path} is not text in UTF-8 (byte {error.start} is not; {cause}): {advice}."
    ) from error


def check_size(path: Path, max_bytes: int) -> None:
  """Refuses an annotation file of more bytes; one whose size cannot be known is left to its reader.

  Args:
    path: the file.
    max_bytes: the largest that is read.

  Raises:
    InputError: it is larger.
  """
  with contextlib.suppress(OSError):  # reading it gives the reason
    limits.check_size(path, max_bytes, what="an annotation file")


def read_text(path: Path) -> str:
  """The text of a file that the user wrote, UTF-8, without its byte order mark.

  Raises:
    InputError: it cannot be read, is empty or not text.
  """
  text = decode(path, advice="save it as plain text")
  if "\0" in text:
    raise InputError(f"{path} is not a text file (it holds zero bytes): save it as plain text.")
  if not text.strip():
    raise InputError(f"{path} is empty.")
  return text


def decimal(text: str) -> float:
  """A finite decimal number.

  Raises:
    InputError: the text is something else; the message begins with the text.
  """
  if not DECIMAL.fullmatch(text):
    raise InputError(f"{text[:40]!r} is not a decimal number")
  if not math.isfinite(number := float(text)):
    raise InputError(f"{text[:40]!r} is out of range")
  return number
