"""Values between two processes of which one is not trusted: JSON and plain arrays, no pickle.

A list begins with its kind, so that nothing a file holds is taken for another kind:

  ["list", ...]              values
  ["array", dtype, shape]    whose bytes follow the JSON, one array after the other
  ["cells", shape, ...]      the values of an object array, row by row
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Truths, numbers and texts; no objects, no records.
_DTYPE = re.compile(r"[<>|][biufcSU]\d{1,6}", re.ASCII)
_KINDS = "biufcSU"
_LAST_CHARACTER = 0x10FFFF  # of Unicode


def pack(value: Any) -> tuple[bytes, list[memoryview]]:
  """A value as JSON and the bytes of its arrays.

  Args:
    value: None, truths, numbers, texts, arrays, and lists and dictionaries of such. Arrays of
      records become object arrays of None: nobody here reads them.

  Returns:
    The JSON text, and what follows it.
  """
  buffers: list[memoryview] = []

  def plain(value: Any) -> Any:
    match value:
      case np.ndarray() if value.dtype.kind in _KINDS:
        flat = np.ascontiguousarray(value).reshape(-1)
        buffers.append(flat.view(np.uint8).data if flat.size else memoryview(b""))
        return ["array", value.dtype.str, list(value.shape)]
      case np.ndarray() if value.dtype == object:
        return ["cells", list(value.shape), *map(plain, value.ravel())]
      case np.ndarray():
        return ["cells", list(value.shape), *[None] * value.size]
      case np.generic():
        return value.item()
      case list() | tuple():
        return ["list", *map(plain, value)]
      case dict():
        return {key: plain(item) for key, item in value.items()}
      case None | bool() | int() | float() | str():
        return value
      case _:
        return None

  return json.dumps(plain(value)).encode(), buffers


def unpack(text: bytes, content: bytearray) -> Any:
  """The value again; arrays are writable, and of the memory that is given.

  Args:
    text: the JSON text.
    content: the bytes of the arrays, all of them.

  Returns:
    The value.

  Raises:
    ValueError: it is not what `pack` writes.
  """
  start = 0

  def shape_of(numbers: Any) -> tuple[int, ...]:
    if not isinstance(numbers, list) or len(numbers) > 32:
      raise ValueError("a shape is wrong")
    if not all(type(number) is int and 0 <= number < 2**40 for number in numbers):
      raise ValueError("a shape is wrong")
    return tuple(numbers)

  def array(name: Any, numbers: Any) -> np.ndarray:
    nonlocal start
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
      raise ValueError("a type of numbers is wrong")
    dtype, shape = np.dtype(name), shape_of(numbers)
    count = math.prod(shape)
    size = count * dtype.itemsize
    if size > len(content) - start or (count and not dtype.itemsize):
      raise ValueError("an array is larger than its bytes")
    values = np.frombuffer(content, dtype, count, start) if count else np.empty(0, dtype)
    start += size
    if dtype.kind == "U" and (values.view(f"{dtype.str[0]}u4") > _LAST_CHARACTER).any():
      raise ValueError("a text is none")
    return values.reshape(shape)

  def cells(numbers: Any, items: Sequence[Any]) -> np.ndarray:
    shape = shape_of(numbers)
    if math.prod(shape) != len(items):
      raise ValueError("cells are missing")
    values = np.empty(len(items), object)
    for index, item in enumerate(items):
      values[index] = value_of(item)
    return values.reshape(shape)

  def value_of(plain: Any) -> Any:
    match plain:
      case ["list", *items]:
        return [value_of(item) for item in items]
      case ["array", name, numbers]:
        return array(name, numbers)
      case ["cells", numbers, *items]:
        return cells(numbers, items)
      case list():
        raise ValueError("a list without a kind")
      case Mapping():
        return {key: value_of(item) for key, item in plain.items()}
      case _:
        return plain

  try:
    value = value_of(json.loads(text))
  except RecursionError as error:
    raise ValueError("nested too deeply") from error
  if start != len(content):
    raise ValueError("bytes are left over")
  return value
