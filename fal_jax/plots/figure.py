"""What all matplotlib figures share: an empty one, line styles, axes, labels, and the saved file.

Matplotlib comes with `pip install 'fal_jax[demo]'`; it is used without pyplot, so that no window
system and no global state is touched.
"""

import importlib.util
import io
import os
from collections.abc import Sequence
from typing import Any

from fal_jax.errors import InputError
from fal_jax.output.folders import locate, write_atomic

NO_MATPLOTLIB = "matplotlib is not installed: pip install 'fal_jax[demo]'"

_LINE_STYLES = ("-", "--", "-.", ":")  # readable in print and without colour vision
# Okabe and Ito 2008: distinguishable under every common colour blindness.
_LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")

_NORM_PHRASES = {
  "ic": "distance of the outer eye corners",
  "ip": "distance of the eye centres",
  "box": "√(width × height) of the face box",
  "diag": "diagonal of the face box",
}


def has_matplotlib() -> bool:
  """Whether curves can be drawn here."""
  return importlib.util.find_spec("matplotlib") is not None


def new_figure(width: float, height: float) -> Any:
  """Makes an empty figure.

  Args:
    width: inches.
    height: inches.

  Returns:
    A matplotlib Figure that can be saved without a window system.

  Raises:
    InputError: if matplotlib is missing.
  """
  try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
  except ImportError as error:
    raise InputError(f"this figure cannot be drawn: {NO_MATPLOTLIB}") from error

  fig = Figure(figsize=(width, height), dpi=150, layout="constrained")
  FigureCanvasAgg(fig)
  return fig


def norm_phrase(norm: str) -> str:
  """What 100 % is, in words.

  Args:
    norm: "ic" | "ip" | "box" | "diag", or such a phrase, which is returned.

  Returns:
    E.g. "distance of the outer eye corners".
  """
  return _NORM_PHRASES.get(norm, norm)


def norm_label(norm: str) -> str:
  """Label of an axis of errors in percent.

  Args:
    norm: "ic" | "ip" | "box" | "diag", or a phrase that says what 100 % is.

  Returns:
    One line; a normaliser's own name is set in mathtext.
  """
  if norm not in _NORM_PHRASES:
    return f"NME, % of {norm}"
  return f"NME$_{{{norm}}}$, % of the {_NORM_PHRASES[norm]}"


def line_style(i: int, *, solid: bool = False) -> dict[str, Any]:
  """Keywords for `axes.plot` that tell the i-th line from the others.

  Args:
    i: number of the line, from 0.
    solid: varies the colour alone, where each line has a panel of its own.

  Returns:
    Colour, line style and width.
  """
  return {
    "color": _LINE_COLOURS[i % len(_LINE_COLOURS)],
    "linestyle": "-" if solid else _LINE_STYLES[i % len(_LINE_STYLES)],
    "linewidth": 1.8,
  }


def log_axis(axes: Any, which: str) -> None:
  """Makes an axis logarithmic, with plain numbers at its ticks.

  These are 1, 2, 5, 10, or the powers of ten alone where there are many.

  Args:
    axes: matplotlib Axes that already hold their data.
    which: "x" | "y".
  """
  from matplotlib.ticker import LogLocator, NullFormatter

  axes.set(**{f"{which}scale": "log"})
  axis = getattr(axes, f"{which}axis")
  low, high = axis.get_view_interval()

  axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 2000 * low else (1,)))
  axis.set_major_formatter(lambda value, _: f"{value:g}")
  axis.set_minor_formatter(NullFormatter())


def spread_labels(centres: Sequence[float], heights: Sequence[float]) -> list[float]:
  """Moves labels apart so that none overlap and, as far as there is room, all stay inside.

  Args:
    centres: where the L labels would like to be, 0 (bottom of the axes) to 1 (top).
    heights: of the L labels, same unit.

  Returns:
    The L new centres.
  """
  order = sorted(range(len(centres)), key=lambda i: centres[i])
  moved = list(centres)

  # Upwards from the bottom, then those that left at the top are pushed down again.
  floor = 0.0
  for i in order:
    moved[i] = max(moved[i], floor + heights[i] / 2)
    floor = moved[i] + heights[i] / 2

  ceiling = 1.0
  for i in reversed(order):
    moved[i] = min(moved[i], ceiling - heights[i] / 2)
    ceiling = moved[i] - heights[i] / 2
  return moved


def label_ends(
  axes: Any,
  values: Sequence[float],
  texts: Sequence[str],
  colours: Sequence[str],
  *,
  fontsize: float = 9,
) -> None:
  """Writes labels right of the axes, each beside where its curve ends.

  Args:
    axes: matplotlib Axes whose limits and scale are final.
    values: L heights at which curves end; those beyond the axes are labelled at their edge.
    texts: L labels, of one or more lines.
    colours: of the L labels.
    fontsize: of the labels, pt.
  """
  low, high = axes.get_ylim()
  # Of the axes: 0 at its bottom, 1 at its top, whatever its scale.
  to_axes = axes.transData + axes.transAxes.inverted()
  ends = [float(to_axes.transform((1, min(max(value, low), high)))[1]) for value in values]
  inches = axes.get_figure().get_figheight() / axes.get_subplotspec().get_gridspec().nrows
  line = fontsize / 9 * 0.185  # inches
  heights = [(line * (text.count("\n") + 1) + 0.125) / inches for text in texts]

  leader = {"arrowstyle": "-", "linewidth": 0.9, "relpos": (0, 0.5), "shrinkB": 0}
  for i, y in enumerate(spread_labels(ends, heights)):
    axes.annotate(
      texts[i],
      (1, ends[i]),
      (1.06, y),
      xycoords="axes fraction",
      color=colours[i],
      fontsize=fontsize,
      va="center",
      arrowprops={**leader, "color": colours[i]},
    )


def save(fig: Any, path: str | os.PathLike[str], *, fontsize: float = 9) -> None:
  """Gives all axes the house style and writes the figure.

  Args:
    fig: from `new_figure`.
    path: .png, .pdf or .svg, see `write`.
    fontsize: of the numbers at the ticks, pt.
  """
  for axes in fig.axes:
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("0.4")
    axes.tick_params(colors="0.25", labelsize=fontsize)
  write(fig, path)


def write(fig: Any, path: str | os.PathLike[str]) -> None:
  """Writes a figure as it is.

  Text stays text in .svg: it can be searched, and edited for a talk.

  Args:
    fig: from `new_figure`.
    path: .png, beside which the same figure is written as .svg; or .pdf or .svg alone. Its folder
      is created.
  """
  from matplotlib import rc_context

  path = locate(path)
  beside = [(path.with_suffix(".svg"), {"Date": None})] if path.suffix == ".png" else []
  with rc_context({"svg.fonttype": "none", "svg.hashsalt": "fal_jax"}):
    for file, metadata in [(path, None), *beside]:
      content = io.BytesIO()
      fig.savefig(content, format=file.suffix[1:], metadata=metadata)
      write_atomic(file, content.getvalue())
