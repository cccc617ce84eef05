"""Pictures of results: sheets of faces, cumulative error distributions, codecs, learning curves.

Sheets need only OpenCV and Pillow. Curves need matplotlib, which comes with `pip install
'fal_jax[demo]'`; it is used without pyplot, so that no window system and no global state is
touched.
"""

import importlib.util
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from fal_jax import landmarks, metrics
from fal_jax.errors import InputError

# Green against magenta stays apart under every common colour blindness, and neither is a colour of
# skin, lips or hair.
_TRUE_RGB, _PRED_RGB = (64, 255, 128), (255, 40, 200)
_PAPER_RGB, _INK_RGB, _FAINT_RGB = (24, 24, 27), (245, 245, 245), (160, 160, 165)
_LINE_COLOURS = (
  "#0072B2",
  "#D55E00",
  "#009E73",
  "#CC79A7",
  "#000000",
  "#E69F00",
  "#56B4E9",
)  # Okabe and Ito 2008
_LINE_STYLES = ("-", "--", "-.", ":")
_NORM_TEXT = {
  "ic": "distance of the outer eye corners",
  "ip": "distance of the eye centres",
  "box": "√(width × height) of the face box",
  "diag": "diagonal of the face box",
}
NO_MATPLOTLIB = "matplotlib is not installed: pip install 'fal_jax[demo]'"
_FINER = (
  4  # landmarks are drawn on a grid this much finer, then averaged: round dots at sub-pixel places
)


