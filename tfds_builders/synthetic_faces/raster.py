"""A z-buffer rasteriser for grids of vertices in plain NumPy."""

from dataclasses import dataclass

import numpy as np

# Triangles are drawn together with others of about their width and height, px.
_SIDES = (2, 3, 4, 6, 9, 14, 24, 60, 200)
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


@dataclass(frozen=True)
class _Triangles:
  """M triangles: a first corner, and the edges a and b from there to the two others.

  Attributes:
    corners: three (M,) int, flat index of each corner's vertex.
    sign: (M,) float32, 1 for the triangle at the top left of its cell, -1 for the other one.
    edges: ox, oy, ax, ay, bx, by: (M,) float32 each, px.
  """

  corners: tuple[np.ndarray, np.ndarray, np.ndarray]
  sign: np.ndarray
  edges: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class _Fragments:
  """N pixels inside triangles; a pixel may be in several.

  Attributes:
    triangle: (N,) int, which one.
    x: (N,) int32 column of the pixel.
    y: (N,) int32 row of the pixel.
    first: (N,) float32, barycentric coordinate of the second corner.
    second: (N,) float32, that of the third.
  """

  triangle: np.ndarray
  x: np.ndarray
  y: np.ndarray
  first: np.ndarray
  second: np.ndarray


def rasterise(
  xy: np.ndarray,
  depth: np.ndarray,
  size: tuple[int, int],
  *,
  cells: np.ndarray,
  two_sided: np.ndarray,
  opacity: np.ndarray,
) -> Raster:
  """Draws the grid.

  Every cell is two flat triangles, cut along the diagonal from its top right to its bottom left.

  Args:
    xy: (R, C, 2) float32, vertices in pixels, pixel-centre.
    depth: (R, C) float32, distance to the camera.
    size: height, width of the image in pixels.
    cells: (R - 1, C - 1) bool, cells to draw.
    two_sided: (R,) bool, rows whose cells are also drawn from behind.
    opacity: (R * k, C * k) uint8 map over the grid, 0 = cut out; k an integer.

  Returns:
    What is seen.
  """
  height, width = size
  triangles = _triangles(xy, cells, two_sided)
  fragments = _fragments(triangles, size)

  # Depth and place on the grid of each fragment.
  o, p, q = triangles.corners
  flat_z = depth.ravel()
  corner_z = flat_z[o]
  of_triangle = (corner_z, flat_z[p] - corner_z, flat_z[q] - corner_z, triangles.sign)
  zo, zp, zq, sign = (values[fragments.triangle] for values in of_triangle)
  z = zo + fragments.first * zp + fragments.second * zq
  corner_row, corner_column = np.divmod(o.astype(np.int32), np.int32(depth.shape[1]))
  column = corner_column.astype(np.float32)[fragments.triangle] + sign * fragments.first
  row = corner_row.astype(np.float32)[fragments.triangle] + sign * fragments.second

  k = opacity.shape[0] // depth.shape[0]
  is_opaque = opacity[(row * k).astype(np.int32), (column * k).astype(np.int32)] > 0
  kept = np.flatnonzero(is_opaque & (fragments.x < width) & (fragments.y < height))
  pixel = (fragments.y * np.int32(width) + fragments.x)[kept]
  z = z[kept]
  seen_pixel, winner = _nearest(pixel, z, height * width)

  nearest = np.full(height * width, np.inf, np.float32)
  nearest[seen_pixel] = z[winner]
  shown = kept[winner]
  _, _, ax, ay, bx, by = triangles.edges
  turned = (ax * by - ay * bx)[fragments.triangle[shown]] < 0
  grid = np.stack([column[shown], row[shown]], -1)
  return Raster(seen_pixel, grid, turned, nearest.reshape(height, width))


def _triangles(xy: np.ndarray, cells: np.ndarray, two_sided: np.ndarray) -> _Triangles:
  """The triangles that can be seen; arguments as in `rasterise`."""
  columns = xy.shape[1]
  i, j = np.nonzero(cells)
  top = i * columns + j
  flat_x, flat_y = xy[..., 0].ravel(), xy[..., 1].ravel()

  # The triangle at the top left of each cell, then the one at its bottom right.
  corners, signs = [], []
  for sign, trio in (
    (1, np.stack([top, top + 1, top + columns])),
    (-1, np.stack([top + columns + 1, top + columns, top + 1])),
  ):
    (x0, x1, x2), (y0, y1, y2) = flat_x[trio], flat_y[trio]
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    keep = np.flatnonzero((area > 1e-6) | (two_sided[i] & (area < -1e-6)))
    corners.append(trio[:, keep])
    signs.append(np.full(len(keep), sign, np.float32))

  o, p, q = np.concatenate(corners, axis=1)
  ox, oy = flat_x[o], flat_y[o]
  edges = (ox, oy, flat_x[p] - ox, flat_y[p] - oy, flat_x[q] - ox, flat_y[q] - oy)
  return _Triangles((o, p, q), np.concatenate(signs), edges)


