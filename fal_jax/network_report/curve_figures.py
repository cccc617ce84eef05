"""Figures of --parts: robustness as small multiples; reliability and risk of confidences."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fal_jax import metrics
from fal_jax.plots import figure
from fal_jax.scoring.confidence import COVERAGES

_COLUMNS = 4
_CONFIDENCES = {
  "score": "score (height of the peak)",
  "covariance": "covariance (spread of the heat)",
  "views": "disagreement of {views} views",
}


def draw_robustness(path: str | os.PathLike[str], reports: Mapping[str, Mapping[str, Any]]) -> None:
  """Draws the error against each factor, above the share of lost faces; a line per network.

  Args:
    path: .png, .pdf or .svg, see `figure.write`.
    reports: label -> from `robustness.measure`.

  Raises:
    InputError: if matplotlib is missing.
  """
  first = next(iter(reports.values()))
  bands = -(-len(first["factors"]) // _COLUMNS)
  fig = figure.new_figure(10, 3.5 * bands + 0.4)
  grid = fig.subplots(2 * bands, _COLUMNS, squeeze=False, height_ratios=[2, 1] * bands)
  every = [
    point
    for report in reports.values()
    for factor in report["factors"]
    for point in factor["points"]
  ]
  lowest, highest = (pick(point["nme"] for point in every) for pick in (min, max))
  most = max(10.0, *(point["catastrophic"] for point in every))

  for number, factor in enumerate(first["factors"]):
    band, column = divmod(number, _COLUMNS)
    above, below = grid[2 * band : 2 * band + 2, column]
    for axes, key in ((above, "nme"), (below, "catastrophic")):
      for i, (label, report) in enumerate(reports.items()):
        points = report["factors"][number]["points"]
        x, y = ([point[name] for point in points] for name in ("value", key))
        style = figure.line_style(i)
        axes.plot(x, y, marker="osD^v"[i % 5], markersize=3.5, label=label, **style)
      axes.axvline(factor["none"], color="0.6", linewidth=1, linestyle=":", zorder=1)
      if factor["is_log"]:
        figure.log_axis(axes, "x")
      if factor["none"] == max(point["value"] for point in factor["points"]):
        axes.invert_xaxis()  # what is harder lies to the right

    above.set_ylim(lowest / 1.1, highest * 1.1)
    figure.log_axis(above, "y")
    below.set_ylim(0, most * 1.05)
    above.set_title(factor["name"], loc="left", fontsize=10)
    above.tick_params(labelbottom=False)
    below.set_xlabel(factor["unit"], fontsize=9)
    if column == 0:
      above.set_ylabel(f"NME$_{{{first['norm']}}}$, %")
      below.set_ylabel(f"faces above\n{metrics.CATASTROPHIC:g} %, %")
  for axes in grid.flat:
    axes.set_visible(bool(axes.lines))

  where = f"{first['num_images']:,} faces of {first['dataset']}, {first['split']}"
  title = f"Error against what makes a face harder: {where}, box: {first['box']}"
  fig.suptitle(title, x=0.01, ha="left", fontsize=11)
  lines, labels = grid[0, 0].get_legend_handles_labels()
  fig.legend(lines, labels, loc="outside upper right", ncols=len(labels), frameon=False)
  figure.save(fig, path)


def draw_calibration(
  path: str | os.PathLike[str], report: Mapping[str, Any], *, label: str
) -> None:
  """Draws predicted against true errors, and the error of the most certain landmarks.

  Args:
    path: .png, .pdf or .svg, see `figure.write`.
    report: from `calibration.measure`.
    label: of the network.

  Raises:
    InputError: if matplotlib is missing.
  """
  fig = figure.new_figure(9.6, 4.4)
  left, right = fig.subplots(1, 2)
  confidences = report["confidences"]
  ends = []
  for i, (name, result) in enumerate(confidences.items()):
    style = {**figure.line_style(i, solid=True), "marker": "osD"[i], "markersize": 5}
    style["label"] = _CONFIDENCES[name].format(views=report["views"])
    curve = result["reliability"]
    left.plot(curve["predicted"], curve["true"], **style)
    ends += [*curve["predicted"], *curve["true"]]
    right.plot(COVERAGES, result["landmarks"]["risk"], **style)

  ends = [value for value in ends if value > 0]
  span = [min(ends) / 1.2, max(ends) * 1.2]
  left.plot(span, span, color="0.5", linestyle="--", linewidth=1.2, label="perfect", zorder=1)
  left.set(xlim=span, ylim=span)
  for which in "xy":
    figure.log_axis(left, which)
  left.set_title("Reliability, by tenths of the landmarks", loc="left", fontsize=10)
  left.set_xlabel("predicted error, root mean square, %")
  left.set_ylabel("true error, root mean square, %")

  of_all = next(iter(confidences.values()))["landmarks"]
  grey = {"color": "0.5", "linewidth": 1.2, "zorder": 1}
  right.plot(COVERAGES, np.full(len(COVERAGES), of_all["random"]), ":", label="random", **grey)
  right.plot(COVERAGES, of_all["oracle_risk"], "--", label="oracle", **grey)
  right.set(xlim=(0, 102), ylim=(0, None))
  right.set_title("Risk and coverage", loc="left", fontsize=10)
  right.set_xlabel("most certain landmarks, % of all")
  right.set_ylabel("their mean error, %")
  where = f"{report['num_images']:,} faces of {report['dataset']}, {report['split']}"
  unit = f"100 % is the {figure.norm_phrase(report['norm'])}"
  fig.suptitle(f"Confidences of {label}: {where}; {unit}", x=0.01, ha="left", fontsize=11)
  for axes in (left, right):
    axes.legend(fontsize=8, frameon=False)
  figure.save(fig, path)