def draw_faces(
  path: str | os.PathLike[str],
  images: Sequence[np.ndarray] | np.ndarray,
  true: ArrayLike | None,
  pred: ArrayLike,
  *,
  markup: int | landmarks.Markup,
  titles: Sequence[str],
  columns: int,
  scale: int = 2,
) -> None:
  """Writes a sheet of faces with annotated landmarks in green and predicted ones, joined by lines,
  in magenta.

  Args:
    path: .png or .jpg; its folder is created.
    images: N arrays (H, W, 3) uint8, RGB, all of one size.
    true: (N, K, 2) annotated landmarks, px of the images; NaN where not annotated. None where there
      is no annotation.
    pred: (N, K, 2) predicted landmarks, same pixels.
    markup: the mark-up, or its number of landmarks; it knows the lines.
    titles: N short texts, one over each face, cut where they do not fit.
    columns: faces per row.
    scale: enlargement of the images.

  Raises:
    InputError: if the arguments do not describe the same faces.
  """
  markup = markup if isinstance(markup, landmarks.Markup) else landmarks.markup(markup)
  shapes = {np.shape(image) for image in images}
  if (
    len(shapes) != 1
    or len(shape := shapes.pop()) != 3
    or shape[-1] != 3
    or any(image.dtype != np.uint8 for image in images)
  ):
    raise InputError(
      "a sheet needs at least one image, all uint8 of one shape (H, W, 3): crop the faces to one size first"
    )
  pred = np.asarray(pred, np.float64)
  true = np.full_like(pred, np.nan) if true is None else np.asarray(true, np.float64)
  expected = (len(images), markup.num, 2)
  if pred.shape != expected or true.shape != expected or len(titles) != len(images):
    raise InputError(
      f"pred has shape {pred.shape}, true {true.shape} and there are {len(titles)} titles, expected {expected} twice and a "
      f"title for each of the {len(images)} images"
    )
  height, width, gap, strip = shape[0] * scale, shape[1] * scale, 4 * scale, 11 * scale
  columns = max(1, min(columns, len(images)))
  rows = -(-len(images) // columns)
  pitch_x, pitch_y, header = width + gap, strip + height + gap, strip + 2 * gap
  sheet = np.empty((header + rows * pitch_y, gap + columns * pitch_x, 3), np.uint8)
  sheet[:] = _PAPER_RGB
  corners = [
    (gap + i % columns * pitch_x, header + i // columns * pitch_y) for i in range(len(images))
  ]
  for (x, y), image, true_face, pred_face in zip(corners, images, true, pred, strict=True):
    sheet[y + strip : y + strip + height, x : x + width] = _face(
      image, true_face, pred_face, markup, scale
    )

  picture = Image.fromarray(sheet)
  draw = ImageDraw.Draw(picture)
  font = ImageFont.load_default(size=7.5 * scale)
  legend = (
    [("annotated", _TRUE_RGB), ("predicted", _PRED_RGB)]
    if np.isfinite(true).any()
    else [("predicted", _PRED_RGB)]
  )
  middle, x, radius = header / 2, float(gap), 2.5 * scale
  for word, colour in legend:
    draw.ellipse((x, middle - radius, x + 2 * radius, middle + radius), fill=colour)
    draw.text((x + 3 * radius, middle), word, fill=_INK_RGB, font=font, anchor="lm")
    x += 3 * radius + draw.textlength(word, font=font) + 8 * scale
  for (x, y), title in zip(corners, titles, strict=True):
    draw.text(
      (x, y + strip / 2), _cut(title, draw, font, width), fill=_INK_RGB, font=font, anchor="lm"
    )
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  picture.save(path)


def draw_ced(
  path: str | os.PathLike[str], errors: Mapping[str, ArrayLike], *, norm: str, max_error: float
) -> None:
  """Draws the part of the faces that have at most a given error, one curve per label, with NME, AUC
  and failures in the legend.

  Args:
    path: .png, .pdf or .svg; its folder is created.
    errors: by label, (N,) NME in percent of one and the same normaliser.
    norm: "ic" | "ip" | "box" | "diag", or a phrase that says what 100 % is.
    max_error: percent; right end of the axis, and threshold of AUC and failure rate.

  Raises:
    InputError: if matplotlib is missing, or an array is not a distribution of errors.
  """
  figure = new_figure(6.4, 4.6)
  axes = figure.add_subplot()
  for i, (label, values) in enumerate(errors.items()):
    x, y = metrics.ced(values, max_error)
    numbers = (
      f"NME {np.mean(np.asarray(values, np.float64)):.2f} %   AUC {100 * metrics.auc(values, max_error):.1f} %   "
      f"FR {metrics.failure_rate(values, max_error):.2f} %"
    )
    # Unclipped and above the axes, or the line would lose half its width at 0 and 100 %.
    axes.plot(x, 100 * y, label=f"{label}\n{numbers}", clip_on=False, zorder=3, **_line(i))
  axes.set_xlim(0, max_error)
  axes.set_ylim(0, 100)
  axes.set_xlabel(norm_label(norm))
  axes.set_ylabel("faces with at most this error, %")
  legend = axes.legend(
    loc="lower right", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", labelspacing=0.7
  )
  legend.set_zorder(4)
  legend.set_title(f"AUC and failure rate (FR) at {max_error:g} %", prop={"size": 8})
  _finish(figure, path)


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
  """Draws the sorted errors of faces under several codecs, and beside them the error of the local
  soft-argmax by temperature.

  Codecs whose curves coincide share one curve, and its label names them all. Labels stand at the
  curves' ends, in their colours.

  Args:
    path: .png, .pdf or .svg; its folder is created.
    errors: by codec, (N,) NME in percent of one and the same normaliser, the baseline first.
    norm: as in `draw_ced`.
    temperatures: (T,) of the right panel, rising.
    heatmap_px: (T,) mean errors at these, heatmap px.
    marks: by label, the points (temperature, error) to mark on the right.
    titles: of the two panels.

  Raises:
    InputError: if matplotlib is missing, or there is no face.
  """
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
  figure = new_figure(12.5, 5)
  left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
  for i, (_, values) in enumerate(curves):
    # One step more than faces: a line through a single point would be no line.
    left.plot(
      np.linspace(0, 100, len(values) + 1),
      np.append(values[0], values),
      color=_curve_colour(i),
      linewidth=2.2,
    )
  _log_axis(left, "y")
  left.set_xlim(0, 100)
  left.set_xlabel("faces, sorted by their error, %")
  left.set_ylabel(norm_label(norm))
  left.set_title(titles[0], loc="left", fontsize=11)
  low, high = left.get_ylim()
  ends = [
    math.log(max(float(values[-1]), low) / low) / math.log(high / low) for _, values in curves
  ]
  means = [f"{np.mean(values):#.2g}".rstrip(".") for _, values in curves]
  texts = [
    "\n= ".join(names).replace(", ", ",\n") + f"\nmean {mean} %"
    for (names, _), mean in zip(curves, means, strict=True)
  ]
  heights = [0.037 * (text.count("\n") + 1) + 0.025 for text in texts]
  for i, at in enumerate(_spread(ends, heights)):
    left.annotate(
      texts[i],
      (1, ends[i]),
      (1.06, at),
      xycoords="axes fraction",
      color=_curve_colour(i),
      fontsize=9,
      va="center",
      arrowprops={
        "arrowstyle": "-",
        "color": _curve_colour(i),
        "linewidth": 0.9,
        "relpos": (0, 0.5),
        "shrinkB": 0,
      },
    )

  right.plot(temperatures, heatmap_px, color="0.45", linewidth=2.2)
  for i, (label, (x, y)) in enumerate(marks.items()):
    right.plot(
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
  _log_axis(right, "x")
  _log_axis(right, "y")
  least, most = np.min(heatmap_px), np.max(heatmap_px)
  right.set_ylim(
    least * min(least / most, 0.2) ** 0.22
  )  # leaves room for the legend below the valley, however deep it is
  right.legend(loc="lower left", fontsize=9.5, frameon=False, handletextpad=0.2)
  right.set_xlabel("temperature τ")
  right.set_ylabel("mean error, heatmap px")
  right.set_title(titles[1], loc="left", fontsize=11)
  _finish(figure, path)


def draw_learning_curve(
  path: str | os.PathLike[str], steps: ArrayLike, values: Mapping[str, ArrayLike]
) -> None:
  """Draws values over training steps, one panel per name; a step at which a value is NaN or None is
  passed over.

  Args:
    path: .png, .pdf or .svg; its folder is created.
    steps: (M,) updates done.
    values: by name, e.g. "train/loss" or "eval/nme_ic", (M,) numbers. Positive ones that span a
      decade get a logarithmic axis.

  Raises:
    InputError: if matplotlib is missing, or lengths disagree.
  """
  x = np.asarray(steps, np.float64)
  if not values:
    raise InputError("there are no values to draw: give at least one name")
  figure = new_figure(6.4, 0.6 + 2.1 * len(values))
  panels = figure.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
  for i, (axes, (name, series)) in enumerate(zip(panels, values.items(), strict=True)):
    y = np.asarray(series, np.float64)
    if y.shape != x.shape:
      raise InputError(
        f"{name} has shape {y.shape} but steps {x.shape}: give one value per step, NaN where there is none"
      )
    known = np.isfinite(y)
    few = known.sum() <= 40
    axes.plot(
      x[known], y[known], marker="o" if few else None, markersize=3.5, **_line(i, solid=True)
    )
    if known.any() and y[known].min() > 0 and y[known].max() > 9.99 * y[known].min():
      axes.set_yscale("log")
    axes.set_ylabel(name)
  panels[-1].set_xlabel("training step")
  figure.align_ylabels()
  _finish(figure, path)


def _face(
  image: np.ndarray, true: np.ndarray, pred: np.ndarray, markup: landmarks.Markup, scale: int
) -> np.ndarray:
  """The enlarged face with its landmarks; drawn with a dark rim, so that they show on any ground."""
  fine = scale * _FINER
  canvas = cv2.resize(
    np.ascontiguousarray(image), None, fx=fine, fy=fine, interpolation=cv2.INTER_CUBIC
  )
  reach = 4 * max(canvas.shape)  # a prediction gone astray must not overflow the integers of cv2

  def place(points: np.ndarray) -> np.ndarray:
    at = np.clip((points + 0.5) * fine - 0.5, -reach, reach)
    return np.where(np.isfinite(at), np.round(at), 0).astype(int)

  seen_true, seen_pred = np.isfinite(true).all(-1), np.isfinite(pred).all(-1)
  true_at, pred_at = place(true), place(pred)
  lines = canvas.copy()
  for a, b in markup.edges:
    if seen_pred[a] and seen_pred[b]:
      cv2.line(
        lines, pred_at[a].tolist(), pred_at[b].tolist(), _PRED_RGB, round(0.6 * fine), cv2.LINE_AA
      )
  canvas = cv2.addWeighted(lines, 0.6, canvas, 0.4, 0)
  # Dense mark-ups get smaller dots; the annotation lies on top and is smaller, so neither hides the
  # other.
  unit = fine * (0.8 if markup.num > 80 else 1.0)
  for at, seen, colour, radius in (
    (pred_at, seen_pred, _PRED_RGB, 1.4),
    (true_at, seen_true, _TRUE_RGB, 1.0),
  ):
    for rim, fill in ((0.35, (0, 0, 0)), (0.0, colour)):
      for point in at[seen].tolist():
        cv2.circle(canvas, point, round((radius + rim) * unit), fill, -1, cv2.LINE_AA)
  return cv2.resize(canvas, None, fx=1 / _FINER, fy=1 / _FINER, interpolation=cv2.INTER_AREA)


def _cut(text: str, draw: ImageDraw.ImageDraw, font: Any, width: int) -> str:
  """The text, or as much of its end as fits: file names differ at the end, and the error stands
  there.
  """
  if draw.textlength(text, font=font) <= width:
    return text
  while text and draw.textlength("…" + text, font=font) > width:
    text = text[1:]
  return "…" + text


def has_matplotlib() -> bool:
  """Whether curves can be drawn here."""
  return importlib.util.find_spec("matplotlib") is not None


def new_figure(width: float, height: float) -> Any:
  """An empty matplotlib figure, sizes in inches."""
  try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
  except ImportError as error:
    raise InputError(f"this figure cannot be drawn: {NO_MATPLOTLIB}") from error
  figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
  FigureCanvasAgg(figure)
  return figure


def _line(i: int, *, solid: bool = False) -> dict[str, Any]:
  style = (
    "-" if solid else _LINE_STYLES[i % len(_LINE_STYLES)]
  )  # readable in print and without colour vision
  return {"color": _LINE_COLOURS[i % len(_LINE_COLOURS)], "linestyle": style, "linewidth": 1.8}


def _curve_colour(i: int) -> str:
  """The baseline black, the others in colours that stay apart."""
  return ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07800", "#3A93C4", "#666666")[
    i % 8
  ]


def norm_label(norm: str) -> str:
  """Label of an axis of errors under a normaliser, or under a phrase that says what 100 % is."""
  return (
    f"NME$_{{{norm}}}$, % of the {_NORM_TEXT[norm]}" if norm in _NORM_TEXT else f"NME, % of {norm}"
  )


def _log_axis(axes: Any, which: str) -> None:
  """A logarithmic axis with plain numbers: 1, 2, 5, 10, or powers of ten alone where there are
  many.
  """
  from matplotlib.ticker import LogLocator, NullFormatter

  axes.set(**{f"{which}scale": "log"})
  axis = getattr(axes, f"{which}axis")
  low, high = axis.get_view_interval()
  axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 2000 * low else (1,)))
  axis.set_major_formatter(lambda value, _: f"{value:g}")
  axis.set_minor_formatter(NullFormatter())


def _spread(centres: Sequence[float], heights: Sequence[float]) -> list[float]:
  """Moves labels of given heights apart so that none overlap and, as far as there is room, all stay
  between 0 and 1.
  """
  order = sorted(range(len(centres)), key=lambda i: centres[i])
  moved, floor = list(centres), 0.0
  for i in order:
    moved[i] = max(moved[i], floor + heights[i] / 2)
    floor = moved[i] + heights[i] / 2
  ceiling = 1.0
  for i in reversed(order):
    moved[i] = min(moved[i], ceiling - heights[i] / 2)
    ceiling = moved[i] - heights[i] / 2
  return moved


def _finish(figure: Any, path: str | os.PathLike[str]) -> None:
  for axes in figure.axes:
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("0.4")
    axes.tick_params(colors="0.25", labelsize=9)
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path)