def _fragments(triangles: _Triangles, size: tuple[int, int]) -> _Fragments:
  """The pixels of an image of height, width that lie inside triangles."""
  height, width = size
  ox, oy, ax, ay, bx, by = triangles.edges
  left = np.maximum(np.ceil(ox + np.minimum(np.minimum(ax, bx), 0)), 0)
  upper = np.maximum(np.ceil(oy + np.minimum(np.minimum(ay, by), 0)), 0)
  across = np.minimum(np.floor(ox + np.maximum(np.maximum(ax, bx), 0)), width - 1) - left + 1
  down = np.minimum(np.floor(oy + np.maximum(np.maximum(ay, by), 0)), height - 1) - upper + 1

  # Those of about one width and height together; -1 for those outside the image.
  group = np.searchsorted(_SIDES, across) * 16 + np.searchsorted(_SIDES, down)
  group[(across <= 0) | (down <= 0)] = -1
  by_group = np.argsort(group.astype(np.int16), kind="stable")
  numbers, starts = np.unique(group[by_group], return_index=True)
  ends = [*starts[1:], len(group)]
  planes = _planes(triangles.edges, left, upper)[:, by_group]

  parts, chunks = [], []
  for number, first_member, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
    if number < 0:
      continue
    w = min(_SIDES[number // 16], width)
    h = min(_SIDES[number % 16], height)
    count = max(_CHUNK // (w * h), 1)
    for start in range(first_member, end, count):
      stop = min(start + count, end)
      part = _cover(planes[:, start:stop], w=w, h=h)
      parts.append(part)
      chunks.append((len(part[0]), start, stop - start, w))

  # Which triangle and pixel each test was, for all chunks at once.
  at, first, second = (np.concatenate(values) for values in zip(*parts, strict=True))
  lengths, *chunk = np.array(chunks, np.int32).T
  first_member_of, members, widths = (np.repeat(values, lengths) for values in chunk)
  offset = at // members
  triangle = by_group[first_member_of + (at - offset * members)]
  y = offset // widths
  x = left[triangle].astype(np.int32) + (offset - y * widths)
  return _Fragments(triangle, x, upper[triangle].astype(np.int32) + y, first, second)


def _planes(edges: tuple[np.ndarray, ...], left: np.ndarray, upper: np.ndarray) -> np.ndarray:
  """The barycentric coordinates as functions of the pixel.

  Args:
    edges: see `_Triangles`.
    left: (M,) float32, first column of each triangle.
    upper: (M,) float32, its first row.

  Returns:
    (6, M) float32: the first coordinate at the first pixel, its steps across and down, and the same
    of the second one.
  """
  ox, oy, ax, ay, bx, by = edges
  inverse = 1 / (ax * by - ay * bx)
  dx, dy = left - ox, upper - oy
  m11, m12, m21, m22 = by * inverse, -bx * inverse, -ay * inverse, ax * inverse
  return np.stack([m11 * dx + m12 * dy, m11, m12, m21 * dx + m22 * dy, m21, m22])


def _cover(planes: np.ndarray, *, w: int, h: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Tries all w x h pixels from the top-left corner of each triangle.

  Args:
    planes: (6, n) float32 from `_planes`.
    w: columns to try.
    h: rows to try.

  Returns:
    For the pixels inside: (N,) int32 number of the test, (row * w + column) * n + triangle, and
    (N,) float32 both barycentric coordinates.
  """
  # The triangles are the innermost axis: NumPy is slow on short ones.
  across = np.arange(w, dtype=np.float32)[None, :, None]
  down = np.arange(h, dtype=np.float32)[:, None, None]
  first = (planes[0] + planes[2] * down) + planes[1] * across
  second = (planes[3] + planes[5] * down) + planes[4] * across
  third = 1 - first
  third -= second
  np.minimum(third, first, out=third)
  np.minimum(third, second, out=third)

  at = np.flatnonzero(third >= -1e-4).astype(np.int32)
  return at, first.ravel()[at], second.ravel()[at]


def _nearest(pixel: np.ndarray, z: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
  """The nearest fragment of each pixel.

  Args:
    pixel: (N,) int32 pixel of each fragment.
    z: (N,) float32 its depth.
    count: number of pixels of the image.

  Returns:
    (P,) int32 pixels that have any, in their order, and (P,) int32 the fragment of each.
  """
  # The last of several writes to a pixel stays, so writing from far to near is a z-buffer; the sort
  # on 16 bits is a radix sort.
  far = z.max()
  nearness = (far - z) * (65534 / max(float(far - z.min()), 1e-6))
  order = np.argsort(nearness.astype(np.uint16), kind="stable")
  winner = np.full(count, -1, np.int32)
  winner[pixel[order]] = order
  seen = np.flatnonzero(winner >= 0).astype(np.int32)
  return seen, winner[seen]
