"""The codec's figures for a talk: error by position in a cell, by setting, and by noise."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fal_jax.codec_report.sweeps import Curves
from fal_jax.plots import figure, talk

_COLOURS = {
  "argmax": talk.STANDARD,
  "local_softargmax": talk.PAPER,
  "calibrated": talk.OURS,
  "quarter_offset": talk.OTHERS[0],
  "dark": talk.OTHERS[1],
}
_NAMES = {
  "argmax": "argmax",
  "local_softargmax": "local soft-argmax\n(the paper's)",
  "calibrated": "calibrated (ours)",
  "quarter_offset": "quarter offset",
  "dark": "DARK",
}
# Below this an error is rounding of float32, whose exact value says nothing.
_ROUNDING = 1e-5


def draw_position(
  path: str | os.PathLike[str], curves: Curves, *, caption: str, command: str
) -> None:
  """Draws the error against the position in a cell: signed, and its size on a logarithmic axis.

  Args:
    path: .png, .pdf or .svg, see `figure.write`.
    curves: from `sweeps.by_position`.
    caption: what was measured.
    command: that makes the figure again.
  """
  fig = talk.new_figure(
    "The error depends on where in its cell a landmark lies", caption, command=command
  )
  left, right = fig.subplots(1, 2)
  x = curves["position"]
  drawn = _distinct(curves)
  for names, values in drawn:
    colour = _pair_colour(names)
    for axes, kind in ((left, "signed"), (right, "absolute")):
      axes.plot(x, np.array(values[kind], float), color=colour, linewidth=talk.LINE)

  talk.name_axes(left, x="position in the cell, heatmap px", y="error, heatmap px", title="signed")
  talk.name_axes(right, x="position in the cell, heatmap px", y="", title="its size")
  left.set_ylim(-0.6, 0.6)
  for axes in (left, right):
    axes.set_xticks([-0.5, -0.25, 0, 0.25, 0.5], ["−½", "−¼", "centre", "¼", "½"])
  figure.log_axis(right, "y")
  right.set_ylim(None, 1)
  ends = [_last(values["absolute"]) for _, values in drawn]
  texts = [_pair_text(names) for names, _ in drawn]
  talk.label_lines(right, ends, texts, [_pair_colour(names) for names, _ in drawn])
  talk.save(fig, path)


def draw_settings(
  path: str | os.PathLike[str],
  settings: Mapping[str, Curves],
  *,
  own: Mapping[str, float],
  caption: str,
  command: str,
) -> None:
  """Draws the mean error against sigma, window, temperature and size, a panel each.

  Args:
    path: .png, .pdf or .svg, see `figure.write`.
    settings: from `sweeps.by_setting`.
    own: setting -> the config's own value, which is marked.
    caption: what was measured.
    command: that makes the figure again.
  """
  fig = talk.new_figure("What the codec's settings cost", caption, command=command)
  labels = {
    "sigma": "σ of the Gaussian, heatmap px",
    "window": "side of the window, heatmap px",
    "temperature": "temperature τ",
    "size": "side of the heatmap, cells",
  }
  for axes, (name, label) in zip(fig.subplots(2, 2).flat, labels.items(), strict=True):
    curves = settings[name]
    names = [key for key in curves if key != "x"]
    for key in names:
      errors = np.maximum(curves[key], _ROUNDING)
      marker = "o" if len(errors) < 20 else None
      style = {"color": _COLOURS[key], "linewidth": talk.LINE, "markersize": 7}
      axes.plot(curves["x"], errors, marker=marker, **style)
    if name in own:
      axes.axvline(own[name], color="0.6", linewidth=1.5, linestyle=":", zorder=0)

    if name in ("temperature", "size"):
      figure.log_axis(axes, "x")
    axes.set_xticks(*_ticks(name, curves["x"]))
    axes.minorticks_off()
    figure.log_axis(axes, "y")
    axes.set_ylim(_ROUNDING / 2, 20 if name == "size" else 2)
    unit = "crop px" if name == "size" else "heatmap px"
    talk.name_axes(axes, x=label, y=f"mean error,\n{unit}")
    if name in ("window", "size"):  # the right-hand panels; curves have the same colours in all
      ends = [max(curves[key][-1], _ROUNDING) for key in names]
      talk.label_lines(axes, ends, [_NAMES[key] for key in names], [_COLOURS[k] for k in names])
  talk.save(fig, path)


def draw_noise(
  path: str | os.PathLike[str], noises: Mapping[str, Curves], *, caption: str, command: str
) -> None:
  """Draws the mean error of every decoder against noise: white on the left, blurred on the right.

  Args:
    path: .png, .pdf or .svg, see `figure.write`.
    noises: from `sweeps.by_noise`.
    caption: what was measured.
    command: that makes the figure again.
  """
  fig = talk.new_figure("Decoders on noisy heatmaps", caption, command=command)
  panels = fig.subplots(1, 2, sharey=True)
  titles = {"white": "white noise", "blurred": "noise blurred by 1 heatmap px"}
  for axes, (kind, curves) in zip(panels, noises.items(), strict=True):
    names = [key for key in curves if key != "x"]
    for key in names:
      style = {"color": _COLOURS[key], "linewidth": talk.LINE, "markersize": 7}
      axes.plot(curves["x"], curves[key], marker="o", **style)
    figure.log_axis(axes, "x")
    axes.set_xticks(curves["x"], [f"{x:g}" for x in curves["x"]])
    axes.minorticks_off()
    talk.name_axes(axes, x="noise, fraction of the peak", y="", title=titles[kind])
  figure.log_axis(panels[0], "y")
  panels[0].set_ylabel("mean error, heatmap px", fontsize=talk.TEXT)

  curves = noises["blurred"]
  names = [key for key in curves if key != "x"]
  ends = [curves[key][-1] for key in names]
  talk.label_lines(panels[1], ends, [_NAMES[key] for key in names], [_COLOURS[k] for k in names])
  talk.save(fig, path)


def _distinct(curves: Curves) -> list[tuple[list[str], Mapping[str, Any]]]:
  """The curves of `sweeps.by_position`, those that hide each other as one with all their names."""
  drawn: list[tuple[list[str], Mapping[str, Any]]] = []
  for name, values in curves.items():
    if name == "position":
      continue
    absolute = np.nan_to_num(np.array(values["absolute"], float))
    for names, others in drawn:
      if talk.same(absolute, np.nan_to_num(np.array(others["absolute"], float))):
        names.append(name)
        break
    else:
      drawn.append(([name], values))
  return drawn


def _pair_text(names: Sequence[str]) -> str:
  """ "rounded + argmax" and others as a label: the decoders of each encoding on a line."""
  lines = []
  for encoding in dict.fromkeys(name.split(" + ")[0] for name in names):
    decodings = [name.split(" + ")[1] for name in names if name.startswith(encoding)]
    text = "any decoder" if len(decodings) == 3 else " = ".join(map(_short, decodings))
    lines.append(f"{encoding},\n{text}")
  return "\n= ".join(lines)


def _short(decoding: str) -> str:
  return _NAMES[decoding].split("\n")[0]


def _pair_colour(names: Sequence[str]) -> str:
  return _COLOURS[names[0].split(" + ")[1]]


def _last(values: Sequence[float | None]) -> float:
  """The last one that is known."""
  return next(value for value in reversed(values) if value is not None)


def _ticks(name: str, values: Sequence[float]) -> tuple[list[float], list[str]]:
  """Where numbers stand on the horizontal axis, and these."""
  places = {"temperature": [1, 2, 5, 10, 20, 50, 100], "sigma": [1, 2, 3, 4]}.get(name, values)
  return list(places), [f"{place:g}" for place in places]
