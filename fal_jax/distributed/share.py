"""Each process works on its share of the rows of a split, and all get the result of all."""

from collections.abc import Sequence
from typing import Any

import grain
import jax
import numpy as np


def is_whole() -> bool:
  """Whether this process works on all rows, because it is alone."""
  return jax.process_count() == 1


def of(source: Any) -> Any:
  """This process's rows of a source, as many as every other process's.

  Args:
    source: a sequence of N rows, N at least 1.

  Returns:
    Rows index, index + count, index + 2 count ..., ceil(N / count) of them: where N is no multiple
    of the number of processes, the last shares begin again at row 0.
  """
  if is_whole() or not len(source):
    return source
  index, count = jax.process_index(), jax.process_count()
  rows = np.arange(index, len(source) + index, count) % len(source)
  return grain.MapDataset.range(len(rows)).map(lambda row: source[int(rows[row])])


def said_by_first(value: bool) -> bool:
  """What the first process says, in all processes."""
  if is_whole():
    return value
  from jax.experimental import multihost_utils

  return bool(multihost_utils.broadcast_one_to_all(np.array(value)))


def gathered(rows: Sequence[np.ndarray], length: int) -> np.ndarray:
  """The rows of all processes, in the order of the source.

  Args:
    rows: of each row of `of(source)` the result, (...) of one shape and type.
    length: N, of the source.

  Returns:
    (N, ...) of the same type and bits.
  """
  array = np.stack(rows)
  if is_whole():
    return array
  from jax.experimental import multihost_utils

  # As bytes: JAX would round float64.
  content = array.view(np.uint8).reshape(len(array), -1)
  shares = np.asarray(multihost_utils.process_allgather(content))  # (processes, rows, bytes)
  merged = np.ascontiguousarray(shares.swapaxes(0, 1)).reshape(-1, content.shape[1])
  return merged[:length].view(array.dtype).reshape(length, *array.shape[1:])
