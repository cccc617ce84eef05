"""One landmark through a network: the heatmap of each stack, of two random views, and their sum."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fal_jax import affine, crop, network, siamese, steps
from fal_jax.build import Setup
from fal_jax.errors import InputError, join_names
from fal_jax.heatmap import Decoding
from fal_jax.landmarks import Markup
from fal_jax.plots import figure, talk

NUM_VIEWS = 2
SEED = 0  # of the views
REACH = 6  # cells to each side of the peak that are enlarged
# How each heatmap is read: name -> decoder, colour, marker. Told apart by their shapes alone, too.
READINGS: dict[str, tuple[Decoding, str, str]] = {
  "argmax": ("argmax", "#FFFFFF", "s"),
  "local soft-argmax": ("local_softargmax", "#56B4E9", "o"),
  "calibrated (ours)": ("calibrated", "#E69F00", "D"),
}
_TRUTH = ("annotated", "#00E68A", "x")
_SIZES = {"s": 17, "o": 13, "D": 8, "x": 12}  # pt: all are seen where they lie on one spot


class Panel(NamedTuple):
  """One heatmap of a landmark.

  Attributes:
    name: what it is.
    image: (H, H, 3) uint8 that the network saw, in its own frame.
    heatmap: (h, h) float32 in the frame of that image.
    in_crop: (h, h) float32, the same heatmap in the frame of the upright crop.
    readings: name -> (2,) px of the upright crop, by each of `READINGS`.
  """

  name: str
  image: np.ndarray
  heatmap: np.ndarray
  in_crop: np.ndarray
  readings: Mapping[str, np.ndarray]


class Looks(NamedTuple):
  """All heatmaps of one face.

  Attributes:
    crop: (H, H, 3) uint8, the upright crop.
    crop_from_image: (2, 3) float64.
    views: (V, H, H, 3) uint8, as the network saw them.
    stacks: (S, h, h, K) float32, of the upright crop.
    in_views: (V, h, h, K) float32, of the last stack, each in the frame of its view and under the
      names that landmarks have there.
    pulled_back: (V, h, h, K) float32, the same in the frame of the crop, under their own names.
    combined: (h, h, K) float32, their sum, Eq. 6.
    seen: (h, h) float32, how many views saw each cell.
    mirrored: (V,) bool.
  """

  crop: np.ndarray
  crop_from_image: np.ndarray
  views: np.ndarray
  stacks: np.ndarray
  in_views: np.ndarray
  pulled_back: np.ndarray
  combined: np.ndarray
  seen: np.ndarray
  mirrored: np.ndarray


def numbers(texts: Sequence[str], markup: Markup) -> list[int]:
  """The landmarks that a user names by --heatmaps.

  Args:
    texts: their numbers, from 0, or their names.
    markup: that has them.

  Returns:
    Their numbers, each once.

  Raises:
    InputError: there is no such landmark.
  """
  known = {name: k for k, name in enumerate(markup.names)}
  known |= {str(k): k for k in range(markup.num)}
  if unknown := [text for text in texts if text.strip() not in known]:
    raise InputError(
      f"--heatmaps: there is no landmark {join_names(unknown)}; give numbers from 0 to "
      f"{markup.num - 1} or names such as {markup.names[0]}."
    )
  return list(dict.fromkeys(known[text.strip()] for text in texts))


def make_look(setup: Setup, variables: Any) -> Callable[[np.ndarray, np.ndarray], Looks]:
  """What runs the network on faces, upright and in two random views, as Siamese training has them.

  Args:
    setup: gives the network, the crop and the ranges of the views.
    variables: `params` and `batch_stats`.

  Returns:
    A function of an image (H, W, 3) uint8 RGB and the box (4,) x0, y0, x1, y1 of a face, image px,
    which gives its heatmaps. It compiles at its first call.
  """
  rule = setup.crop
  stored_rule = dataclasses.replace(rule, size=rule.stored_size)
  recipe = dataclasses.replace(
    setup.recipe(steps_per_epoch=1), model=setup.network, num_views=NUM_VIEWS, seed=SEED
  )
  run = jax.jit(functools.partial(_heatmaps, recipe=recipe))

  def look(image: np.ndarray, box: np.ndarray) -> Looks:
    crop_from_image = crop.crop_from_image(box, rule)
    upright = crop.extract(image, crop_from_image, rule.size)
    stored_from_image = crop.crop_from_image(box, stored_rule)
    stored = crop.extract(image, stored_from_image, rule.stored_size)
    views, mirrored, stacks, in_views, pulled_back, combined, seen = jax.tree.map(
      np.asarray, run(variables, upright, stored)
    )
    return Looks(
      crop=upright,
      crop_from_image=crop_from_image,
      views=np.round(255 * np.clip(views, 0, 1)).astype(np.uint8),
      stacks=stacks,
      in_views=in_views,
      pulled_back=pulled_back,
      combined=combined,
      seen=seen,
      mirrored=mirrored,
    )

  return look


def _heatmaps(
  variables: Any, upright: jax.Array, stored: jax.Array, *, recipe: steps.Recipe
) -> tuple[jax.Array, ...]:
  """What `Looks` holds besides the crop, of upright (H, H, 3) and stored (Hs, Hs, 3), uint8."""
  views = steps.sample_views(recipe, jnp.zeros((), jnp.int32), jnp.zeros(1, jnp.int32))
  images = steps.render_views(recipe, stored[None], views)  # (V, 1, H, H, 3)
  batch = jnp.concatenate([upright[None].astype(jnp.float32) / 255, images[:, 0]])
  heatmaps = network.predict(recipe.model, variables, batch).heatmaps.astype(jnp.float32)

  flip, stride = jnp.asarray(recipe.flip), recipe.codec.stride
  in_views = heatmaps[-1, 1:]  # (V, h, h, K)
  first = jax.tree.map(lambda array: array[:, 0], views)
  pulled_back, _ = jax.vmap(functools.partial(siamese.pull_back, stride=stride, flip=flip))(
    in_views, first
  )
  combined, seen = siamese.combine(
    in_views[None, :, None], views, stride=stride, flip=flip, reduce="sum"
  )
  stacks = heatmaps[:, 0]
  return images[:, 0], first.mirrored, stacks, in_views, pulled_back, combined[0, 0], seen[0]


def panels(looks: Looks, setup: Setup, landmark: int) -> list[Panel]:
  """The heatmaps of one landmark, in the order in which they are drawn.

  Args:
    looks: from `make_look`.
    setup: gives the codec and the mark-up.
    landmark: its number, from 0.

  Returns:
    A panel for each stack, each view, and the sum of the views. The sum is read at the height of
    one view, by how many saw each cell: the soft-argmax depends on the height.
  """
  count = len(looks.stacks)
  result = [
    _panel("network" if count == 1 else f"stack {i + 1}", looks.crop, stack, stack, setup)
    for i, stack in enumerate(looks.stacks[..., landmark])
  ]
  for i, mirrored in enumerate(looks.mirrored.tolist()):
    named = setup.markup.flip[landmark] if mirrored else landmark
    name = f"view {i + 1}{', mirrored' if mirrored else ''}"
    pulled = looks.pulled_back[i, ..., landmark]
    result.append(_panel(name, looks.views[i], looks.in_views[i, ..., named], pulled, setup))

  total = looks.combined[..., landmark]
  of_one = total / np.maximum(looks.seen, 1)
  panel = _panel("sum of the views", looks.crop, total, of_one, setup)
  return [*result, panel._replace(in_crop=total)]


def _panel(
  name: str, image: np.ndarray, heatmap: np.ndarray, in_crop: np.ndarray, setup: Setup
) -> Panel:
  """A panel whose readings are of `in_crop` (h, h)."""
  readings = {}
  for label, (decoding, _, _) in READINGS.items():
    # The amplitude warns about encoding, which is not done here; a window of 1 has no fit.
    codec = dataclasses.replace(
      setup.codec, decoding=decoding, amplitude="peak_one", window=max(setup.codec.window, 3)
    )
    landmarks, _ = codec.decode(jnp.asarray(in_crop[..., None]))
    readings[label] = np.asarray(landmarks, np.float64)[0]
  return Panel(name, image, heatmap, in_crop, readings)


def draw(
  path: str | os.PathLike[str],
  looks: Looks,
  setup: Setup,
  landmark: int,
  *,
  truth: np.ndarray | None = None,
  caption: str,
  command: str = "",
) -> None:
  """Draws one landmark: images with their heatmaps above, the cells around the peak below.

  Args:
    path: .png, .pdf or .svg, see `figure.write`.
    looks: from `make_look`.
    setup: gives the codec and the mark-up.
    landmark: its number, from 0.
    truth: (2,) image px, where it is annotated; None or NaN where that is not known.
    caption: which network and which face.
    command: what makes the figure again.

  Raises:
    InputError: if matplotlib is missing.
  """
  shown = panels(looks, setup, landmark)
  stride, side = setup.codec.stride, 2 * REACH + 1
  heatmap_from_crop = affine.shrink(stride)
  last = shown[len(looks.stacks) - 1]
  peak = affine.apply(heatmap_from_crop, np.asarray(last.readings["argmax"]))
  centre = np.asarray(np.round(peak))
  marks = {label: style[1:] for label, style in READINGS.items()}
  known = {}
  if truth is not None and np.isfinite(truth).all():
    label, *style = _TRUTH
    marks[label] = (style[0], style[1])
    known[label] = affine.apply(looks.crop_from_image, truth)

  fig = talk.new_figure(
    f"{landmark}: {setup.markup.names[landmark].replace('_', ' ')}",
    f"{caption} Above: what the network saw, with its heatmap. Below: the {side} x {side} cells "
    f"around the peak, in the frame of the upright crop (one cell: {stride:g} of "
    f"{looks.crop.shape[0]} px). The views are random ones, as in training: the last stack's "
    "heatmaps, pulled back; their sum is Eq. 6.",
    command=command,
  )
  grid = fig.subplots(2, 1 + len(shown))

  # The first column is the photograph alone, below at the magnification of the cells.
  corner = affine.apply(affine.invert(heatmap_from_crop), centre - REACH - 0.5)
  width = side * stride
  grid[0, 0].imshow(looks.crop)
  grid[0, 0].add_patch(_rectangle(corner, width))
  grid[0, 0].set_title("crop", fontsize=talk.TICKS)
  grid[1, 0].imshow(looks.crop)
  grid[1, 0].set_xlim(corner[0], corner[0] + width)
  grid[1, 0].set_ylim(corner[1] + width, corner[1])
  _mark(grid[1, 0], {**last.readings, **known}, marks)

  for column, panel in enumerate(shown, 1):
    above, below = grid[:, column]
    _draw_overlay(above, panel)
    _draw_cells(below, panel, centre)
    points = {**panel.readings, **known}
    cells = {label: affine.apply(heatmap_from_crop, point) for label, point in points.items()}
    _mark(below, cells, marks)

  for axes in grid.flat:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
  _add_legend(fig, marks)
  figure.write(fig, path)


def _draw_overlay(axes: Any, panel: Panel) -> None:
  """What the network saw, in grey, under its heatmap, which is scaled to its own peak."""
  height, width = panel.image.shape[:2]
  heat = np.clip(panel.heatmap / max(panel.heatmap.max(), 1e-6), 0, 1)
  extent = (-0.5, width - 0.5, height - 0.5, -0.5)
  axes.imshow(panel.image.mean(-1), cmap="gray", vmin=0, vmax=255)
  axes.imshow(heat, cmap="inferno", alpha=0.85 * heat, extent=extent, interpolation="bilinear")
  axes.set_title(panel.name, fontsize=talk.TICKS)


def _draw_cells(axes: Any, panel: Panel, centre: np.ndarray) -> None:
  """The cells around (2,) heatmap px; grey beyond the map."""
  peak = float(panel.in_crop.max())
  axes.imshow(panel.in_crop, cmap="inferno", vmin=0, vmax=max(peak, 1e-6))
  axes.set_xlim(centre[0] - REACH - 0.5, centre[0] + REACH + 0.5)
  axes.set_ylim(centre[1] + REACH + 0.5, centre[1] - REACH - 0.5)
  axes.set_facecolor("0.85")
  axes.set_title(f"peak {peak:.2f}", fontsize=talk.TICKS)


def _mark(
  axes: Any, points: Mapping[str, np.ndarray], marks: Mapping[str, tuple[str, str]]
) -> None:
  """Marks points, name -> (2,) in the frame of the axes."""
  for label, point in points.items():
    axes.plot(*point, **_mark_style(*marks[label]))


def _rectangle(corner: np.ndarray, side: float) -> Any:
  """A square with its top left at (2,) px."""
  from matplotlib.patches import Rectangle

  return Rectangle(tuple(corner), side, side, fill=False, edgecolor="#00E68A", linewidth=2.5)


def _mark_style(colour: str, marker: str) -> dict[str, Any]:
  """Keywords of `axes.plot` for one mark: hollow, with a dark rim, on any ground."""
  from matplotlib.patheffects import withStroke

  return {
    "marker": marker,
    "linestyle": "none",
    "color": colour,
    "markerfacecolor": "none",
    "markersize": _SIZES[marker],
    "markeredgewidth": 2.4,
    "path_effects": [withStroke(linewidth=4.4, foreground="black")],
    "clip_on": True,
  }


def _add_legend(fig: Any, marks: Mapping[str, tuple[str, str]]) -> None:
  from matplotlib.lines import Line2D

  handles = [
    Line2D([], [], label=label, **_mark_style(colour, marker))
    for label, (colour, marker) in marks.items()
  ]
  fig.legend(
    handles=handles,
    loc="outside upper right",
    ncols=len(handles),
    fontsize=13,
    frameon=False,
    handletextpad=0.3,
    columnspacing=1.4,
  )
