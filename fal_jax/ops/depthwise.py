"""Depthwise convolutions as sums of shifted images, which XLA's CPU compiler fuses into one kernel.

That compiler has no fast kernel for a convolution of as many groups as channels, and for its
gradients none at all: on 16 x 16 pixels of 128 channels it takes forty times as long as the sum.
`convolve_depthwise` replaces `jax.lax.conv_general_dilated` in Flax's `nn.Conv`, for images
(B, H, W, C), kernels (h, w, 1, C), C groups and no dilation, and computes the same.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from fal_jax.ops.convolution import Padding

_Pair = tuple[int, int]


def convolve_depthwise(
  images: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Padding, **options: Any
) -> jax.Array:
  """A convolution of each channel by itself.

  On a CPU its sums are at least float32, whatever the precision of the images.

  Args:
    images: (B, H, W, C) float.
    kernel: (h, w, 1, C) float.
    strides: along rows and columns.
    padding: "SAME", "VALID", or the padding before and after rows and columns.
    options: keywords of `jax.lax.conv_general_dilated`; without effect on a CPU.

  Returns:
    (B, H', W', C) in the precision of the images.
  """
  if jax.default_backend() != "cpu":
    return lax.conv_general_dilated(images, kernel, strides, padding, **options)

  pads: Any = padding
  if isinstance(padding, str):
    pads = lax.padtype_to_pads(images.shape[1:3], kernel.shape[:2], strides, padding)
  return _shifted_sum(images, kernel, tuple(strides), tuple(map(tuple, pads)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shifted_sum(
  images: jax.Array, kernel: jax.Array, strides: _Pair, pads: tuple[_Pair, _Pair]
) -> jax.Array:
  """`convolve_depthwise` with the arguments that it has there, but paddings in numbers."""
  weights = _wide(kernel)[:, :, None, None]
  shifted = _shifted(_padded(images, pads), kernel.shape[:2], strides)
  terms = (weights[tap] * _wide(image) for tap, image in shifted)
  return functools.reduce(jnp.add, terms).astype(images.dtype)


def _forward(
  images: jax.Array, kernel: jax.Array, strides: _Pair, pads: tuple[_Pair, _Pair]
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """The result (B, H', W', C), and images and kernel as residuals."""
  return _shifted_sum(images, kernel, strides, pads), (images, kernel)


def _backward(
  strides: _Pair,
  pads: tuple[_Pair, _Pair],
  residuals: tuple[jax.Array, jax.Array],
  cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Cotangents of images (B, H, W, C) and kernel (h, w, 1, C), from that of (B, H', W', C)."""
  images, kernel = residuals
  to_images = _to_images(images.shape, kernel, cotangent, strides, pads)
  to_kernel = _to_kernel(images, kernel.shape, cotangent, strides, pads)
  return to_images.astype(images.dtype), to_kernel.astype(kernel.dtype)


_shifted_sum.defvjp(_forward, _backward)


def _to_images(
  shape: Sequence[int],
  kernel: jax.Array,
  cotangent: jax.Array,
  strides: _Pair,
  pads: tuple[_Pair, _Pair],
) -> jax.Array:
  """Cotangent of images of a shape (B, H, W, C), at least float32.

  Pixels whose places leave the same remainder by the stride are read by the same entries of the
  kernel, so each such set is a sum of shifted cotangents (B, H', W', C) as well.
  """
  weights = _wide(kernel)[:, :, None, None]
  rows, columns = (
    _readers(shape[1 + i], cotangent.shape[1 + i], kernel.shape[i], strides[i], pads[i][0])
    for i in (0, 1)
  )
  height, width = (-(-side // stride) for side, stride in zip(shape[1:3], strides, strict=True))
  padded = _wide(_padded(cotangent, (rows[1], columns[1])))

  def pixels(row: Sequence[_Pair], column: Sequence[_Pair]) -> jax.Array:
    """Those of one remainder, (B, height, width, C)."""
    terms = [
      weights[i, j] * padded[:, top : top + height, left : left + width]
      for i, top in row
      for j, left in column
    ]
    return sum(terms, jnp.zeros((shape[0], height, width, shape[3]), weights.dtype))

  interleaved = jnp.stack(
    [jnp.stack([pixels(row, column) for column in columns[0]], 3) for row in rows[0]], 2
  )
  whole = interleaved.reshape(shape[0], height * strides[0], width * strides[1], shape[3])
  return whole[:, : shape[1], : shape[2]]


def _readers(
  side: int, result: int, taps: int, stride: int, before: int
) -> tuple[list[list[_Pair]], _Pair]:
  """Which entries of a kernel read a pixel, along one axis.

  Args:
    side: of the images.
    result: side of the result.
    taps: side of the kernel.
    stride: along this axis.
    before: padding before the images.

  Returns:
    For each remainder of a pixel's place by the stride, pairs of an entry and the cell of the
    padded result in which it reads the first such pixel; and the padding of the result.
  """
  readers = [
    [
      (tap, (place + before - tap) // stride)
      for tap in range(taps)
      if (place + before - tap) % stride == 0
    ]
    for place in range(stride)
  ]
  cells = [cell for pairs in readers for _, cell in pairs]
  low = max(0, -min(cells))
  high = max(0, max(cells) + -(-side // stride) - result)
  return [[(tap, cell + low) for tap, cell in pairs] for pairs in readers], (low, high)


def _to_kernel(
  images: jax.Array,
  shape: Sequence[int],
  cotangent: jax.Array,
  strides: _Pair,
  pads: tuple[_Pair, _Pair],
) -> jax.Array:
  """Cotangent of a kernel of a shape (h, w, 1, C), at least float32.

  The products are added up pixel by pixel over the images of the batch, one image after the other,
  and over the pixels at the end: XLA's CPU compiler neither fuses a sum over leading axes with
  what it adds nor keeps a batch's products in the cache.
  """

  def add(totals: list[jax.Array], one: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
    image, result = (_wide(array)[None] for array in one)
    shifted = _shifted(image, shape[:2], strides)
    products = [part * result for _, part in shifted]
    return [total + product[0] for total, product in zip(totals, products, strict=True)], None

  zeros = jnp.zeros(cotangent.shape[1:], jnp.promote_types(cotangent.dtype, jnp.float32))
  count = shape[0] * shape[1]
  totals, _ = lax.scan(add, [zeros] * count, (_padded(images, pads), cotangent))
  return jnp.stack([total.sum((0, 1)) for total in totals]).reshape(shape)


def _shifted(
  padded: jax.Array, sides: Sequence[int], strides: _Pair
) -> Iterator[tuple[_Pair, jax.Array]]:
  """For each entry of a kernel with these sides, what it is multiplied with.

  Args:
    padded: (B, H + ..., W + ..., C), images with their border.
    sides: h and w of the kernel.
    strides: along rows and columns.

  Yields:
    Row and column of the entry, and a part of the images, (B, H', W', C).
  """
  ends = [side - taps + 1 for side, taps in zip(padded.shape[1:3], sides, strict=True)]
  for i in range(sides[0]):
    for j in range(sides[1]):
      yield (i, j), padded[:, i : i + ends[0] : strides[0], j : j + ends[1] : strides[1]]


def _padded(images: jax.Array, pads: tuple[_Pair, _Pair]) -> jax.Array:
  """Images (B, H, W, C) with a border of zeros along rows and columns."""
  return jnp.pad(images, ((0, 0), *pads, (0, 0)))


def _wide(x: jax.Array) -> jax.Array:
  """x (...,) as float32, or as it is if it is wider."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
