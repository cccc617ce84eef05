"""Figures for a talk: 16 to 9, legible from the last row, a caption that says what was measured.

What they are drawn with is in `figure.py`; here are their sizes, titles, captions and labels.
"""

import os
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from fal_jax.plots import figure

WIDTH, HEIGHT = 12.8, 7.2  # inches; a screen of 1,920 px shows them at 150 px an inch
TITLE, TEXT, TICKS, CAPTION = 22.0, 17.0, 15.0, 10.5  # pt
LINE = 3.2  # pt
MARGIN = 0.08  # inches
# A line has the same colour in all figures: black is the standard, blue the paper's, orange ours.
STANDARD, PAPER, OURS = "#000000", "#0072B2", "#D55E00"
OTHERS = ("#009E73", "#CC79A7", "#B07800", "#666666")
_CAPTION_CHARACTERS = 165  # that a line of the caption holds


def new_figure(title: str, caption: str, *, command: str = "") -> Any:
  """Makes an empty figure with its title above and its caption below.

  Args:
    title: what is to be seen, in a few words.
    caption: what was measured, on what.
    command: what makes the figure again; the last lines of the caption.

  Returns:
    A matplotlib Figure.

  Raises:
    InputError: if matplotlib is missing.
  """
  fig = figure.new_figure(WIDTH, HEIGHT)
  fig.get_layout_engine().set(w_pad=MARGIN, h_pad=MARGIN)
  fig.suptitle(title, x=0.01, ha="left", fontsize=TITLE)
  lines = [line for text in (caption, command) for line in textwrap.wrap(text, _CAPTION_CHARACTERS)]
  fig.supxlabel(
    "\n".join(lines), x=0.01, ha="left", fontsize=CAPTION, color="0.35", linespacing=1.4
  )
  return fig


def name_axes(axes: Any, *, x: str, y: str, title: str = "") -> None:
  """Writes what the axes are.

  Args:
    axes: matplotlib Axes.
    x: label of the horizontal axis.
    y: label of the vertical axis.
    title: of the panel.
  """
  axes.set_xlabel(x, fontsize=TEXT)
  axes.set_ylabel(y, fontsize=TEXT)
  if title:
    axes.set_title(title, loc="left", fontsize=TEXT)


def label_lines(
  axes: Any, ends: Sequence[float], texts: Sequence[str], colours: Sequence[str]
) -> None:
  """Writes labels right of the axes, each beside where its curve ends.

  Args:
    axes: matplotlib Axes whose limits and scale are final.
    ends: L heights at which curves end.
    texts: L labels.
    colours: of the L labels.
  """
  figure.label_ends(axes, ends, texts, colours, fontsize=TICKS)


def same(values: np.ndarray, others: np.ndarray) -> bool:
  """Whether two curves would hide each other.

  Args:
    values: (T,) of one.
    others: (T,) of the other.

  Returns:
    True where they differ by less than 2 %.
  """
  return bool(np.allclose(values, others, rtol=0.02, atol=1e-9))


def save(fig: Any, path: str | os.PathLike[str]) -> None:
  """Gives all axes the house style and writes the figure.

  Args:
    fig: from `new_figure`.
    path: .png, beside which the same figure is written as .svg; or one of .pdf and .svg.
  """
  figure.save(fig, path, fontsize=TICKS)
