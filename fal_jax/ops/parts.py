"""A sum over a batch part by part, in the memory that one part takes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def sum_over_parts(function: Callable[[Any], Any], batch: Any, count: int) -> Any:
  """What a function gives for each of equal parts of a batch, added up.

  The parts are taken one after the other, so that only one is in memory. They are runs of
  neighbouring rows, as the shares of devices are.

  Args:
    function: of a batch of any size to a tree of arrays.
    batch: tree of arrays (B, ...).
    count: number of parts, which divides B.

  Returns:
    The tree of sums; with one part `function(batch)` itself.
  """
  if count == 1:
    return function(batch)

  def split(array: jax.Array) -> jax.Array:
    return array.reshape(count, array.shape[0] // count, *array.shape[1:])

  def add(total: Any, part: Any) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, total, function(part)), None

  parts = jax.tree.map(split, batch)
  shapes = jax.eval_shape(function, jax.tree.map(lambda array: array[0], parts))
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  return jax.lax.scan(add, zeros, parts)[0]
