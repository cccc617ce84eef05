"""--mode=network_report --runs: error and agreement of views while several runs were training."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fal_jax import build, evaluate, flag_parser, metrics, parallel, restore
from fal_jax.build import Setup
from fal_jax.consistency import agreement
from fal_jax.errors import InputError
from fal_jax.network_report.figure import draw_learning
from fal_jax.network_report.run import no_norm
from fal_jax.output.folders import make_dir
from fal_jax.output.provenance import provenance
from fal_jax.plots.figure import NO_MATPLOTLIB, has_matplotlib

NAME = "learning_curve"


def parse(texts: Sequence[str]) -> dict[str, str]:
  """The runs that --runs names.

  Args:
    texts: each WORKDIR or LABEL=WORKDIR.

  Returns:
    Label -> folder; without a label the folder's name is one.

  Raises:
    InputError: two have the same label.
  """
  runs: dict[str, str] = {}
  for text in texts:
    label, _, folder = (text if "=" in text else f"={text}").partition("=")
    label = label.strip() or Path(folder).name
    if label in runs:
      raise InputError(f"--runs: two are called {label!r}; give each LABEL=WORKDIR another label.")
    runs[label] = folder.strip()
  return runs


def run(
  config: ConfigDict | None,
  workdir: str | Path,
  runs: Mapping[str, str],
  *,
  views: int,
  overrides: Sequence[str] = (),
  command: str,
) -> Iterator[str]:
  """Every checkpoint of several runs on the first of `config.eval.splits`.

  Writes `network_report/learning_curve.json`, `.png` and `.svg`.

  Args:
    config: what to evaluate all under; None for the config that each run has saved.
    workdir: where the results go.
    runs: label -> folder of a run, which should keep its checkpoints (`config.checkpoint.keep`).
    views: how many random views of each face are compared, the same for all runs.
    overrides: flags of the form --config.x.y=z that change the saved configs.
    command: what makes the figure again.

  Yields:
    What belongs on the screen.

  Raises:
    InputError: there is no such run, or they cannot be compared.
  """
  if views < 2:
    raise InputError(f"--views={views}: views are compared with each other; give 2 or more.")
  setups = {}
  for label, folder in runs.items():
    own = config or flag_parser.override(restore.saved_config(folder), overrides)
    setups[label] = build.setup(own, device_count=jax.device_count())
  first = next(iter(setups.values()))
  for label, setup in setups.items():
    check_comparable(first, setup, label=label)

  split = first.config.eval.splits[0]
  report: dict[str, Any] = {
    "norm": first.norm,
    "dataset": first.eval_dataset,
    "split": split,
    "views": {"number": views, "seed": agreement.SEED, **first.config.augment.to_dict()},
    "runs": {},
  }
  for label, setup in setups.items():
    rows = []
    for row in measure(setup, runs[label], split, views=views):
      rows.append(row)
      results = f"nme_{setup.norm} {row['nme']:.3f} %, agreement {row['agreement']:.3f} %"
      yield f"{label}, step {row['step']}: {results}"
    if len(rows) < 2:
      raise InputError(
        f"{runs[label]} holds {len(rows)} checkpoint(s), which make no curve: train it with "
        "--config.checkpoint.keep=100 and a smaller --config.checkpoint.every_steps."
      )
    report["num_images"] = rows[0]["num_images"]
    where = provenance(setup.config, split=split, step=rows[-1]["step"])
    report["runs"][label] = {"points": rows, "provenance": where}

  path = make_dir(workdir, "network_report") / f"{NAME}.json"
  path.write_text(json.dumps({"command": command, **report}, indent=2) + "\n", encoding="utf-8")
  if not has_matplotlib():
    yield f"Results: {path}. No figure is drawn: {NO_MATPLOTLIB}."
    return
  draw_learning(path.with_suffix(".png"), report, command=command)
  yield f"Figure: {path.with_suffix('.png')}"


def check_comparable(first: Setup, other: Setup, *, label: str) -> None:
  """Checks that two runs are measured on the same faces in the same views.

  Args:
    first: one run.
    other: another.
    label: of the other.

  Raises:
    InputError: they are not.
  """
  for name, there, here in (
    ("config.eval.name", first.eval_dataset, other.eval_dataset),
    ("config.eval.splits", first.config.eval.splits[0], other.config.eval.splits[0]),
    ("config.eval.norm", first.norm, other.norm),
    ("config.augment", first.ranges, other.ranges),
    ("config.crop or config.data.box", first.crop, other.crop),
  ):
    if there != here:
      raise InputError(
        f"--runs: {label} has another {name} than the first run ({here}, not {there}): set it for "
        "all by a flag such as --config.eval.splits=\"('test',)\"."
      )


def measure(
  setup: Setup, workdir: str | Path, split: str, *, views: int
) -> Iterator[dict[str, Any]]:
  """One run, checkpoint by checkpoint.

  Args:
    setup: what its config describes.
    workdir: the run's folder.
    split: what to evaluate on.
    views: random views per face.

  Yields:
    `step`, `nme` and `agreement`, both means over the faces in percent of `setup.norm`, and
    `num_images`, these faces.

  Raises:
    InputError: no face has the normaliser.
  """
  source = evaluate.open_splits(setup)[split]
  predict = parallel.make_predict(setup.network, setup.codec)
  for step, variables in restore.each_variables(setup, workdir):
    predictions = evaluate.predict_split(
      predict, variables, source, rule=setup.crop, batch_size=setup.config.eval.batch_size
    )
    true = predictions.faces.landmarks
    norm = metrics.norms(true, setup.markup)[setup.norm]
    nme, valid = metrics.valid_errors(predictions.landmarks, true, norm)
    if not valid.any():
      raise no_norm(split, setup.norm)
    seen = agreement.in_views(setup, source, variables, num_views=views)
    yield {
      "step": step,
      "nme": float(nme[valid].mean()),
      "agreement": float(np.nanmean(agreement.spreads(seen))),
      "num_images": int(valid.sum()),
    }
