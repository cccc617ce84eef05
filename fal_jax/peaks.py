"""Sub-pixel peaks: the highest cell of a heatmap, and where in the window around it the peak lies.

Functions of windows take the (d, d, K) patches of `windows`, in which a cell beyond the map is
-inf, and return heatmap px from the window's centre cell. The patches are small: everything is a
few sums over 9 or 25 cells. `HeatmapCodec` vmaps them over images; `windows` and `softmax_mean`,
which losses need too, take any leading axes.
"""

from typing import Any

import jax
import jax.numpy as jnp

# Of `gaussian_fit`: a perfect peak is exact to float32 after 5 steps, one outside the map after 8.
FIT_STEPS = 8
# Keeps the width near sigma where the window hardly shows it; a perfect peak does not move.
WIDTH_DAMPING = 1e-2
# Limit on |log(width / sigma)|: no network draws peaks half or twice as wide as it was taught.
MAX_LOG_WIDTH = 0.4


def peak_cells(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Column, row and value of the highest cell: first the best row, then the best cell in it.

  One argmax over the flattened map would compare (value, index) pairs cell by cell, three times
  slower on CPU.

  Args:
    heatmaps: (H, W, K) float32.

  Returns:
    x: (K,) int32, columns; of equal cells the first in reading order.
    y: (K,) int32, rows.
    value: (K,) float32.
  """
  y = jnp.argmax(heatmaps.max(1), 0)
  row = jnp.take_along_axis(heatmaps, y[None, None], 0)[0]
  x = jnp.argmax(row, 0)
  value = jnp.take_along_axis(row, x[None], 0)[0]
  return x, y, value


def windows(heatmaps: jax.Array, x: jax.Array, y: jax.Array, size: int) -> jax.Array:
  """The patches around cells.

  Args:
    heatmaps: (..., H, W, K) float32.
    x: (..., K) int, columns of the centre cells.
    y: (..., K) int, their rows.
    size: odd side d of a patch.

  Returns:
    (..., d, d, K) float32; -inf beyond the map.
  """
  height, width = heatmaps.shape[-3:-1]
  offsets = _offsets(size, rank=y.ndim + 1).astype(jnp.int32)
  rows = y[..., None, :] + offsets  # (..., d, K)
  columns = x[..., None, :] + offsets

  patch = jnp.take_along_axis(heatmaps, jnp.clip(rows, 0, height - 1)[..., :, None, :], -3)
  patch = jnp.take_along_axis(patch, jnp.clip(columns, 0, width - 1)[..., None, :, :], -2)

  inside_y = (rows >= 0) & (rows < height)
  inside_x = (columns >= 0) & (columns < width)
  return jnp.where(inside_y[..., :, None, :] & inside_x[..., None, :, :], patch, -jnp.inf)


def softmax_mean(patch: jax.Array, temperature: float) -> jax.Array:
  """Mean position under softmax(temperature * patch).

  Source: Bulat et al. 2021, Eq. 4-5.
  Deviation: centred with (d - 1) / 2, not d / 2: our cells are counted from zero.

  Args:
    patch: (..., rows, columns, K) float32.
    temperature: tau of Eq. 4.

  Returns:
    (..., K, 2) float32 as (x, y), from the middle of the patch.
  """
  return _mean(jax.nn.softmax(temperature * patch, axis=(-3, -2)))


def higher_neighbour(patch: jax.Array) -> jax.Array:
  """The side on which the higher neighbour lies.

  Args:
    patch: (3, 3, K) float32.

  Returns:
    (K, 2) float32 as (x, y): -1, 0 or 1; 0 along an axis that has a neighbour beyond the map.
  """
  slope_x = patch[1, 2] - patch[1, 0]
  slope_y = patch[2, 1] - patch[0, 1]
  slope = jnp.stack([slope_x, slope_y], -1)
  return jnp.where(jnp.isfinite(slope), jnp.sign(slope), 0)


def log_parabola(patch: jax.Array) -> jax.Array:
  """The summit of the parabola through the logarithms of 3 x 3 cells.

  It is exact for a Gaussian of any height and width.

  Source: Zhang et al., Distribution-Aware Coordinate Representation (DARK), CVPR 2020, Eq. 3-9.
  Deviation: no blur before it, and differences of neighbours only.

  Args:
    patch: (3, 3, K) float32; what is not positive counts as a very small number.

  Returns:
    (K, 2) float32 as (x, y), at most one cell to either side; 0 along an axis that has a neighbour
    beyond the map, and where the parabola has no summit.
  """
  log = jnp.log(jnp.maximum(patch, 1e-10))
  centre = log[1, 1]
  dx = (log[1, 2] - log[1, 0]) / 2
  dy = (log[2, 1] - log[0, 1]) / 2
  dxx = log[1, 2] - 2 * centre + log[1, 0]
  dyy = log[2, 1] - 2 * centre + log[0, 1]
  dxy = (log[2, 2] - log[2, 0] - log[0, 2] + log[0, 0]) / 4

  # An axis with a neighbour beyond the map keeps its cell; the other axis is read alone.
  outside = jnp.isneginf(patch)
  open_x = outside[1, ::2].any(0)
  open_y = outside[::2, 1].any(0)
  dx = jnp.where(open_x, 0, dx)
  dy = jnp.where(open_y, 0, dy)
  dxx = jnp.where(open_x, -1, dxx)
  dyy = jnp.where(open_y, -1, dyy)
  dxy = jnp.where(open_x | open_y, 0, dxy)

  # Newton's step to the summit, by Cramer's rule.
  determinant = dxx * dyy - dxy * dxy
  summit = (determinant > 0) & (dxx < 0)
  divisor = jnp.where(summit, determinant, 1)
  step = jnp.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1) / divisor[:, None]
  return jnp.where(summit[:, None], jnp.clip(step, -1, 1), 0)


def gaussian_fit(patch: jax.Array, start: jax.Array, *, sigma: float) -> jax.Array:
  """The centre of the Gaussian that fits a window best, in position, height and width.

  The local soft-argmax knows only that a peak is where it is high, and is wrong by a known amount:
  between cells the window is cut on one side, and low peaks pull towards the middle of the window.
  We also know that the network was taught Gaussians of one width. The fit is Gauss-Newton on
  squared differences, weighted by the squared Gaussian, so that the slopes of the peak count and
  the noise at its foot does not. A perfect peak is recovered exactly, independent of its height,
  also at the border, since the cells beyond it are missing on both sides of the comparison.

  Args:
    patch: (d, d, K) float32, d at least 3.
    start: (K, 2) float32 as (x, y), a first estimate, e.g. `softmax_mean`.
    sigma: width the network was taught, heatmap px.

  Returns:
    (K, 2) float32 as (x, y), at most (d - 1) / 2 cells to either side.
  """
  inside = jnp.isfinite(patch)
  heat = jnp.where(inside, patch, 0)
  cells = _offsets(len(patch), rank=2)
  reach = (len(patch) - 1) / 2

  def total(array: jax.Array) -> jax.Array:
    return array.sum((0, 1))

  def step(
    _: Any, state: tuple[jax.Array, jax.Array, jax.Array]
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One step of Gauss-Newton for x, y and log(width / sigma), (K,) each."""
    x, y, log_width = state

    # Model: a Gaussian of height 1 at (x, y) and of the current width.
    precision = (jnp.exp(-2 * log_width) / sigma**2)[None, None]
    from_x = (cells - x[None])[None]
    from_y = (cells - y[None])[:, None]
    shape = jnp.where(inside, jnp.exp(-0.5 * precision * (from_x**2 + from_y**2)), 0)
    weight = shape**2  # trust the slopes, ignore the noisy foot

    # The model is linear in its height: solve for it, and remove it from residual and slopes.
    norm = total(weight * shape**2)
    height = jnp.maximum(total(weight * shape * heat) / norm, 1e-6)
    residual = heat / height[None, None] - shape

    def without_height(slope: jax.Array) -> jax.Array:
      return slope - shape * (total(weight * slope * shape) / norm)[None, None]

    slopes = [
      without_height(shape * precision * part) for part in (from_x, from_y, from_x**2 + from_y**2)
    ]

    # Normal equations, the width damped.
    curvature = [[total(weight * first * second) for second in slopes] for first in slopes]
    pull = [total(weight * slope * residual) for slope in slopes]
    curvature[2][2] = curvature[2][2] + WIDTH_DAMPING
    pull[2] = pull[2] - WIDTH_DAMPING * log_width
    dx, dy, dwidth = _solve_symmetric(curvature, pull)

    # Short steps within the window: far from the peak the equations are not to be trusted.
    x = jnp.clip(x + jnp.clip(dx, -0.5, 0.5), -reach, reach)
    y = jnp.clip(y + jnp.clip(dy, -0.5, 0.5), -reach, reach)
    log_width = log_width + jnp.clip(dwidth, -0.2, 0.2)
    return x, y, jnp.clip(log_width, -MAX_LOG_WIDTH, MAX_LOG_WIDTH)

  start_x, start_y = start[:, 0], start[:, 1]
  x, y, _ = jax.lax.fori_loop(0, FIT_STEPS, step, (start_x, start_y, jnp.zeros_like(start_x)))
  return jnp.stack([x, y], -1)


def second_moment(patch: jax.Array, position: jax.Array) -> jax.Array:
  """Spread of the heat in a window about a position.

  Negative and out-of-map cells count as zero.

  Args:
    patch: (d, d, K) float32.
    position: (K, 2) float32 as (x, y), from the middle of the patch.

  Returns:
    (K, 2, 2) float32, heatmap px squared; in a window without any heat, that of heat spread evenly
    over it.
  """
  heat = jnp.maximum(patch, 0)
  amount = heat.sum((0, 1), keepdims=True)
  even = 1 / len(patch) ** 2
  share = jnp.where(amount > 0, heat / jnp.where(amount > 0, amount, 1), even)

  cells = _offsets(len(patch), rank=2)
  from_x = (cells - position[None, :, 0])[None]
  from_y = (cells - position[None, :, 1])[:, None]
  xx = (share * from_x**2).sum((0, 1))
  xy = (share * (from_x * from_y)).sum((0, 1))
  yy = (share * from_y**2).sum((0, 1))

  return jnp.stack([jnp.stack([xx, xy], -1), jnp.stack([xy, yy], -1)], -2)


def _offsets(size: int, *, rank: int) -> jax.Array:
  """(1, ..., size, 1) float32, of `rank` axes: cells along the last but one, from the middle."""
  offsets = jnp.arange(size, dtype=jnp.float32)[:, None] - (size - 1) / 2
  return jax.lax.broadcast_to_rank(offsets, rank)


def _mean(share: jax.Array) -> jax.Array:
  """Mean position (..., K, 2) under shares (..., rows, columns, K), from the middle."""
  rows = _offsets(share.shape[-3], rank=share.ndim - 1)
  columns = _offsets(share.shape[-2], rank=share.ndim - 1)
  x = (share.sum(-3) * columns).sum(-2)
  y = (share.sum(-2) * rows).sum(-2)
  return jnp.stack([x, y], -1)


def _solve_symmetric(matrix: list[list[jax.Array]], right: list[jax.Array]) -> list[jax.Array]:
  """Solves symmetric 3 x 3 systems elementwise; 0 where the matrix is singular.

  Args:
    matrix: 3 rows of 3 entries, (K,) float32 each.
    right: 3 right-hand sides, (K,) float32 each.

  Returns:
    3 unknowns, (K,) float32 each.
  """
  (a, b, c), (_, d, e), (_, _, f) = matrix
  adjugate = (
    (d * f - e * e, c * e - b * f, b * e - c * d),
    (c * e - b * f, a * f - c * c, b * c - a * e),
    (b * e - c * d, b * c - a * e, a * d - b * b),
  )
  determinant = a * adjugate[0][0] + b * adjugate[0][1] + c * adjugate[0][2]
  regular = determinant > 1e-12
  divisor = jnp.where(regular, determinant, 1)

  products = [sum(x * y for x, y in zip(row, right, strict=True)) for row in adjugate]
  return [jnp.where(regular, product / divisor, 0) for product in products]
