"""The figures of the network report: error by decoder, and agreement of views while learning."""

import os
from collections.abc import Mapping
from typing import Any

from fal_jax.plots import figure, talk


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


def draw_learning(path: str | os.PathLike[str], report: Mapping[str, Any], *, command: str) -> None:
  """Draws error and agreement of views against the training step, a line per run.

  Args:
    path: .png, .pdf or .svg, see `figure.write`.
    report: from `learning.run`.
    command: that makes the figure again.

  Raises:
    InputError: if matplotlib is missing.
  """
  norm, views, runs = report["norm"], report["views"], report["runs"]
  seeds = sorted({run["provenance"]["seed"] for run in runs.values()})
  fig = talk.new_figure(
    "Do views of a face agree while the network learns?",
    f"{report['num_images']:,} faces of {report['dataset']}, {report['split']}; every checkpoint "
    f"on disk. Left: how far a landmark lies from its mean over {views['number']} random views of "
    f"its face, the same for all runs (root mean square; rotation {views['rotation']:g}°, scale "
    f"{views['scale'][0]:g} to {views['scale'][1]:g}, mirror, colour). Right: the error on upright "
    f"crops. One run per line, seed {', '.join(map(str, seeds))}.",
    command=command,
  )
  phrase = f"% of the {figure.norm_phrase(norm)}"
  panels = fig.subplots(1, 2)
  colours = [talk.STANDARD, talk.PAPER, talk.OURS, *talk.OTHERS]
  for axes, key, title in (
    (panels[0], "agreement", "spread of the views"),
    (panels[1], "nme", "error"),
  ):
    for i, run in enumerate(runs.values()):
      steps = [point["step"] for point in run["points"]]
      values = [point[key] for point in run["points"]]
      style = {"color": colours[i % len(colours)], "linewidth": talk.LINE, "markersize": 8}
      axes.plot(steps, values, marker="os^Dv"[i % 5], **style)
    figure.log_axis(axes, "y")
    talk.name_axes(axes, x="training step", y=phrase, title=title)

  ends = [run["points"][-1]["nme"] for run in runs.values()]
  texts = []
  for label, run in runs.items():
    last = run["points"][-1]
    texts.append(f"{label}\nspread {last['agreement']:.2f} %,\nerror {last['nme']:.2f} %")
  talk.label_lines(panels[1], ends, texts, [colours[i % len(colours)] for i in range(len(runs))])
  talk.save(fig, path)
