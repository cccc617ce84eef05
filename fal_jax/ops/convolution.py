"""Convolutions whose gradients are as fast on a CPU as the convolutions themselves.

They replace `jax.lax.conv_general_dilated` in Flax's `nn.Conv`, for images (B, H, W, C), kernels
(h, w, C, O), one group and no dilation, and compute the same.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")

Padding = str | Sequence[tuple[int, int]]


def convolve(
  images: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Padding, **options: Any
) -> jax.Array:
  """A convolution.

  Args:
    images: (B, H, W, C) float.
    kernel: (h, w, C, O) float.
    strides: along rows and columns.
    padding: "SAME", "VALID", or the padding before and after rows and columns.
    options: keywords of `jax.lax.conv_general_dilated`, the same for its gradients.

  Returns:
    (B, H', W', O) in the precision of the images.
  """
  return _with_gradient(images, kernel, strides, padding, result=images.dtype, options=options)


def convolve_to_float32(
  images: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Padding, **options: Any
) -> jax.Array:
  """`convolve`, but its sums are not rounded to the precision of the images.

  So the heatmaps of a bfloat16 network keep their resolution, without which a soft-argmax cannot
  locate a peak. The gradient is that of any other convolution in the precision of the images.

  Args:
    images: (B, H, W, C) float.
    kernel: (h, w, C, O) float.
    strides: as in `convolve`.
    padding: as in `convolve`.
    options: as in `convolve`.

  Returns:
    (B, H', W', O), at least float32.
  """
  wide = jnp.promote_types(images.dtype, jnp.float32)
  return _with_gradient(images, kernel, strides, padding, result=wide, options=options)


def _with_gradient(
  images: jax.Array,
  kernel: jax.Array,
  strides: Sequence[int],
  padding: Padding,
  *,
  result: jnp.dtype,
  options: dict[str, Any],
) -> jax.Array:
  """The convolution of both public functions.

  Args:
    images: (B, H, W, C) float.
    kernel: (h, w, C, O) float.
    strides: as in `convolve`.
    padding: as in `convolve`.
    result: precision of the sums and of the result.
    options: as in `convolve`.

  Returns:
    (B, H', W', O) of type `result`.
  """
  pads: Sequence[tuple[int, int]]
  if isinstance(padding, str):
    pads = lax.padtype_to_pads(images.shape[1:3], kernel.shape[:2], strides, padding)
  else:
    pads = padding

  def plain(images: jax.Array, kernel: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """JAX's own convolution with sums of `dtype`, (B, H', W', O)."""
    return lax.conv_general_dilated(
      images, kernel, strides, pads, **{**options, "preferred_element_type": dtype}
    )

  @jax.custom_vjp
  def convolution(images: jax.Array, kernel: jax.Array) -> jax.Array:
    return plain(images, kernel, result)

  def forward(
    images: jax.Array, kernel: jax.Array
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The result (B, H', W', O), and images and kernel as residuals."""
    return convolution(images, kernel), (images, kernel)

  def backward(
    residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Cotangents of images (B, H, W, C) and kernel (h, w, C, O), from that of (B, H', W', O)."""
    images, kernel = residuals
    cotangent = cotangent.astype(images.dtype)

    kernel_gradient = None
    if jax.default_backend() == "cpu":
      kernel_gradient = _kernel_gradient_on_cpu(kernel.shape, strides, pads)

    if kernel_gradient is None:
      return jax.vjp(functools.partial(plain, dtype=images.dtype), images, kernel)[1](cotangent)

    to_images = jax.vjp(lambda images: plain(images, kernel, images.dtype), images)[1]
    return *to_images(cotangent), kernel_gradient(images, cotangent)

  convolution.defvjp(forward, backward)
  return convolution(images, kernel)


def _kernel_gradient_on_cpu(
  shape: Sequence[int], strides: Sequence[int], pads: Sequence[tuple[int, int]]
) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
  """Chooses how to compute a kernel's gradient faster on a CPU than JAX does.

  JAX slides over the images, with their batch moved to the last axis. XLA's CPU kernels copy every
  window of what they slide over, so it pays to slide over the cotangent if that has fewer channels.

  Args:
    shape: (h, w, C, O) of the kernel.
    strides: along rows and columns.
    pads: padding before and after rows and columns.

  Returns:
    A function of images (B, H, W, C) and cotangent (B, H', W', O) to the kernel's gradient
    (h, w, C, O); None where JAX's own gradient is the fastest.
  """
  if tuple(strides) != (1, 1):
    return None
  if tuple(shape[:2]) == (1, 1) and not any(map(any, pads)):
    return _product_of_rows
  return functools.partial(_slide_over_cotangent, pads=pads) if shape[2] >= shape[3] else None


def _product_of_rows(images: jax.Array, cotangent: jax.Array) -> jax.Array:
  """Gradient of a 1 x 1 kernel: one matrix product over all pixels.

  The narrower matrix comes first, since XLA transposes that one.

  Args:
    images: (B, H, W, C).
    cotangent: (B, H, W, O).

  Returns:
    (1, 1, C, O).
  """
  first, second = (array.reshape(-1, array.shape[-1]) for array in (images, cotangent))

  rows = (((0,), (0,)), ((), ()))
  if first.shape[1] <= second.shape[1]:
    product = lax.dot_general(first, second, rows)
  else:
    product = lax.dot_general(second, first, rows).T

  return product[None, None]


def _slide_over_cotangent(
  images: jax.Array, cotangent: jax.Array, *, pads: Sequence[tuple[int, int]]
) -> jax.Array:
  """Gradient of a kernel with stride 1, by sliding the images over the cotangent.

  Its entry k is the sum over u of images[u + k - before] times cotangent[u]; a convolution with the
  images as kernel yields the entries in reverse order.

  Args:
    images: (B, H, W, C).
    cotangent: (B, H', W', O).
    pads: the convolution's padding, before and after rows and columns.

  Returns:
    (h, w, C, O).
  """
  mirrored = []
  for i, (before, after) in zip((1, 2), pads, strict=True):
    side = images.shape[i] - cotangent.shape[i] + before + after + 1  # of the kernel
    mirrored.append((side - 1 - before, side - 1 - after))

  # O takes the place of the batch, and B that of the channels.
  product = lax.conv_general_dilated(
    cotangent.transpose(3, 1, 2, 0),
    images.transpose(1, 2, 0, 3),
    (1, 1),
    mirrored,
    dimension_numbers=_LAYOUT,
  )
  return lax.rev(product, (1, 2)).transpose(1, 2, 3, 0)
