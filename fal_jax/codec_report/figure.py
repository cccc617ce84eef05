"""The figure of the codec report: errors of each face by codec, and by temperature."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fal_jax.errors import InputError
from fal_jax.plots import figure

# The baseline is black, the others have colours that stay distinguishable.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07800", "#3A93C4", "#666666")


def draw_codec_report(
  path: str | os.PathLike[str],
  errors: Mapping[str, ArrayLike],
  *,
  norm: str,
  temperatures: ArrayLike,
  heatmap_px: ArrayLike,
  marks: Mapping[str, tuple[float, float]],
  titles: tuple[str, str],
) -> None:
  """Draws the sorted errors of faces by codec, and the local soft-argmax's error by temperature.

  Codecs whose curves coincide share one curve, and its label names them all. Labels stand at the
  curves' ends, in their colours.

  Args:
    path: .png, .pdf or .svg; its folder is created.
    errors: by codec, (N,) NME in percent, all of the same normaliser; the baseline first.
    norm: "ic" | "ip" | "box" | "diag", or a phrase that says what 100 % is.
    temperatures: (T,) of the right panel, rising.
    heatmap_px: (T,) mean errors at these temperatures, heatmap px.
    marks: by label, the points (temperature, error) to mark on the right.
    titles: of the two panels.

  Raises:
    InputError: if matplotlib is missing, or there is no face.
  """
  curves = _distinct_curves(errors)

  fig = figure.new_figure(12.5, 5)
  left, right = fig.subplots(1, 2, width_ratios=(1.25, 1))
  _draw_faces(left, curves, norm)
  left.set_title(titles[0], loc="left", fontsize=11)

  _draw_temperatures(right, temperatures, heatmap_px, marks)
  right.set_title(titles[1], loc="left", fontsize=11)
  figure.save(fig, path)


def _distinct_curves(errors: Mapping[str, ArrayLike]) -> list[tuple[list[str], np.ndarray]]:
  """The sorted (N,) errors of each curve and the codecs that share it: those within 2 %."""
  curves: list[tuple[list[str], np.ndarray]] = []
  for name, values in errors.items():
    sorted_values = np.sort(np.asarray(values, np.float64))
    if not len(sorted_values):
      raise InputError(f"there is no error of any face to draw for {name!r}")

    same = [
      names for names, others in curves if np.allclose(others, sorted_values, rtol=0.02, atol=0)
    ]
    if same:
      same[0].append(name)
    else:
      curves.append(([name], sorted_values))
  return curves


def _draw_faces(axes: Any, curves: list[tuple[list[str], np.ndarray]], norm: str) -> None:
  """The left panel: each curve over the percentage of faces, with its label at its right end."""
  for i, (_, values) in enumerate(curves):
    # One step more than faces: a line through a single point would not be visible.
    percent = np.linspace(0, 100, len(values) + 1)
    axes.plot(percent, np.append(values[0], values), color=_colour(i), linewidth=2.2)
  figure.log_axis(axes, "y")
  axes.set_xlim(0, 100)
  axes.set_xlabel("faces, sorted by their error, %")
  axes.set_ylabel(figure.norm_label(norm))

  figure.label_ends(
    axes,
    [float(values[-1]) for _, values in curves],
    [_label(names, values) for names, values in curves],
    [_colour(i) for i in range(len(curves))],
  )


def _draw_temperatures(
  axes: Any,
  temperatures: ArrayLike,
  heatmap_px: ArrayLike,
  marks: Mapping[str, tuple[float, float]],
) -> None:
  """The right panel: (T,) mean errors in heatmap px over (T,) temperatures, with marks on it."""
  axes.plot(temperatures, heatmap_px, color="0.45", linewidth=2.2)
  for i, (label, (x, y)) in enumerate(marks.items()):
    axes.plot(
      [x],
      [y],
      "o",
      color="black",
      markerfacecolor=("white", "black")[i % 2],
      markersize=8,
      markeredgewidth=2,
      zorder=3,
      label=f"{label}, {y:.3g} px",
    )
  figure.log_axis(axes, "x")
  figure.log_axis(axes, "y")

  # Leaves room for the legend below the valley, however deep it is.
  low, high = np.min(heatmap_px), np.max(heatmap_px)
  axes.set_ylim(low * min(low / high, 0.2) ** 0.22)
  axes.legend(loc="lower left", fontsize=9.5, frameon=False, handletextpad=0.2)
  axes.set_xlabel("temperature τ")
  axes.set_ylabel("mean error, heatmap px")


def _label(names: list[str], values: np.ndarray) -> str:
  """All names of a curve and the mean of its (N,) values, in percent."""
  mean = f"{np.mean(values):#.2g}".rstrip(".")
  return "\n= ".join(names).replace(", ", ",\n") + f"\nmean {mean} %"


def _colour(i: int) -> str:
  return _COLOURS[i % len(_COLOURS)]
