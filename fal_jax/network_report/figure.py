"""The figure of the network report: error by temperature, by window and by decoder."""

import os
from collections.abc import Mapping
from typing import Any

from fal_jax.plots import figure


def draw_network_report(
  path: str | os.PathLike[str], report: Mapping[str, Any], *, title: str
) -> None:
  """Draws the local soft-argmax by temperature and by window, and all decoders as levels.

  Args:
    path: .png, .pdf or .svg; its folder is created.
    report: from `run.measure`.
    title: of the figure.

  Raises:
    InputError: if matplotlib is missing.
  """
  norm, own = report["norm"], report["own"]
  metric = f"nme_{norm}"
  is_marked = own["decode"] == "local_softargmax"

  fig = figure.new_figure(9.5, 4.2)
  left, right = fig.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
  for axes, name, key in ((left, "temperatures", "temperature"), (right, "windows", "window")):
    rows = report[name]
    style = figure.line_style(0, solid=True)
    axes.plot([row[key] for row in rows], [row[metric] for row in rows], marker="o", **style)
    if is_marked:
      axes.plot([own[key]], [own[metric]], "o", color="black", markersize=9, zorder=3)

  figure.log_axis(left, "x")
  figure.log_axis(left, "y")
  left.set_title(f"{title}: local soft-argmax, window {own['window']}", loc="left", fontsize=10)
  left.set_xlabel("temperature τ")
  left.set_ylabel(figure.norm_label(norm))
  mark = "     ● the run's own" if is_marked else ""
  right.set_title(f"temperature {own['temperature']:g}{mark}", loc="left", fontsize=10)
  right.set_xticks([row["window"] for row in report["windows"]])
  right.set_xlabel("side of the window, heatmap px")

  # The other decoders have no temperature or window to vary: a level each, through both panels.
  others = [row for row in report["decoders"] if row["decode"] != "local_softargmax"]
  colours = [figure.line_style(i)["color"] for i in range(1, len(others) + 1)]
  for row, colour in zip(others, colours, strict=True):
    for axes in (left, right):
      axes.axhline(row[metric], color=colour, linestyle="--", linewidth=1.2, zorder=1)
  texts = [f"{row['decode']} {row[metric]:.2f}" for row in others]
  figure.label_ends(right, [row[metric] for row in others], texts, colours)
  figure.save(fig, path)
