"""BatchNorm and ReLU as one operation with a hand-written gradient.

The network holds 98 of these pairs and spends more time moving memory for them than multiplying.
Automatic differentiation stores the normalised, the scaled and the rectified array of each; this
stores the input alone and recomputes the rest in the backward pass.

Whatever the precision of the input, statistics, sums and the arithmetic in between are at least
float32.
"""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from fal_jax.ops.collectives import pmean

EPSILON = 1e-5  # PyTorch's default, as in the published networks

# Rematerialisation must keep what has this name, or devices would exchange it again.
STATISTICS = "batch_norm_statistics"


def affine_relu(
  x: jax.Array,
  mean: jax.Array,
  variance: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  *,
  epsilon: float = EPSILON,
) -> jax.Array:
  """relu((x - mean) / sqrt(variance + epsilon) * scale + bias), with given statistics.

  Args:
    x: (..., C) float32 or bfloat16.
    mean: (C,) float32.
    variance: (C,) float32.
    scale: (C,) float32.
    bias: (C,) float32.
    epsilon: added to the variance.

  Returns:
    (..., C), in bfloat16 if x is, else float32.
  """
  slope = jax.lax.rsqrt(variance + epsilon) * scale
  y = _at_least_float32(x) * _per_channel(slope, x) + _per_channel(bias - mean * slope, x)

  # relu(y); but a maximum takes an array of zeros, which XLA's CPU compiler may write out in full.
  y = jax.lax.clamp(y.dtype.type(0), y, y.dtype.type(jnp.inf))
  return y.astype(x.dtype) if x.dtype == jnp.bfloat16 else y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm_relu(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  axis_name: str | None,
  epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Normalises by the statistics of this batch, scales, shifts and rectifies.

  Args:
    x: (..., C) float32 or bfloat16.
    scale: (C,) float32.
    bias: (C,) float32.
    axis_name: device axis whose joint batch gives the statistics; None for this device's own.
    epsilon: added to the variance.

  Returns:
    y: relu(BatchNorm(x)), (..., C) in the precision of x.
    mean: (C,) float32, carries no gradient.
    variance: (C,) float32, biased, carries no gradient.
  """
  return _forward(x, scale, bias, axis_name, epsilon)[0]


_Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def _forward(
  x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None, epsilon: float
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], _Residuals]:
  """What `batch_norm_relu` returns, and x, mean, variance, scale and bias as residuals."""
  axes = tuple(range(x.ndim - 1))
  wide = _at_least_float32(x)

  # Both moments in one message between devices.
  moments = pmean(jnp.stack([wide.mean(axes), (wide * wide).mean(axes)]), axis_name)
  moments = checkpoint_name(moments, STATISTICS)
  mean = moments[0]
  variance = jnp.maximum(moments[1] - mean * mean, 0)  # rounding may take it below zero

  y = affine_relu(x, mean, variance, scale, bias, epsilon=epsilon)
  return (y, mean, variance), (x, mean, variance, scale, bias)


def _backward(
  axis_name: str | None,
  epsilon: float,
  residuals: _Residuals,
  cotangents: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Cotangents of x (..., C), scale (C,) and bias (C,).

  Args:
    axis_name: as in `batch_norm_relu`.
    epsilon: as in `batch_norm_relu`.
    residuals: x (..., C), mean, variance, scale and bias (C,).
    cotangents: those of y (..., C), and of mean and variance (C,), which are ignored.
  """
  narrow, mean, variance, scale, bias = residuals
  x = _at_least_float32(narrow)
  axes = tuple(range(x.ndim - 1))

  # The ReLU passes the gradient where its input, recomputed here, is positive.
  inverse = jax.lax.rsqrt(variance + epsilon)
  slope = inverse * scale
  input_of_relu = x * _per_channel(slope, x) + _per_channel(bias - mean * slope, x)
  dy = jnp.where(input_of_relu > 0, _at_least_float32(cotangents[0]), 0)

  # The parameters' gradients stay this device's share, to be summed with all others.
  dbias = dy.sum(axes)
  dscale = ((dy * x).sum(axes) - mean * dbias) * inverse

  # The input's gradient needs the means over all devices.
  count = x.size / x.shape[-1]
  mean_dbias, mean_dscale = pmean(jnp.stack([dbias, dscale]) / count, axis_name)
  through_scale = slope * inverse * mean_dscale
  shift = through_scale * mean - slope * mean_dbias
  dx = _per_channel(slope, x) * dy - _per_channel(through_scale, x) * x + _per_channel(shift, x)

  return dx.astype(narrow.dtype), dscale, dbias


def _per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
  """(C,) as (1, ..., C), with as many axes as x (..., C)."""
  return jax.lax.broadcast_to_rank(values, x.ndim)


def _at_least_float32(x: jax.Array) -> jax.Array:
  """x (...,) as float32, or as it is if it is wider."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


batch_norm_relu.defvjp(_forward, _backward)
