"""Curves of results: cumulative error distributions and learning curves. They need matplotlib."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from absl import logging
from numpy.typing import ArrayLike

from fal_jax import metrics
from fal_jax.errors import InputError
from fal_jax.output import metric_log
from fal_jax.plots import figure

# A legend of more curves would cover them: it goes beside the axes.
_MAX_CURVES_UNDER_LEGEND = 3


def draw_ced(
  path: str | os.PathLike[str], errors: Mapping[str, ArrayLike], *, norm: str, max_error: float
) -> None:
  """Draws cumulative error distributions: the fraction of faces with at most a given error.

  There is one curve per label, with its NME, AUC and failure rate in the legend.

  Args:
    path: .png, .pdf or .svg; its folder is created.
    errors: by label, (N,) NME in percent, all of the same normaliser; infinite for faces that were
      not found, over which the NME is not taken.
    norm: "ic" | "ip" | "box" | "diag", or a phrase that says what 100 % is.
    max_error: percent; right end of the axis, and threshold of AUC and failure rate.

  Raises:
    InputError: if matplotlib is missing, or an array is not a distribution of errors.
  """
  is_beside = len(errors) > _MAX_CURVES_UNDER_LEGEND
  fig = figure.new_figure(9.6 if is_beside else 6.4, max(4.6, 0.5 + 0.36 * len(errors)))
  axes = fig.add_subplot()
  for i, (label, values) in enumerate(errors.items()):
    x, y = metrics.ced(values, max_error)
    all_errors = np.asarray(values, np.float64)
    found = all_errors[np.isfinite(all_errors)]
    of_found = "" if len(found) == len(all_errors) else " of the found"
    nme = f"{found.mean():.2f} %{of_found}" if len(found) else "-"
    summary = "   ".join(
      (
        f"NME {nme}",
        f"AUC {100 * metrics.auc(values, max_error):.1f} %",
        f"FR {metrics.failure_rate(values, max_error):.2f} %",
      )
    )
    # Unclipped and above the axes, or the line would lose half its width at 0 and 100 %.
    style = figure.line_style(i)
    axes.plot(x, 100 * y, label=f"{label}\n{summary}", clip_on=False, zorder=3, **style)

  axes.set_xlim(0, max_error)
  axes.set_ylim(0, 100)
  axes.set_xlabel(figure.norm_label(norm))
  axes.set_ylabel("faces with at most this error, %")

  place = (
    {"loc": "upper left", "bbox_to_anchor": (1.02, 1)} if is_beside else {"loc": "lower right"}
  )
  legend = axes.legend(
    **place, fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", labelspacing=0.7
  )
  legend.set_zorder(4)
  legend.set_title(f"AUC and failure rate (FR) at {max_error:g} %", prop={"size": 8})
  figure.save(fig, path)


def draw_run(workdir: Path, *, split: str, norm: str) -> None:
  """`learning_curve.png`: the training loss and the error on a split against steps.

  Without matplotlib nothing is drawn, which is logged.

  Args:
    workdir: a run's folder.
    split: its name.
    norm: the normaliser of the error.
  """
  if not figure.has_matplotlib():
    logging.warning("No learning curve drawn: %s", figure.NO_MATPLOTLIB)
    return

  records = metric_log.read(workdir)
  titles = {"loss": "training loss", f"{split}/nme_{norm}": f"NME_{norm} on {split} (%)"}
  values = {
    title: np.array([record.get(name) for record in records], np.float64)
    for name, title in titles.items()
  }
  logged_steps = [record["step"] for record in records]
  draw_learning_curve(workdir / "learning_curve.png", logged_steps, values)


def draw_learning_curve(
  path: str | os.PathLike[str], steps: ArrayLike, values: Mapping[str, ArrayLike]
) -> None:
  """Draws values over training steps, one panel per name.

  Args:
    path: .png, .pdf or .svg; its folder is created.
    steps: (M,) updates done.
    values: by name, e.g. "train/loss" or "eval/nme_ic", (M,) floats; steps at which a value is NaN
      or None are skipped. Positive values that span a decade get a logarithmic axis.

  Raises:
    InputError: if matplotlib is missing, or lengths disagree.
  """
  x = np.asarray(steps, np.float64)
  if not values:
    raise InputError("there are no values to draw: give at least one name")

  fig = figure.new_figure(6.4, 0.6 + 2.1 * len(values))
  panels = fig.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
  for i, (axes, (name, series)) in enumerate(zip(panels, values.items(), strict=True)):
    y = np.asarray(series, np.float64)
    if y.shape != x.shape:
      raise InputError(
        f"{name} has shape {y.shape} but steps {x.shape}: "
        "give one value per step, NaN where there is none"
      )

    known = np.isfinite(y)
    marker = "o" if known.sum() <= 40 else None
    style = figure.line_style(i, solid=True)
    axes.plot(x[known], y[known], marker=marker, markersize=3.5, **style)

    if known.any() and y[known].min() > 0 and y[known].max() > 9.99 * y[known].min():
      axes.set_yscale("log")
    axes.set_ylabel(name)

  panels[-1].set_xlabel("training step")
  fig.align_ylabels()
  figure.save(fig, path)
