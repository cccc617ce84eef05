"""Shapes and counts as vector drawings: SVG text that stands inside an HTML page, sharp at every
size, in light and dark.

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


def mean_shape(
  mean: np.ndarray, mirror: np.ndarray | None, markup: Markup, *, width: int = 820
) -> str:
  """Draws a shape with its numbers, lines between the partners of the flip permutation, and rings
  for its mirror image.

  Args:
    mean: (K, 2), any unit; NaN for an unknown landmark, which is left out.
    mirror: (K, 2) its mirror image under the permutation, same frame; None draws no rings and no
      pairs.
    markup: edges, sides and pairs.
    width: of the drawing.

  Returns:
    An <svg> element.
  """
  known = np.isfinite(mean).all(-1)
  if not known.any():
    raise InputError("the mean shape has no landmark that is known: there is nothing to draw")
  low, high = mean[known].min(0), mean[known].max(0)
  scale = (width - 100) / max(high[0] - low[0], 0.8 * (high[1] - low[1]), 1e-9)
  middle = np.array([width / 2 - scale * (low[0] + high[0]) / 2, 45 - scale * low[1]])
  at = scale * mean + middle
  height = round(scale * (high[1] - low[1]) + 90)
  parts = [
    f'<svg class="shape" viewBox="0 0 {width} {height}" role="img"><title>Mean shape with landmark numbers</title>'
  ]
  if mirror is not None:
    for k, partner in enumerate(markup.flip):
      if k < partner and known[k] and known[partner]:
        parts.append(_line(at[k], at[partner], "pair"))
  parts += [_line(at[a], at[b], "line") for a, b in markup.edges if known[a] and known[b]]
  if mirror is not None:
    parts += [
      _circle(point, 6.5, "mirror") for point in scale * mirror + middle if np.isfinite(point).all()
    ]
  parts += [_circle(at[k], 3.6, side(markup, k)) for k in np.flatnonzero(known).tolist()]
  rows = np.flatnonzero(known).tolist()
  for k, place in zip(rows, _label_places(at[known], distance=15.0), strict=True):
    parts.append(f'<text x="{place[0]:.1f}" y="{place[1] + 4:.1f}">{k}</text>')
  return "".join([*parts, "</svg>"])


def face(
  jpeg: bytes,
  points: np.ndarray,
  markup: Markup,
  *,
  visible: np.ndarray,
  box: np.ndarray,
  size: int,
) -> str:
  """Draws a picture of a face with its landmarks, hollow where hidden, and a dashed box.

  Args:
    jpeg: the picture, size x size px.
    points: (K, 2) px of the picture, pixel-centre; NaN where not annotated.
    markup: edges and sides.
    visible: (K,) bool.
    box: (4,) px of the picture; NaN draws none.
    size: side of the picture, px.

  Returns:
    An <svg> element that holds the picture as a data URI.
  """
  known = (np.abs(points) < 1e4).all(
    -1
  )  # NaN is not; nor needs to be drawn what is that far outside
  at = np.where(known[:, None], points, 0) + 0.5  # SVG's origin is the corner of the first pixel
  picture = f'<image width="{size}" height="{size}" href="{_uri(jpeg, "jpeg")}"/>'
  parts = [f'<svg class="face" viewBox="0 0 {size} {size}" role="img">{picture}']
  if (np.abs(box) < 1e4).all():
    parts.append(_rect(box[:2] + 0.5, np.maximum(box[2:] - box[:2], 0), "box"))
  parts += [_line(at[a], at[b], "edge") for a, b in markup.edges if known[a] and known[b]]
  radius = 1.5 if markup.num > 80 else 1.8
  for k in np.flatnonzero(known).tolist():
    parts.append(_circle(at[k], radius, side(markup, k) + ("" if visible[k] else " hidden")))
  return "".join([*parts, "</svg>"])


def histogram(
  counts: Sequence[int], edges: Sequence[float], *, label: str, width: int = 760, height: int = 110
) -> str:
  """Draws counts over bins on a logarithmic axis of px, with ticks at powers of two.

  Args:
    counts: of M bins.
    edges: M + 1 limits, rising geometrically.
    label: what a screen reader says.
    width: of the drawing.
    height: of the drawing.

  Returns:
    An <svg> element.
  """
  first, last, most = np.log2(edges[0]), np.log2(edges[-1]), max(*counts, 1)
  floor = height - 22

  def place(value: float) -> float:
    return float(width * (np.log2(value) - first) / (last - first))

  parts = [
    f'<svg class="histogram" viewBox="0 0 {width} {height}" role="img"><title>{html.escape(label)}</title>'
  ]
  for bin_, (count, left, right) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True)):
    if count:
      tall = max(1.5, (floor - 16) * count / most)
      tip = f"{left:.0f} to {right:.0f} px: {count:,} faces"
      low, wide = np.array([place(left) + 1, floor - tall]), place(right) - place(left) - 2
      parts.append(_rect(low, np.array([wide, tall]), "bar", tip=tip))
      if bin_ == np.argmax(counts):
        parts.append(
          f'<text x="{(place(left) + place(right)) / 2:.1f}" y="{floor - tall - 5:.1f}">{count:,}</text>'
        )
  parts.append(_line(np.array([0, floor]), np.array([width, floor]), "axis"))
  for power in range(int(np.ceil(first)), int(np.floor(last)) + 1):
    anchor = "start" if place(2**power) < 8 else "end" if place(2**power) > width - 8 else "middle"
    parts.append(
      f'<text x="{place(2**power):.1f}" y="{height - 5}" style="text-anchor:{anchor}">{2**power}</text>'
    )
  return "".join([*parts, "</svg>"])


def heat(counts: np.ndarray, *, margin: int, band: int, width: int = 360) -> str:
  """Draws how often landmarks fall on each heatmap cell, with the heatmap's border and the band
  inside it.

  Args:
    counts: (H, W) int, the cells and `margin` more all round.
    margin: cells outside the heatmap, on each side.
    band: width of the band, cells.
    width: of the drawing.

  Returns:
    An <svg> element.
  """
  side = counts.shape[0]
  strength = np.log1p(counts) / max(np.log1p(counts.max()), 1e-9)
  pixels = np.zeros((*counts.shape, 4), np.uint8)
  pixels[..., :3] = (216, 120, 32)  # BGR of a blue that is seen on white and on black
  pixels[..., 3] = np.round(255 * strength)
  png = cv2.imencode(".png", pixels)[1].tobytes()
  inner = side - 2 * margin
  title = f"<title>Landmarks on the {inner} x {inner} cells of the heatmap</title>"
  picture = f'<image class="cells" width="{side}" height="{side}" href="{_uri(png, "png")}"/>'
  for name, at in (("axis", margin), ("pair", margin + band)):
    picture += _rect(np.full(2, at), np.full(2, side - 2 * at), name)
  head = f'<svg class="heat" style="max-width:{width}px" viewBox="0 0 {side} {side}" role="img">'
  return f"{head}{title}{picture}</svg>"


def side(markup: Markup, k: int) -> str:
  """Class of a landmark's colour: "right", "left" or "middle", by its name."""
  return next(
    (side for side in ("right", "left") if markup.names[k].startswith(f"{side}_")), "middle"
  )


def _label_places(points: np.ndarray, *, distance: float) -> np.ndarray:
  """(K, 2) places for numbers beside (K, 2) points: one after the other, in the direction where
  most room is left.
  """
  angles = np.arange(16) * np.pi / 8
  ring = distance * np.stack([np.cos(angles), np.sin(angles)], -1)
  places: list[np.ndarray] = []
  for k, point in enumerate(points):
    taken = np.concatenate([np.delete(points, k, 0), np.reshape(places, (-1, 2)), [[1e6, 1e6]]])
    candidates = point + ring
    gap = np.linalg.norm(
      (candidates[:, None] - taken) / [1.3, 1.0], axis=-1
    )  # numbers are wider than high
    places.append(candidates[gap.min(1).argmax()])
  return np.array(places)


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
