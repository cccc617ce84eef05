"""2x3 affine maps between pixel frames, and the bilinear sampler that follows them.

Every map is named `dst_from_src` and takes points (x, y) of the source frame to the destination
frame. Coordinates are pixel-centre in every frame: (0, 0) is the centre of the top-left pixel, an
array of width W spans [-0.5, W - 0.5].

The algebra takes NumPy or JAX arrays and returns the same kind: NumPy in its own precision (crops
are computed in float64 on the host), JAX in float32. It is written elementwise on purpose: a matrix
product would run in bfloat16 on TPU and in TF32 on GPU, and a relative error of 1/256 is a pixel.
"""

import functools
from types import ModuleType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Array: TypeAlias = Any  # np.ndarray or jax.Array; the docstrings give shape, dtype and frame

# For each pixel of an image, the gradient of `warp` always reads the 4 x 4 pixels of the result
# around the point that the map takes the pixel to.
_GATHER_RADIUS = 2


def _namespace(*arrays: Array) -> ModuleType:
  """jax.numpy if any of the arrays is JAX's, numpy otherwise."""
  return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def _same_rank(a: Array, b: Array) -> tuple[Array, Array]:
  """Both, (...,) each, with axes of length 1 in front of the one that has fewer."""
  rank = max(a.ndim, b.ndim)
  a, b = (array.reshape((1,) * (rank - array.ndim) + array.shape) for array in (a, b))
  return a, b


def _matrix(xp: ModuleType, *entries: Array) -> Array:
  """(..., 2, 3) from its six entries (...,), row by row."""
  a, b, c, d, e, f = xp.broadcast_arrays(*(xp.asarray(entry) for entry in entries))
  return xp.stack([xp.stack([a, b, c], -1), xp.stack([d, e, f], -1)], -2)


def translation(offset: Array) -> Array:
  """Maps x to x + offset.

  Args:
    offset: (..., 2) in px.

  Returns:
    (..., 2, 3) dst_from_src.
  """
  xp = _namespace(offset)
  offset = xp.asarray(offset)
  zero = xp.zeros_like(offset[..., 0])

  return _matrix(xp, zero + 1, zero, offset[..., 0], zero, zero + 1, offset[..., 1])


def similarity(*, angle: Array, scale: Array, src_centre: Array, dst_centre: Array) -> Array:
  """Rotates and scales about `src_centre` and puts that point on `dst_centre`.

  Args:
    angle: (...,) radians; positive turns x towards y, i.e. clockwise on the screen.
    scale: (...,) destination px per source px.
    src_centre: (..., 2) in source px.
    dst_centre: (..., 2) in destination px.

  Returns:
    (..., 2, 3) dst_from_src.
  """
  xp = _namespace(angle, scale, src_centre, dst_centre)
  src, dst = xp.asarray(src_centre), xp.asarray(dst_centre)
  cosine, sine = scale * xp.cos(angle), scale * xp.sin(angle)

  shift_x = dst[..., 0] - cosine * src[..., 0] + sine * src[..., 1]
  shift_y = dst[..., 1] - sine * src[..., 0] - cosine * src[..., 1]

  return _matrix(xp, cosine, -sine, shift_x, sine, cosine, shift_y)


def mirror(width: int) -> np.ndarray:
  """Swaps left and right in an array of `width` pixels: x becomes width - 1 - x.

  Returns:
    (2, 3) float32.
  """
  return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]], np.float32)


def shrink(stride: float) -> np.ndarray:
  """Maps an array to one of the same image that is `stride` times smaller.

  The coordinate x becomes (x + 0.5) / stride - 0.5.

  Deviation: the paper's Eq. 3 prints x / stride. With that, the mirror image of a heatmap and the
  heatmap of the mirrored image disagree by (stride - 1) / stride heatmap px, and the two views of
  Eq. 6 would fight each other.

  Returns:
    (2, 3) float32, px of the large array to px of the small one.
  """
  offset = 0.5 / stride - 0.5
  return np.array([[1 / stride, 0.0, offset], [0.0, 1 / stride, offset]], np.float32)


def compose(a: Array, b: Array) -> Array:
  """The map that applies `b`, then `a`: c_from_a = compose(c_from_b, b_from_a).

  Args:
    a: (..., 2, 3) c_from_b.
    b: (..., 2, 3) b_from_a; leading axes broadcast.

  Returns:
    (..., 2, 3) c_from_a.
  """
  xp = _namespace(a, b)
  a, b = _same_rank(xp.asarray(a), xp.asarray(b))

  # The columns of b, moved by the linear part of a ...
  linear = a[..., :, 0, None] * b[..., 0, None, :] + a[..., :, 1, None] * b[..., 1, None, :]

  # ... and the last of them, which is a point, by a's own shift as well.
  shift = xp.broadcast_to(a[..., 2:], linear[..., 2:].shape)
  return linear + xp.concatenate([xp.zeros_like(linear[..., :2]), shift], -1)


