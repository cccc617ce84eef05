"""The worst faces of an evaluation for a talk, with the median and the best ones beside them."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fal_jax import landmarks
from fal_jax.plots import figure, sheets, talk

WORST, OTHERS = 6, 3  # faces: the worst; the median ones, and the best
MIN_FACES = WORST + 2 * OTHERS  # or there is no middle between them
_MAX_ID = 24  # characters


class Face(NamedTuple):
  """One face of the sheet.

  Attributes:
    id: its name.
    image: (H, W, 3) uint8 RGB.
    true: (K, 2) annotated landmarks, px of that image; NaN where not annotated.
    pred: (K, 2) predicted ones, same pixels.
    box: (4,) x0, y0, x1, y1 that the face was cut out by, same pixels.
    error: percent.
    regions: part of the face -> its error, percent; NaN where nothing of it is annotated.
  """

  id: str
  image: np.ndarray
  true: np.ndarray
  pred: np.ndarray
  box: np.ndarray
  error: float
  regions: Mapping[str, float]


def choose(errors: ArrayLike, valid: ArrayLike) -> dict[str, np.ndarray]:
  """The faces to show.

  Args:
    errors: (N,) percent.
    valid: (N,) bool, faces that have an error.

  Returns:
    "worst", worst first, "median", the middle ones of what is left of the ranking, and "best", best
    first: (M,) rows, none of which is in two of them.
  """
  errors = np.asarray(errors, np.float64)
  rows = np.flatnonzero(np.asarray(valid) & np.isfinite(errors))
  order = rows[np.argsort(-errors[rows], kind="stable")]
  worst, rest = order[:WORST], order[WORST:]
  best = rest[max(len(rest) - OTHERS, 0) :]
  # The middle of the whole ranking, as far as it is not shown already.
  start = min(max(len(order) // 2 - OTHERS // 2 - WORST, 0), max(len(rest) - 2 * OTHERS, 0))
  median = rest[: len(rest) - len(best)][start : start + OTHERS]
  return {"worst": worst, "median": median, "best": best[::-1]}


def region_errors(
  pred: ArrayLike, true: ArrayLike, norm: ArrayLike, markup: int | landmarks.Markup
) -> dict[str, np.ndarray]:
  """The mean error of each part of each face.

  Args:
    pred: (N, K, 2) predicted landmarks, px.
    true: (N, K, 2) annotated ones, same pixels; NaN where not annotated.
    norm: (N,) px, what 100 % is.
    markup: theirs, or its number of landmarks.

  Returns:
    "jaw", "brow", "eye", "nose", "mouth" -> (N,) percent, both sides together; NaN for a face of
    which nothing there is annotated.
  """
  scheme = landmarks.as_markup(markup)
  distance = np.linalg.norm(np.asarray(pred, np.float64) - np.asarray(true, np.float64), axis=-1)
  percent = 100 * distance / np.asarray(norm, np.float64)[:, None]
  parts: dict[str, list[int]] = {}
  for region, members in scheme.regions.items():
    name = region.removeprefix("right_").removeprefix("left_")
    parts.setdefault(name, []).extend(members)

  errors = {}
  for name, rows in parts.items():
    of_part = percent[:, rows]
    known = np.isfinite(of_part)
    count = known.sum(1)
    total = np.where(known, of_part, 0).sum(1)
    errors[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
  return errors


def draw_failures(
  path: str | os.PathLike[str],
  groups: Mapping[str, Sequence[Face]],
  *,
  means: Mapping[str, float],
  markup: int | landmarks.Markup,
  caption: str,
) -> None:
  """Draws the faces of `choose`: the worst above, the median and the best below.

  Each has its error, and below it the error of each part of the face, on one logarithmic axis for
  all, with the mean over all faces as a grey line.

  Args:
    path: .png, .pdf or .svg, see `figure.write`.
    groups: "worst", "median" and "best" -> faces.
    means: part of the face -> mean error of all faces, percent.
    markup: the mark-up, or its number of landmarks.
    caption: which network, which faces.

  Raises:
    InputError: if matplotlib is missing.
  """
  scheme = landmarks.as_markup(markup)
  fig = talk.new_figure("Where it fails, and where it does not", caption)
  below = [(name, face) for name in ("median", "best") for face in groups[name]]
  above = [("worst", face) for face in groups["worst"]]
  columns = max(len(above), len(below), 1)
  ratios = [3.4, 1.6, 3.4, 1.6] if below else [3.4, 1.6]
  grid = fig.subplots(len(ratios), columns, squeeze=False, height_ratios=ratios)

  # One axis for all.
  values = np.array([value for _, face in above + below for value in face.regions.values()])
  values = values[np.isfinite(values) & (values > 0)]
  limits = (0.8 * values.min(), 1.25 * values.max()) if len(values) else (0.1, 10)

  for line, faces in enumerate((above, below)[: len(ratios) // 2]):
    for column in range(columns):
      above_bars, bars = grid[2 * line : 2 * line + 2, column]
      if column >= len(faces):
        above_bars.set_axis_off()
        bars.set_axis_off()
        continue
      group, face = faces[column]
      _draw_face(above_bars, face, scheme)
      is_first = column == 0 or faces[column - 1][0] != group
      colour = talk.OURS if group == "worst" else "black"
      title = f"{f'{group}: ' if is_first else ''}{face.error:.1f} %"
      above_bars.set_title(title, loc="left", fontsize=talk.TEXT, color=colour)
      above_bars.set_xlabel(_cut(face.id), fontsize=8, color="0.4", loc="left", labelpad=2)
      _draw_regions(bars, face.regions, means, limits)
      if column:
        bars.set_yticklabels([])
  _add_legend(fig)
  figure.write(fig, path)


def caption(dataset: str, split: str, *, count: int, norm: str, how: str) -> str:
  """What the sheet shows, in a sentence or two.

  Args:
    dataset: name of the dataset.
    split: name of the split.
    count: faces with an error.
    norm: as in `figure.norm_label`.
    how: which network, boxes and decoder.

  Returns:
    The caption.
  """
  return (
    f"The {WORST} worst of {count:,} faces of {dataset}, {split}; the {OTHERS} in the middle of "
    f"the ranking and the {OTHERS} best. Errors: mean over the landmarks, % of the "
    f"{figure.norm_phrase(norm)}. Dots: each part of the face (log axis, the same for all); grey: "
    f"mean over all faces. {how}"
  )


def _draw_face(axes: Any, face: Face, markup: landmarks.Markup) -> None:
  """An image with its annotated and predicted landmarks and its box."""
  from matplotlib.collections import LineCollection
  from matplotlib.patches import Rectangle

  image, true, pred, box = face.image, face.true, face.pred, face.box
  height, width = image.shape[:2]
  axes.imshow(image)
  segments = [pred[list(edge)] for edge in markup.edges]
  axes.add_collection(LineCollection(segments, colors=_rgb(sheets.PRED_RGB), linewidths=1.3))
  size = 3.2 if markup.num <= 80 else 2.2
  dot = {"marker": "o", "linestyle": "none", "markeredgecolor": "black", "markeredgewidth": 0.4}
  axes.plot(*pred.T, color=_rgb(sheets.PRED_RGB), markersize=size, **dot)
  axes.plot(*true.T, color=_rgb(sheets.TRUE_RGB), markersize=0.8 * size, **dot)
  side = box[2:] - box[:2]
  axes.add_patch(
    Rectangle(tuple(box[:2]), *side, fill=False, edgecolor="white", linewidth=1.2, linestyle="--")
  )
  axes.set_xlim(-0.5, width - 0.5)
  axes.set_ylim(height - 0.5, -0.5)
  axes.set_xticks([])
  axes.set_yticks([])
  axes.spines[:].set_visible(False)


def _draw_regions(
  axes: Any,
  of_face: Mapping[str, float],
  means: Mapping[str, float],
  limits: tuple[float, float],
) -> None:
  """A dot per part of the face, and a grey line at its mean over all faces."""
  for y, (name, value) in enumerate(of_face.items()):
    if np.isfinite(means[name]):
      axes.plot([means[name]] * 2, [y - 0.38, y + 0.38], color="0.65", linewidth=2.5)
    if np.isfinite(value):
      axes.plot([max(value, limits[0])], [y], "o", color="black", markersize=6)
  axes.set_xscale("log")
  axes.set_xlim(*limits)
  axes.set_ylim(len(of_face) - 0.5, -0.5)
  axes.set_yticks(range(len(of_face)), list(of_face), fontsize=11)
  ticks = [tick for tick in (0.1, 1, 3, 10, 30, 100) if limits[0] <= tick <= limits[1]]
  axes.set_xticks(ticks, [f"{tick:g} %" for tick in ticks], fontsize=11)
  axes.minorticks_off()
  axes.grid(True, axis="x", color="0.9")
  axes.spines[["top", "right", "left"]].set_visible(False)
  axes.tick_params(axis="y", length=0)


def _add_legend(fig: Any) -> None:
  from matplotlib.lines import Line2D

  dot: dict[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "markeredgecolor": "black",
    "markersize": 9,
  }
  handles = [
    Line2D([], [], color=_rgb(sheets.TRUE_RGB), label="annotated", **dot),
    Line2D([], [], color=_rgb(sheets.PRED_RGB), label="predicted", **dot),
    Line2D([], [], color="0.5", linestyle="--", linewidth=2, label="box"),
  ]
  fig.legend(handles=handles, loc="upper right", ncols=3, fontsize=talk.TICKS, frameon=False)


def _cut(name: str) -> str:
  """A name, or its end, where it is longer than a face is wide."""
  return name if len(name) <= _MAX_ID else "…" + name[1 - _MAX_ID :]


def _rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
  red, green, blue = colour
  return red / 255, green / 255, blue / 255
