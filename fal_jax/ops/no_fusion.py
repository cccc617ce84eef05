"""Keeping XLA from making one kernel of what is faster as two."""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def materialize_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
  """A function whose results, on a CPU, lie in memory before anything is made of them; the same
  function elsewhere.

  XLA's CPU compiler may compute a result once more in every kernel that reads it, and take gathers
  apart to do so. `jax.lax.optimization_barrier` does not hinder it: barriers are gone before
  kernels are chosen.

  Its gradient is the function's own, of whose way there nothing is kept: what the way back needs of
  it is computed once more.

  Args:
    function: of arrays to arrays.
  """
  if jax.default_backend() != "cpu":
    return function
  call = jax.jit(function)

  @jax.custom_vjp
  def apart(*args: jax.Array) -> Any:
    with set_xla_metadata(inlineable="false"):
      return call(*args)

  apart.defvjp(
    lambda *args: (apart(*args), args),
    lambda args, cotangent: jax.vjp(function, *args)[1](cotangent),
  )
  return apart