def invert(m: Array) -> Array:
  """The inverse of a map; a singular one gives infinities, as any division by zero does.

  Args:
    m: (..., 2, 3) dst_from_src.

  Returns:
    (..., 2, 3) src_from_dst.
  """
  xp = _namespace(m)
  m = xp.asarray(m)
  a, b, c, d, e, f = (m[..., i, j] for i in range(2) for j in range(3))

  determinant = a * e - b * d
  xx, xy = e / determinant, -b / determinant
  yx, yy = -d / determinant, a / determinant
  return _matrix(xp, xx, xy, -(xx * c + xy * f), yx, yy, -(yx * c + yy * f))


def at_stride(m: Array, stride: float) -> Array:
  """The same map between arrays that are `stride` times smaller, e.g. heatmaps instead of crops.

  Args:
    m: (..., 2, 3) dst_from_src, px.
    stride: px per heatmap px.

  Returns:
    (..., 2, 3), heatmap px to heatmap px.
  """
  small = shrink(stride)
  return compose(compose(small, m), invert(small))


def apply(m: Array, points: Array) -> Array:
  """Moves points by a map.

  Args:
    m: (..., 2, 3) dst_from_src; its leading axes broadcast against those of the points up to the
      landmark axis, so one (2, 3) map moves points of any shape and (B, 2, 3) maps move (B, K, 2)
      points, each image by its own map.
    points: (..., 2) float, source px.

  Returns:
    (..., 2) destination px.
  """
  xp = _namespace(m, points)
  m, points = xp.asarray(m), xp.asarray(points)
  if m.ndim > 2:
    # An axis for the landmarks, and as many leading ones as the points have, which stand in columns
    # (..., 2, 1) for that.
    m, columns = _same_rank(m[..., None, :, :], points[..., None])
    points = columns[..., 0]

  x, y = points[..., 0], points[..., 1]
  return xp.stack([m[..., i, 0] * x + m[..., i, 1] * y + m[..., i, 2] for i in range(2)], -1)


