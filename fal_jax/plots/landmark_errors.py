"""Where on the face the errors are: a picture of landmarks, without a photograph."""

import os
import pathlib

import numpy as np
from numpy.typing import ArrayLike

from fal_jax import landmarks
from fal_jax.plots.figure import new_figure, norm_label


def draw_landmark_errors(
  path: str | os.PathLike[str],
  true: ArrayLike,
  norms: ArrayLike,
  errors: ArrayLike,
  *,
  markup: int | landmarks.Markup,
  norm: str,
) -> None:
  """Draws the mean error of each landmark as a circle on the mean shape, true to scale, and names
  the worst by their numbers.

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
  markup = markup if isinstance(markup, landmarks.Markup) else landmarks.markup(markup)
  true, errors = np.asarray(true, np.float64), np.asarray(errors, np.float64)
  low, high = np.nanmin(true, 1, keepdims=True), np.nanmax(true, 1, keepdims=True)
  size = np.sqrt(np.prod(high - low, -1, keepdims=True))
  known = np.isfinite(errors)
  shape = np.full((markup.num, 2), np.nan)
  shape[known] = np.nanmean(((true - (low + high) / 2) / size)[:, known], 0)
  unit = (
    float(np.mean(np.asarray(norms, np.float64) / size[:, 0, 0])) / 100
  )  # of one percent, in sizes of the face
  figure = new_figure(6.4, 6.0)
  from matplotlib.collections import EllipseCollection
  from matplotlib.patheffects import withStroke

  axes = figure.add_subplot()
  for a, b in markup.edges:
    axes.plot(*shape[[a, b]].T, color="0.75", linewidth=1, zorder=1)
  axes.plot(*shape[known].T, ".", color="0.35", markersize=3, zorder=3)
  across = 2 * unit * errors[known]
  circles = EllipseCollection(
    across,
    across,
    0 * across,
    units="xy",
    offsets=shape[known],
    offset_transform=axes.transData,
    cmap="viridis_r",
    alpha=0.75,
    edgecolor="0.2",
    linewidth=0.4,
    zorder=2,
  )
  circles.set_array(errors[known])
  axes.add_collection(circles)
  for k in np.argsort(-np.where(known, errors, -1), kind="stable")[: min(5, known.sum())]:
    top = shape[k] - [0, unit * errors[k]]
    axes.annotate(
      f"{k}: {errors[k]:.1f}",
      top,
      (0, 2),
      textcoords="offset points",
      fontsize=8,
      ha="center",
      va="bottom",
      zorder=4,
      path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )
  axes.set_aspect("equal")
  axes.invert_yaxis()
  axes.margins(0.1)
  axes.set_axis_off()
  axes.set_title(
    "mean error of each landmark, circles true to scale; the five worst by number", fontsize=9
  )
  bar = figure.colorbar(circles, ax=axes, shrink=0.7, pad=0.02)
  bar.set_label(norm_label(norm))
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path)
