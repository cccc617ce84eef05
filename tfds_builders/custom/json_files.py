"""JSON of annotation tools: read within limits, and numbers that are numbers."""

import math
from pathlib import Path
from typing import Any

from fal_jax.errors import InputError
from fal_jax.parsing import limits, plain_json
from tfds_builders.common.text import check_size, read_text


def read_json(path: Path, *, max_bytes: int = limits.MAX_JSON_BYTES) -> Any:
  """The content of a JSON file.

  Args:
    path: the file.
    max_bytes: the largest that is read.

  Returns:
    Lists, dictionaries, texts, numbers, truths and None.

  Raises:
    InputError: it cannot be read, is too large, not JSON, or holds a number that is none.
  """
  check_size(path, max_bytes)

  def refuse(constant: str) -> None:
    raise InputError(f"{path} holds the number {constant}: leave out points that are not set.")

  try:
    return plain_json.loads(read_text(path), parse_constant=refuse)
  except InputError:
    raise
  except ValueError as error:
    raise InputError(f"{path} is not valid JSON ({str(error)[:100]}): export it again.") from error


def finite(value: Any, what: str) -> float:
  """A number of a JSON file as a float.

  Args:
    value: what the file holds.
    what: what it should be, for the message.

  Raises:
    InputError: it is not a number, or has hundreds of digits.
  """
  if type(value) in (int, float) and abs(value) < 1e12 and math.isfinite(value):
    return float(value)
  raise InputError(f"{what} is {shown(value)}, expected a number")


def point(value: Any, what: str) -> tuple[float, float]:
  """A list of x and y.

  Raises:
    InputError: it is something else.
  """
  if not isinstance(value, list) or len(value) != 2:
    raise InputError(f"{what} is {shown(value)}, expected x and y")
  return finite(value[0], what), finite(value[1], what)


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
  """(width, height) of an image where a file gives both."""
  sides = (width, height)
  if not all(type(side) in (int, float) and 0 < side < limits.MAX_COORDINATE for side in sides):
    return None  # JSON's 1e999 is infinity
  return int(width), int(height)


def shown(value: Any) -> str:
  """A value for a message, of at most 60 characters."""
  try:
    text = "missing" if value is None else repr(value)
  except (ValueError, RecursionError):  # an integer of thousands of digits, or deeply nested lists
    text = f"a {type(value).__name__}"
  return text if len(text) <= 60 else f"{text[:57]}..."
