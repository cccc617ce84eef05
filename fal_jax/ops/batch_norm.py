"""BatchNorm and ReLU as one operation with a hand-written gradient.

The network holds 98 of these pairs and spends more time moving memory for them than multiplying.
Automatic differentiation keeps the normalised, the scaled and the rectified array of each; this
keeps the input alone and recomputes the rest on the way back.

Whatever the precision of the input, statistics, sums and the arithmetic in between are at least
float32.
"""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from fal_jax.ops.collectives import pmean

EPSILON = 1e-5  # PyTorch's default, as in the published networks
STATISTICS = (
  "batch_norm_statistics"  # what rematerialisation must keep, or devices would exchange it again
)


def affine_relu(
  x: jax.Array, mean: jax.Array, variance: jax.Array, scale: jax.Array, bias: jax.Array
) -> jax.Array:
  """relu((x - mean) / sqrt(variance + EPSILON) * scale + bias), with given statistics.

  Args:
    x: (..., C).
    mean: (C,).
    variance: (C,).
    scale: (C,).
    bias: (C,).

  Returns:
    (..., C), in bfloat16 if x is.
  """
  slope = jax.lax.rsqrt(variance + EPSILON) * scale
  y = _at_least_float32(x) * slope + (bias - mean * slope)
  # relu(y); but a maximum takes an array of zeros, which XLA's CPU compiler may write out in full.
  y = jax.lax.clamp(y.dtype.type(0), y, y.dtype.type(jnp.inf))
  return y.astype(x.dtype) if x.dtype == jnp.bfloat16 else y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_norm_relu(
  x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Normalises by the statistics of this batch, scales, shifts and rectifies.

  Args:
    x: (..., C) float32 or bfloat16.
    scale: (C,) float32.
    bias: (C,) float32.
    axis_name: the statistics are those of all devices along this axis; None for this device's own.

  Returns:
    relu(BatchNorm(x)) of the shape and precision of x, and the mean and the (biased) variance (C,)
    float32, which carry no gradient.
  """
  return _forward(x, scale, bias, axis_name)[0]


def _forward(x, scale, bias, axis_name):
  axes = tuple(range(x.ndim - 1))
  wide = _at_least_float32(x)
  moments = checkpoint_name(
    pmean(jnp.stack([wide.mean(axes), (wide * wide).mean(axes)]), axis_name), STATISTICS
  )
  mean = moments[0]
  variance = jnp.maximum(moments[1] - mean * mean, 0)
  return (affine_relu(x, mean, variance, scale, bias), mean, variance), (
    x,
    mean,
    variance,
    scale,
    bias,
  )


def _backward(axis_name, saved, cotangents):
  narrow, mean, variance, scale, bias = saved
  x = _at_least_float32(narrow)
  axes = tuple(range(x.ndim - 1))
  inverse = jax.lax.rsqrt(variance + EPSILON)
  slope = inverse * scale
  dy = jnp.where(x * slope + (bias - mean * slope) > 0, _at_least_float32(cotangents[0]), 0)
  # The parameters' gradients stay this device's share, to be summed with all others; the input's
  # needs the means over all.
  dbias = dy.sum(axes)
  dscale = ((dy * x).sum(axes) - mean * dbias) * inverse
  count = x.size / x.shape[-1]
  mean_dbias, mean_dscale = pmean(jnp.stack([dbias, dscale]) / count, axis_name)
  through_scale = slope * inverse * mean_dscale
  dx = slope * dy - through_scale * x + (through_scale * mean - slope * mean_dbias)
  return dx.astype(narrow.dtype), dscale, dbias


def _at_least_float32(x: jax.Array) -> jax.Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


batch_norm_relu.defvjp(_forward, _backward)