def warp(image: Array, dst_from_src: Array, size: tuple[int, int]) -> jax.Array:
  """Resamples an image under an affine map, bilinearly, with zeros outside.

  It is differentiable in the image and in the map.

  The zeros outside are samples like any other, so a border fades over one pixel instead of ending
  in a hard edge that a rounding error of 1e-7 could move. This is PyTorch's
  `grid_sample(padding_mode="zeros", align_corners=...)` in pixel coordinates and SciPy's
  `mode="grid-constant"`.

  The gradient gathers as the warp does: each pixel of the image reads the pixels of the result that
  it was mixed into, and nothing is scattered. So sums have one order, on every device, and the
  gradient costs four warps. Maps that magnify by more than `2 / sqrt(2)`, or by 2 without a
  rotation, are just as exact but slower.

  Args:
    image: (H, W, C) float or uint8.
    dst_from_src: (2, 3) map from pixels of `image` to pixels of the result.
    size: (rows, columns) of the result.

  Returns:
    (size[0], size[1], C) float32.
  """
  image, dst_from_src = jnp.asarray(image), jnp.asarray(dst_from_src, jnp.float32)
  if not jnp.issubdtype(image.dtype, jnp.floating):
    return _sample(image, dst_from_src, size)
  return _warp(image.astype(jnp.float32), dst_from_src, size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _warp(image: jax.Array, dst_from_src: jax.Array, size: tuple[int, int]) -> jax.Array:
  """`warp` of a float32 image, with the gradient that gathers."""
  return _sample(image, dst_from_src, size)


def _warp_forward(
  image: jax.Array, dst_from_src: jax.Array, size: tuple[int, int]
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """The result (size[0], size[1], C), and image and map as residuals."""
  return _sample(image, dst_from_src, size), (image, dst_from_src)


def _warp_backward(
  size: tuple[int, int], residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Cotangents of image (H, W, C) and map (2, 3), from that of the result (size[0], size[1], C)."""
  image, dst_from_src = residuals
  image_cotangent = _adjoint(cotangent, dst_from_src, image.shape[:2])

  # Eliminated by XLA when unused.
  _, pull_map = jax.vjp(lambda m: _sample(image, m, size), dst_from_src)
  return image_cotangent, *pull_map(cotangent)


_warp.defvjp(_warp_forward, _warp_backward)


def _sample(image: jax.Array, dst_from_src: jax.Array, size: tuple[int, int]) -> jax.Array:
  """`warp`: every pixel of the result mixes the four of the image around its source point.

  Args:
    image: (H, W, C) float or uint8.
    dst_from_src: (2, 3) float32.
    size: (rows, columns) of the result.

  Returns:
    (size[0], size[1], C) float32.
  """
  points = apply(invert(dst_from_src), _pixels(size))
  corner = jnp.floor(points)
  fraction = points - corner

  def tap(dx: int, dy: int) -> jax.Array:
    """The weighted pixels (size[0], size[1], C) at one corner of every source point's cell."""
    weight_x = fraction[..., 0] if dx else 1 - fraction[..., 0]
    weight_y = fraction[..., 1] if dy else 1 - fraction[..., 1]
    return _read(image, corner + np.array([[[dx, dy]]], np.float32), weight_x * weight_y)

  return tap(0, 0) + tap(1, 0) + tap(0, 1) + tap(1, 1)


@functools.partial(jax.jit, static_argnums=2)
def _adjoint(cotangent: jax.Array, dst_from_src: jax.Array, size: tuple[int, int]) -> jax.Array:
  """The transpose of `_sample`, for an image of `size`.

  A pixel was mixed into those pixels of the result whose source point is less than one pixel away
  from it. They lie around the point that the map takes the pixel to, within the reach of the map:
  its largest sum of absolute entries in a row, without the shift.

  Args:
    cotangent: (rows, columns, C) float32, of the result.
    dst_from_src: (2, 3) float32.
    size: (H, W) of the image.

  Returns:
    (H, W, C) float32, cotangent of the image.
  """
  src_from_dst = invert(dst_from_src)
  pixels = _pixels(size)
  middle = jnp.floor(apply(dst_from_src, pixels))

  def read(candidates: jax.Array) -> jax.Array:
    """What every pixel gets from one candidate, a pixel (H, W, 2) of the result: (H, W, C)."""
    distance = jnp.abs(apply(src_from_dst, candidates) - pixels)
    return _read(cotangent, candidates, jnp.prod(jnp.maximum(1 - distance, 0), -1))

  near = range(1 - _GATHER_RADIUS, 1 + _GATHER_RADIUS)
  shares = (read(middle + np.array([[[dx, dy]]], np.float32)) for dy in near for dx in near)
  total = functools.reduce(jnp.add, shares)

  # A map that reaches further needs a loop over a larger square around `middle`, or over all pixels
  # of the result if these are fewer. For any other map the loop makes no iteration.
  reach = jnp.ceil(jnp.abs(dst_from_src[:, :2]).sum(-1).max())
  first = jnp.maximum(middle + 1 - reach, 0)
  side = jnp.minimum(2 * reach, max(cotangent.shape[:2])).astype(jnp.int32)

  def add(i: jax.Array, total: jax.Array) -> jax.Array:
    candidates = first + jnp.stack([i % side, i // side])[None, None]
    near = (candidates > middle - _GATHER_RADIUS) & (candidates <= middle + _GATHER_RADIUS)
    done = near.all(-1, keepdims=True)
    return total + jnp.where(done, 0, read(candidates))

  iterations = jnp.where(reach > _GATHER_RADIUS, side * side, 0)
  return jax.lax.fori_loop(0, iterations, add, total)


def _pixels(size: tuple[int, int]) -> jax.Array:
  """(rows, columns, 2) float32: x and y of every pixel."""
  y, x = jnp.meshgrid(*(jnp.arange(side, dtype=jnp.float32) for side in size), indexing="ij")
  return jnp.stack([x, y], -1)


def _read(image: jax.Array, points: jax.Array, weight: jax.Array) -> jax.Array:
  """Weight times image at whole-numbered points; zero outside.

  Args:
    image: (H, W, C).
    points: (..., 2) float32, whole px.
    weight: (...,) float32.

  Returns:
    (..., C) float32.
  """
  height, width, channels = image.shape
  x, y = points[..., 0], points[..., 1]
  inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)

  # Clipped as floats: far outside, the conversion to int32 would overflow.
  row = jnp.clip(y, 0, height - 1).astype(jnp.int32)
  column = jnp.clip(x, 0, width - 1).astype(jnp.int32)
  pixels = image.reshape(height * width, channels)[row * width + column]

  return jnp.where(inside, weight, 0)[..., None] * pixels.astype(jnp.float32)
