"""python -m launch.peers.report

Prints the tables of README.md and draws peers.png and peers.svg, from results.json and times.json.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fal_jax.output import markdown
from fal_jax.plots import figure
from launch.peers.measure import DETECTED, GIVEN, RESULTS
from launch.peers.times import TIMES

FIGURE = Path(__file__).parent / "peers.png"
OURS, OTHERS = ("#D55E00", "#E69F00", "#CC79A7"), ("#0072B2", "#009E73", "#000000")
SEEN = {"dlib": "dlib, trained on 300W"}  # what the figure calls what has seen such faces
# Where a name stands from its mark, pt, if not to the right of it: marks crowd on the left.
_PLACES = {
  "w300-68, ONNX, box given": (-7, 3, "right"),
  "mediapipe, box given": (-7, 5, "right"),
  "dlib, box given": (0, -20, "left"),
}
_MARKERS = {GIVEN: "o", DETECTED: "s"}


def main() -> None:
  """Prints and draws."""
  results, times = (json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS, TIMES))
  print(table(results["rows"], times["rows"]))
  draw(FIGURE, results["rows"], times["rows"])


def table(rows: Sequence[Mapping[str, Any]], times: Sequence[Mapping[str, Any]]) -> str:
  """The table of README.md.

  Args:
    rows: of results.json.
    times: of times.json.

  Returns:
    Markdown.
  """
  by_label = {row["label"]: row for row in times}
  head = ["system, box", "NME_ic (95 %)", "median", "FR_ic_8", "missed", "minus ours"]
  head += ["with offsets", "CPU ms"]
  body = []
  for row in rows:
    time = by_label.get(row["label"])
    body.append(
      [
        row["label"],
        f"{row['nme_ic']:.2f} ({row['interval'][0]:.2f} to {row['interval'][1]:.2f})",
        f"{row['median']:.2f}",
        f"{row['fr_ic_8']:.1f}",
        f"{row['missed']}",
        _difference(row.get("minus_ours")),
        f"{row['offsets_nme_ic']:.2f}",
        f"{time['cpu_ms']:.1f}" if time else "",
      ]
    )
  return markdown.table(head, body)


def _difference(of_row: Mapping[str, Any] | None) -> str:
  if of_row is None:
    return ""
  low, high = of_row["interval"]
  return f"{of_row['mean']:+.2f} ({low:+.2f} to {high:+.2f})"


def draw(path: Path, rows: Sequence[Mapping[str, Any]], times: Sequence[Mapping[str, Any]]) -> None:
  """Draws accuracy against time: a filled mark per system and box, a hollow one with offsets.

  Args:
    path: .png, beside which the same figure is written as .svg.
    rows: of results.json.
    times: of times.json; what has no time is not drawn.

  Raises:
    InputError: if matplotlib is missing.
  """
  cpu = {row["label"]: row["cpu_ms"] for row in times}
  fig = figure.new_figure(7.6, 4.8)
  axes = fig.add_subplot()
  colours = _colours([row["system"] for row in rows])
  for row in rows:
    if row["label"] not in cpu:
      continue
    x, y, moved = cpu[row["label"]], row["nme_ic"], row["offsets_nme_ic"]
    colour, marker = colours[row["system"]], _MARKERS[row["box"]]
    axes.plot([x, x], [y, moved], color=colour, linewidth=1, alpha=0.6, zorder=2)
    axes.plot(x, moved, marker, color="white", markeredgecolor=colour, markersize=6, zorder=3)
    axes.plot(x, y, marker, color=colour, markersize=7, zorder=4)
    text = SEEN.get(row["system"], row["system"])
    right, up, side = _PLACES.get(row["label"], (7, 3, "left"))
    style = {"color": colour, "fontsize": 9, "ha": side}
    axes.annotate(text, (x, y), (right, up), textcoords="offset points", **style)

  axes.margins(x=0.14)  # for the names beside the last marks
  figure.log_axis(axes, "x")
  axes.set_xlabel("CPU time per face on one core, ms")
  axes.set_ylabel(figure.norm_label("ic"))
  for box, marker in _MARKERS.items():
    axes.plot([], [], marker, color="0.3", markersize=7, label=box)
  axes.plot([], [], "o", color="white", markeredgecolor="0.3", label="with offsets per landmark")
  axes.legend(frameon=False, fontsize=9)
  figure.save(fig, path)


def _colours(names: Sequence[str]) -> dict[str, str]:
  """A colour for each system: warm ones are ours."""
  colours: dict[str, str] = {}
  for name in dict.fromkeys(names):
    palette = OURS if "68" in name else OTHERS
    colours[name] = palette[sum(colour in palette for colour in colours.values()) % len(palette)]
  return colours


if __name__ == "__main__":
  main()
