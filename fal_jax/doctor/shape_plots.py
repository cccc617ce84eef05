"""Shapes and counts as SVG text for an HTML page: sharp at every size, in light and in dark.

Colours are classes, which the page's style sheet fills: `right`, `left` (the person's own),
`middle`, `line`, `pair`, `mirror`, `bar`, `quiet`. Nothing but NumPy and OpenCV is needed.
"""

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np

from fal_jax.errors import InputError
from fal_jax.landmarks import Markup

_FAR = 1e4  # px; what lies further outside is not drawn


def draw_mean_shape(
  mean: np.ndarray, mirror: np.ndarray | None, markup: Markup, *, width: int = 820
) -> str:
  """Draws a shape with its numbers, lines between mirror partners, and rings for its mirror image.

  Args:
    mean: (K, 2), any unit; NaN for an unknown landmark, which is left out.
    mirror: (K, 2) its mirror image under the flip permutation, same frame; None draws no rings and
      no lines between partners.
    markup: edges, sides and pairs.
    width: width of the drawing, px.

  Returns:
    An <svg> element.

  Raises:
    InputError: if no landmark is known.
  """
  known = np.isfinite(mean).all(-1)
  if not known.any():
    raise InputError("the mean shape has no landmark that is known: there is nothing to draw")

  # Both shapes to px of the drawing.
  low, high = mean[known].min(0), mean[known].max(0)
  scale = (width - 100) / max(high[0] - low[0], 0.8 * (high[1] - low[1]), 1e-9)
  middle = np.array([width / 2 - scale * (low[0] + high[0]) / 2, 45 - scale * low[1]])
  at = scale * mean + middle
  height = round(scale * (high[1] - low[1]) + 90)

  rows = np.flatnonzero(known).tolist()
  pairs, rings = [], []
  if mirror is not None:
    pairs = [
      _line(at[k], at[partner], "pair")
      for k, partner in enumerate(markup.flip)
      if k < partner and known[k] and known[partner]
    ]
    rings = [
      _circle(point, 6.5, "mirror") for point in scale * mirror + middle if np.isfinite(point).all()
    ]
  lines = [_line(at[a], at[b], "line") for a, b in markup.edges if known[a] and known[b]]
  dots = [_circle(at[k], 3.6, _side(markup, k)) for k in rows]
  numbers = [
    f'<text x="{x:.1f}" y="{y + 4:.1f}">{k}</text>'
    for k, (x, y) in zip(rows, _number_positions(at[known], distance=15.0), strict=True)
  ]

  # Later elements cover earlier ones.
  parts = [
    f'<svg class="shape" viewBox="0 0 {width} {height}" role="img">',
    "<title>Mean shape with landmark numbers</title>",
    *(*pairs, *lines, *rings, *dots, *numbers),
    "</svg>",
  ]
  return "".join(parts)


def draw_face(
  jpeg: bytes,
  points: np.ndarray,
  markup: Markup,
  *,
  visible: np.ndarray,
  box: np.ndarray,
  size: int,
) -> str:
  """Draws an image of a face with its landmarks, hollow where hidden, and a dashed box.

  Args:
    jpeg: the image, size x size px.
    points: (K, 2) px of the image, pixel-centre; NaN where not annotated.
    markup: edges and sides.
    visible: (K,) bool.
    box: (4,) x0, y0, x1, y1, px of the image; NaN draws none.
    size: side of the image, px.

  Returns:
    An <svg> element that holds the image as a data URI.
  """
  known = (np.abs(points) < _FAR).all(-1)  # NaN is not
  at = np.where(known[:, None], points, 0) + 0.5  # SVG's origin is the corner of the first pixel

  parts = [
    f'<svg class="face" viewBox="0 0 {size} {size}" role="img">',
    f'<image width="{size}" height="{size}" href="{_uri(jpeg, "jpeg")}"/>',
  ]
  if (np.abs(box) < _FAR).all():
    parts.append(_rect(box[:2] + 0.5, np.maximum(box[2:] - box[:2], 0), "box"))
  parts += [_line(at[a], at[b], "edge") for a, b in markup.edges if known[a] and known[b]]

  radius = 1.5 if markup.num > 80 else 1.8
  for k in np.flatnonzero(known).tolist():
    parts.append(_circle(at[k], radius, _side(markup, k) + ("" if visible[k] else " hidden")))
  return "".join([*parts, "</svg>"])


