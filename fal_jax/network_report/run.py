"""What a trained network's heatmaps say under other decoders, and how well random views agree."""

import functools
import json
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fal_jax import evaluate, metrics
from fal_jax.consistency import agreement
from fal_jax.errors import InputError
from fal_jax.evaluate import OpenedRun
from fal_jax.heatmap import HeatmapCodec
from fal_jax.network_report import decoders, tables
from fal_jax.network_report.figure import draw_network_report
from fal_jax.output.folders import make_dir
from fal_jax.output.provenance import provenance
from fal_jax.plots.figure import NO_MATPLOTLIB, has_matplotlib
from fal_jax.scoring import protocols


def run(
  config: ConfigDict | None,
  workdir: str | Path,
  *,
  weights: str | None = None,
  overrides: Sequence[str] = (),
  views: int = 8,
  command: str,
) -> Iterator[str]:
  """--mode=network_report: the newest checkpoint of a run on every split of `config.eval.splits`.

  Writes `network_report/<split>.json`, `.md` and `.png`; in a folder of its own for a dataset other
  than the run's own. What `--mode=eval` writes is left alone.

  Args:
    config: what to evaluate under; None for the config that the run has saved.
    workdir: the run's folder.
    weights: a network that comes with the package, instead of the run's.
    overrides: flags of the form --config.x.y=z that change the saved config.
    views: how many random views of each face are compared; 0 for none.
    command: what makes the report again.

  Yields:
    What belongs on the screen, for each split.

  Raises:
    InputError: there is no such run or dataset, or the config does not fit them.
  """
  if views == 1:
    raise InputError("--views=1: a single view has nothing to agree with; give 2 or more, or 0.")
  opened = evaluate.open_run(config, workdir, weights=weights, overrides=overrides)
  directory = make_dir(workdir, f"network_report/{opened.folder}")

  for split in opened.sources:
    report = measure(opened, split, views=views)
    yield write(
      directory / f"{split}.md",
      report,
      f"{split}\n\n{tables.describe(report)}",
      draw=functools.partial(draw_network_report, report=report, title=split),
      caption="Error by temperature, window and decoder",
      command=command,
    )


def measure(opened: OpenedRun, split: str, *, views: int) -> dict[str, Any]:
  """All results of one split.

  Args:
    opened: the network and its splits.
    split: name of one.
    views: as in `run`.

  Returns:
    A mapping ready for JSON: `norm`, `threshold`, `num_images`, `num_degenerate`; `own` and, in
    lists `decoders`, `windows` and `temperatures`, the metrics of each setting in percent, with
    `percent_improved`, the percentage of faces whose error is smaller than under the run's own;
    `agreement_<norm>` and `shared_error_<norm>` in percent, with the `views` they are of; and
    `provenance`.

  Raises:
    InputError: no face has the normaliser.
  """
  setup, source = opened.setup, opened.sources[split]
  settings = decoders.settings(setup.codec)
  codecs = [setup.codec, *(codec for rows in settings.values() for codec in rows)]
  errors = decoders.errors(setup, source, opened.variables, list(dict.fromkeys(codecs)))

  norm = setup.norm
  own = errors[setup.codec]
  valid = np.isfinite(own)
  if not valid.any():
    raise no_norm(split, norm)
  thresholds = protocols.find(setup.eval_dataset, split, norm=norm).thresholds[norm][:1]

  def row(codec: HeatmapCodec) -> dict[str, Any]:
    nme = errors[codec][valid]
    means = {
      metric.name: float(metric.percent * metric.values.mean())
      for metric in metrics.per_face(nme, norm, thresholds)
    }
    improved = {"percent_improved": metrics.percent_improved(nme, own[valid])}
    return {
      "decode": codec.decoding,
      "window": codec.window,
      "temperature": codec.temperature,
      **means,
      **({} if codec == setup.codec else improved),
    }

  report = {
    "num_images": len(own),
    "num_degenerate": int((~valid).sum()),
    "head": setup.config.head,
    "norm": norm,
    "threshold": thresholds[0],
    "own": row(setup.codec),
    **{name: [row(codec) for codec in rows] for name, rows in settings.items()},
  }
  if views:
    report |= _agreement(opened, split, views=views)
  return {**report, "provenance": provenance(setup.config, split=split, step=opened.step)}


def no_norm(split: str, norm: str) -> InputError:
  """What to raise where no face of a split has the normaliser."""
  return InputError(
    f"No face of {split} has the normaliser {norm}: set --config.eval.norm=box or diag."
  )


def _agreement(opened: OpenedRun, split: str, *, views: int) -> dict[str, Any]:
  """`agreement_<norm>` and `shared_error_<norm>`, percent, and what they were measured with."""
  setup = opened.setup
  seen = agreement.in_views(setup, opened.sources[split], opened.variables, num_views=views)
  return {
    f"agreement_{setup.norm}": float(np.nanmean(agreement.spreads(seen))),
    f"shared_error_{setup.norm}": float(np.nanmean(agreement.shared_errors(seen))),
    "views": {"number": views, "seed": agreement.SEED, **setup.config.augment.to_dict()},
  }


def write(
  page: Path,
  report: Mapping[str, Any],
  text: str,
  *,
  draw: Callable[[Path], None],
  caption: str,
  command: str,
) -> str:
  """Writes the files of one report, and returns what belongs on the screen.

  Args:
    page: .md, beside which are a .json and the figure.
    report: ready for JSON.
    text: Markdown, its first line the title.
    draw: draws the figure to a .png.
    caption: of the figure.
    command: what makes the report again.
  """
  written = json.dumps({"command": command, **report}, indent=2)
  page.with_suffix(".json").write_text(written + "\n", encoding="utf-8")

  parts = [f"# {text}"]
  if has_matplotlib():
    draw(page.with_suffix(".png"))
    link = urllib.parse.quote(f"{page.stem}.png")  # a slice has brackets and a percent sign
    parts.append(f"![{caption}]({link})")
  else:
    logging.warning("No curves drawn: %s", NO_MATPLOTLIB)

  page.write_text("\n\n".join([*parts, f"```\n{command}\n```\n"]), encoding="utf-8")
  return f"{text}\n\nReport: {page}\n"
