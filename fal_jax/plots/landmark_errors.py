"""Where on the face the errors are: a figure of landmarks, without a photograph."""

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fal_jax.landmarks import Markup, as_markup
from fal_jax.plots.figure import new_figure, norm_label, write

NUM_NAMED = 5  # the worst landmarks, which the figure names


def draw_landmark_errors(
  path: str | os.PathLike[str],
  true: ArrayLike,
  norms: ArrayLike,
  errors: ArrayLike,
  *,
  markup: int | Markup,
  norm: str,
) -> None:
  """Draws the mean error of each landmark as a circle on the mean shape, true to scale.

  The worst landmarks are named by their numbers.

  Args:
    path: .png, .pdf or .svg; its folder is created.
    true: (N, K, 2) annotated landmarks, px; NaN where not annotated. Each is moved and scaled to
      its box before the mean.
    norms: (N,) normalisers, px.
    errors: (K,) mean errors in percent of the normaliser; NaN for a landmark that is not drawn.
    markup: the mark-up, or its number of landmarks; it knows the lines.
    norm: as in `draw_ced`.

  Raises:
    InputError: if matplotlib is missing.
  """
  errors = np.asarray(errors, np.float64)
  known = np.isfinite(errors)
  shape, sizes = _mean_shape(np.asarray(true, np.float64), known)
  # One percent of the normaliser, in sizes of the face.
  unit = float(np.mean(np.asarray(norms, np.float64) / sizes)) / 100

  figure = new_figure(6.4, 6.0)
  axes = figure.add_subplot()
  for a, b in as_markup(markup).edges:
    axes.plot(*shape[[a, b]].T, color="0.75", linewidth=1, zorder=1)
  axes.plot(*shape[known].T, ".", color="0.35", markersize=3, zorder=3)
  circles = _add_circles(axes, shape[known], 2 * unit * errors[known], errors[known])

  worst = np.argsort(-np.where(known, errors, -1), kind="stable")
  for k in worst[: min(NUM_NAMED, known.sum())]:
    _add_name(axes, f"{k}: {errors[k]:.1f}", shape[k] - [0, unit * errors[k]])

  axes.set_aspect("equal")
  axes.invert_yaxis()
  axes.margins(0.1)
  axes.set_axis_off()
  axes.set_title(
    "mean error of each landmark, circles true to scale; the five worst by number", fontsize=9
  )
  bar = figure.colorbar(circles, ax=axes, shrink=0.7, pad=0.02)
  bar.set_label(norm_label(norm))
  write(figure, path)


def _mean_shape(true: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean of all faces after each is moved and scaled to its box.

  Args:
    true: (N, K, 2) landmarks, px; NaN where not annotated.
    known: (K,) bool, the landmarks that some face has.

  Returns:
    (K, 2) in sizes of the face, NaN where not known; and (N,) the sizes, px: diagonals, since the
    box of landmarks on one line has no area, and 1 for a landmark alone.
  """
  low, high = np.nanmin(true, 1, keepdims=True), np.nanmax(true, 1, keepdims=True)
  size = np.linalg.norm(high - low, axis=-1, keepdims=True)
  size = np.where(size > 0, size, 1)

  shape = np.full(true.shape[1:], np.nan)
  shape[known] = np.nanmean(((true - (low + high) / 2) / size)[:, known], 0)
  return shape, size[:, 0, 0]


def _add_circles(axes: Any, centres: np.ndarray, across: np.ndarray, errors: np.ndarray) -> Any:
  """Circles around centres (M, 2), `across` (M,) in the same unit, coloured by errors (M,)."""
  from matplotlib.collections import EllipseCollection

  circles = EllipseCollection(
    across,
    across,
    0 * across,
    units="xy",
    offsets=centres,
    offset_transform=axes.transData,
    cmap="viridis_r",
    alpha=0.75,
    edgecolor="0.2",
    linewidth=0.4,
    zorder=2,
  )
  circles.set_array(errors)
  axes.add_collection(circles)
  return circles


def _add_name(axes: Any, text: str, top: np.ndarray) -> None:
  """A text above a point (2,)."""
  from matplotlib.patheffects import withStroke

  axes.annotate(
    text,
    top,
    (0, 2),
    textcoords="offset points",
    fontsize=8,
    ha="center",
    va="bottom",
    zorder=4,
    path_effects=[withStroke(linewidth=2.5, foreground="white")],
  )