def draw_histogram(
  counts: Sequence[int], edges: Sequence[float], *, label: str, width: int = 760, height: int = 110
) -> str:
  """Draws counts over bins on a logarithmic axis of px, with ticks at powers of two.

  Args:
    counts: (M,) counts of the bins.
    edges: M + 1 limits, px, rising geometrically.
    label: what a screen reader says.
    width: width of the drawing, px.
    height: height of the drawing, px.

  Returns:
    An <svg> element.
  """
  first, last = np.log2(edges[0]), np.log2(edges[-1])
  most = max(*counts, 1)
  floor = height - 22

  def to_x(value: float) -> float:
    return float(width * (np.log2(value) - first) / (last - first))

  parts = [
    f'<svg class="histogram" viewBox="0 0 {width} {height}" role="img">',
    f"<title>{html.escape(label)}</title>",
  ]
  for number, (count, low, high) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True)):
    if not count:
      continue
    bar_height = max(1.5, (floor - 16) * count / most)
    corner = np.array([to_x(low) + 1, floor - bar_height])
    bar_width = to_x(high) - to_x(low) - 2
    tip = f"{low:.0f} to {high:.0f} px: {count:,} faces"
    parts.append(_rect(corner, np.array([bar_width, bar_height]), "bar", tip=tip))
    if number == np.argmax(counts):
      x, y = (to_x(low) + to_x(high)) / 2, floor - bar_height - 5
      parts.append(f'<text x="{x:.1f}" y="{y:.1f}">{count:,}</text>')

  parts.append(_line(np.array([0, floor]), np.array([width, floor]), "axis"))
  for power in range(int(np.ceil(first)), int(np.floor(last)) + 1):
    x, y = to_x(2**power), height - 5
    anchor = "start" if x < 8 else "end" if x > width - 8 else "middle"
    parts.append(f'<text x="{x:.1f}" y="{y}" style="text-anchor:{anchor}">{2**power}</text>')
  return "".join([*parts, "</svg>"])


def draw_heat(counts: np.ndarray, *, margin: int, band: int, width: int = 360) -> str:
  """Draws how often landmarks fall on each heatmap cell, with the heatmap's border and its band.

  Args:
    counts: (H, W) int, the cells and `margin` more all round.
    margin: cells outside the heatmap, on each side.
    band: width of the band inside the border, cells.
    width: width of the drawing, px.

  Returns:
    An <svg> element.
  """
  side = counts.shape[0]
  inner = side - 2 * margin
  strength = np.log1p(counts) / max(np.log1p(counts.max()), 1e-9)
  pixels = np.zeros((*counts.shape, 4), np.uint8)
  pixels[..., :3] = (216, 120, 32)  # BGR of a blue that is seen on white and on black
  pixels[..., 3] = np.round(255 * strength)
  png = cv2.imencode(".png", pixels)[1].tobytes()

  parts = [
    f'<svg class="heat" style="max-width:{width}px" viewBox="0 0 {side} {side}" role="img">',
    f"<title>Landmarks on the {inner} x {inner} cells of the heatmap</title>",
    f'<image class="cells" width="{side}" height="{side}" href="{_uri(png, "png")}"/>',
  ]
  for name, at in (("axis", margin), ("pair", margin + band)):
    parts.append(_rect(np.full(2, at), np.full(2, side - 2 * at), name))
  return "".join([*parts, "</svg>"])


def _side(markup: Markup, k: int) -> str:
  """Class of a landmark's colour: "right", "left" or "middle", by its name."""
  for side in ("right", "left"):
    if markup.names[k].startswith(f"{side}_"):
      return side
  return "middle"


def _number_positions(points: np.ndarray, *, distance: float) -> np.ndarray:
  """Where to write the numbers of points.

  They are placed one after the other, each in the direction where most room is left.

  Args:
    points: (K, 2) px of the drawing.
    distance: how far each number is from its point, px.

  Returns:
    (K, 2) centres of the numbers, px.
  """
  angles = np.arange(16) * np.pi / 8
  ring = distance * np.stack([np.cos(angles), np.sin(angles)], -1)
  positions: list[np.ndarray] = []
  for k, point in enumerate(points):
    others = np.delete(points, k, 0)
    taken = np.concatenate([others, np.reshape(positions, (-1, 2)), [[1e6, 1e6]]])
    candidates = point + ring
    offsets = (candidates[:, None] - taken) / [1.3, 1.0]  # numbers are wider than high
    gap = np.linalg.norm(offsets, axis=-1)
    positions.append(candidates[gap.min(1).argmax()])
  return np.array(positions)


def _line(a: np.ndarray, b: np.ndarray, name: str) -> str:
  return f'<line class="{name}" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'


def _rect(corner: np.ndarray, sides: np.ndarray, name: str, *, tip: str = "") -> str:
  x, y, width, height = (f"{value:.1f}" for value in (*corner, *sides))
  title = f"<title>{html.escape(tip)}</title>" if tip else ""
  return f'<rect class="{name}" x="{x}" y="{y}" width="{width}" height="{height}">{title}</rect>'


def _circle(at: np.ndarray, radius: float, name: str) -> str:
  return f'<circle class="{name}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius}"/>'


def _uri(content: bytes, kind: str) -> str:
  return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
