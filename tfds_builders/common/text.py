"""Text files that people and their tools write: strict about what is a number, tolerant of a byte
order mark.
"""

import re
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError

# Decimal numbers only: float() also takes `nan`, `inf` and `1_000`, and turns `1e400` into
# infinity.
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_text(path: Path) -> str:
  """The text of a file, UTF-8, without its byte order mark.

  Raises:
    InputError: it cannot be read, is empty or no text.
  """
  try:
    data = path.read_bytes()
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
  try:
    text = data.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    cause = (
      "saved as UTF-16?"
      if data.startswith((b"\xff\xfe", b"\xfe\xff"))
      else "an archive, a picture, a NumPy file?"
    )
    raise InputError(
      f"{path} is not text in UTF-8 (byte {error.start} is not; {cause}): save it as plain text."
    ) from error
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
  if not np.isfinite(number := float(text)):
    raise InputError(f"{text[:40]!r} is too large a number")
  return number
