"""A z-buffer rasteriser for grids of vertices in plain NumPy."""

from dataclasses import dataclass

import numpy as np

_SIDES = (
  2,
  3,
  4,
  6,
  9,
  14,
  24,
  60,
  200,
)  # triangles are drawn together with others of about their width and height
_CHUNK = 60_000  # elements worked on at a time: few enough to stay in the processor's cache


@dataclass(frozen=True)
class Raster:
  """What is seen through the pixels that show the surface.

  Attributes:
    pixel: (N,) int32, the pixels that show it, as row * width + column.
    grid: (N, 2) float32, fractional column and row on the grid of vertices.
    reverse: (N,) bool, seen from its back.
    depth: (H, W) float32, distance along the optical axis; +inf where nothing is seen.
  """

  pixel: np.ndarray
  grid: np.ndarray
  reverse: np.ndarray
  depth: np.ndarray


def rasterise(
  xy: np.ndarray,
  depth: np.ndarray,
  size: tuple[int, int],
  *,
  cells: np.ndarray,
  two_sided: np.ndarray,
  opacity: np.ndarray,
) -> Raster:
  """Draws the grid; every cell is two flat triangles, cut along the diagonal from its top right to
  its bottom left.

  Args:
    xy: (R, C, 2) float32, vertices in pixels, pixel-centre.
    depth: (R, C) float32, distance to the camera.
    size: height, width of the picture in pixels.
    cells: (R - 1, C - 1) bool, cells to draw.
    two_sided: (R,) bool, rows whose cells are also drawn from behind.
    opacity: (R * k, C * k) uint8 map over the grid, 0 = cut out; k an integer.
  """
  height, width = size
  columns = depth.shape[1]
  i, j = np.nonzero(cells)
  top = i * columns + j
  flat_x, flat_y, flat_z = xy[..., 0].ravel(), xy[..., 1].ravel(), depth.ravel()
  corners, signs = [], []
  for sign in (
    1,
    -1,
  ):  # the triangle at the top left of each cell, then the one at its bottom right
    trio = np.stack(
      [top, top + 1, top + columns] if sign > 0 else [top + columns + 1, top + columns, top + 1]
    )
    (x0, x1, x2), (y0, y1, y2) = flat_x[trio], flat_y[trio]
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    keep = np.flatnonzero((area > 1e-6) | (two_sided[i] & (area < -1e-6)))
    corners.append(trio[:, keep])
    signs.append(np.full(len(keep), sign, np.float32))
  o, p, q = np.concatenate(corners, axis=1)
  signs_all = np.concatenate(signs)
  ox, oy = flat_x[o], flat_y[o]
  ax, ay, bx, by = flat_x[p] - ox, flat_y[p] - oy, flat_x[q] - ox, flat_y[q] - oy
  left = np.maximum(np.ceil(ox + np.minimum(np.minimum(ax, bx), 0)), 0)
  upper = np.maximum(np.ceil(oy + np.minimum(np.minimum(ay, by), 0)), 0)
  across = np.minimum(np.floor(ox + np.maximum(np.maximum(ax, bx), 0)), width - 1) - left + 1
  down = np.minimum(np.floor(oy + np.maximum(np.maximum(ay, by), 0)), height - 1) - upper + 1
  group = np.searchsorted(_SIDES, across) * 16 + np.searchsorted(_SIDES, down)
  group[(across <= 0) | (down <= 0)] = -1
  found = []
  by_group = np.argsort(group.astype(np.int16), kind="stable")
  numbers, starts = np.unique(group[by_group], return_index=True)
  for number, first_member, end in zip(
    numbers.tolist(), starts, [*starts[1:], len(group)], strict=True
  ):
    if number < 0:
      continue
    w, h = (
      min(side, n)
      for side, n in zip((_SIDES[number // 16], _SIDES[number % 16]), (width, height), strict=True)
    )
    members = by_group[first_member:end]
    part = max(_CHUNK // (w * h), 1)
    for start in range(0, len(members), part):
      n = members[start : start + part]
      found.append(_cover(n, (ox, oy, ax, ay, bx, by), left, upper, w=w, h=h))
  triangle, px, py, first, second = (np.concatenate(values) for values in zip(*found, strict=True))
  o, p, q, s = o[triangle], p[triangle], q[triangle], signs_all[triangle]
  zo = flat_z[o]
  z = zo + first * (flat_z[p] - zo) + second * (flat_z[q] - zo)
  corner_row, corner_column = np.divmod(o.astype(np.int32), np.int32(columns))
  column = corner_column.astype(np.float32) + s * first
  row = corner_row.astype(np.float32) + s * second
  k = opacity.shape[0] // depth.shape[0]
  keep = (
    (opacity[(row * k).astype(np.int32), (column * k).astype(np.int32)] > 0)
    & (px < width)
    & (py < height)
  )
  kept = np.flatnonzero(keep)
  pixel = (py * np.int32(width) + px)[kept]
  z = z[kept]
  # The last of several writes to a pixel stays, so writing from far to near is a z-buffer; the sort
  # on 16 bits is a radix sort.
  far = z.max()
  order = np.argsort(
    ((far - z) * (65534 / max(float(far - z.min()), 1e-6))).astype(np.uint16), kind="stable"
  )
  winner = np.full(height * width, -1, np.int32)
  winner[pixel[order]] = order
  seen_pixel = np.flatnonzero(winner >= 0).astype(np.int32)
  winner = winner[seen_pixel]
  nearest = np.full(height * width, np.inf, np.float32)
  nearest[seen_pixel] = z[winner]
  shown = kept[winner]
  turned = (ax * by - ay * bx)[triangle[shown]] < 0
  return Raster(
    seen_pixel, np.stack([column[shown], row[shown]], -1), turned, nearest.reshape(height, width)
  )


def _cover(
  n: np.ndarray,
  edges: tuple[np.ndarray, ...],
  left: np.ndarray,
  upper: np.ndarray,
  *,
  w: int,
  h: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Tries all w x h pixels from the top-left corner of each triangle n; returns, for the pixels
  inside, the triangle, x, y and the two barycentric coordinates."""
  ox, oy, ax, ay, bx, by = (v[n] for v in edges)
  inverse = 1 / (ax * by - ay * bx)
  x0, y0 = left[n], upper[n]
  dx, dy = x0 - ox, y0 - oy
  m11, m12, m21, m22 = by * inverse, -bx * inverse, -ay * inverse, ax * inverse
  # The triangles are the innermost axis: NumPy is slow on short ones.
  across, down = (
    np.arange(w, dtype=np.float32)[None, :, None],
    np.arange(h, dtype=np.float32)[:, None, None],
  )
  first = (m11 * dx + m12 * dy + m12 * down) + m11 * across
  second = (m21 * dx + m22 * dy + m22 * down) + m21 * across
  third = 1 - first
  third -= second
  np.minimum(third, first, out=third)
  np.minimum(third, second, out=third)
  at = np.flatnonzero(third >= -1e-4).astype(np.int32)
  offset, t = np.divmod(at, np.int32(len(n)))
  y, x = np.divmod(offset, np.int32(w))
  return (
    n[t],
    x0[t].astype(np.int32) + x,
    y0[t].astype(np.int32) + y,
    first.ravel()[at],
    second.ravel()[at],
  )
