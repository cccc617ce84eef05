"""Sums over the parts of a batch: the same as all at once, in the order of the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fal_jax.ops.parts import sum_over_parts


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_parts_are_runs_of_rows_and_their_results_are_added(count):
  batch = {"x": np.arange(12, dtype=np.float32).reshape(6, 2), "n": np.arange(6, dtype=np.int32)}

  def function(part):
    first = part["n"][0]  # which rows share a part
    return {"sum": part["x"].sum(0), "count": jnp.int32(len(part["n"])), "firsts": first}

  total = jax.jit(lambda batch: sum_over_parts(function, batch, count))(batch)

  np.testing.assert_array_equal(total["sum"], [30, 36])
  assert total["count"] == 6
  assert total["firsts"] == sum(range(0, 6, 6 // count))
  assert {name: leaf.dtype.name for name, leaf in total.items()} == {
    "sum": "float32",
    "count": "int32",
    "firsts": "int32",
  }


def test_parts_take_the_memory_of_one_part():
  def gradient(part):
    def loss(weights):
      return (jnp.tanh(part @ weights) @ weights.T).sum()

    return jax.grad(loss)(jnp.ones((8, 256)))

  def temporaries(count):
    sums = jax.jit(lambda batch: sum_over_parts(gradient, batch, count))
    return sums.lower(jnp.ones((4096, 8))).compile().memory_analysis().temp_size_in_bytes

  assert temporaries(16) < 0.2 * temporaries(1)
