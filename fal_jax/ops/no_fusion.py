"""Preventing XLA from fusing kernels that run faster apart."""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def materialize_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
  """Writes a function's results to memory on a CPU before anything reads them.

  XLA's CPU compiler may recompute a result in every kernel that reads it, and split gathers to do
  so. `jax.lax.optimization_barrier` does not prevent that: barriers are removed before kernels are
  chosen.

  The backward pass recomputes the function instead of storing residuals.

  Args:
    function: takes arrays and returns arrays.

  Returns:
    A function of the same values; on other platforms, the function itself.
  """
  if jax.default_backend() != "cpu":
    return function

  call = jax.jit(function)

  @jax.custom_vjp
  def materialized(*args: jax.Array) -> Any:
    with set_xla_metadata(inlineable="false"):
      return call(*args)

  def forward(*args: jax.Array) -> tuple[Any, tuple[jax.Array, ...]]:
    """The results, and the arguments as residuals."""
    return materialized(*args), args

  def backward(args: tuple[jax.Array, ...], cotangent: Any) -> tuple[jax.Array, ...]:
    """Cotangents of the arguments."""
    return jax.vjp(function, *args)[1](cotangent)

  materialized.defvjp(forward, backward)
  return materialized
