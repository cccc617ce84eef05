"""What further columns of a table show: how far views disagree, and parts of an evaluation."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fal_jax import evaluate
from fal_jax.consistency import agreement
from fal_jax.errors import InputError
from fal_jax.output.folders import write_atomic

# Not made by an evaluation: what is calculated of the landmarks in random views, and in crops that
# are shifted within a heatmap cell.
_IN_RANDOM = {"agreement": agreement.spreads, "shared_error": agreement.shared_errors}
_IN_SHIFTED = {"shift_spread": agreement.spreads}
MEASURES = (*_IN_RANDOM, *_IN_SHIFTED)
# Of an evaluation's summary: the median error over faces, which a few scattered faces leave alone;
# NME on simulated boxes of a detector, its mean over harder conditions, the percentage of faces
# above 20 % in all of these together, and of videos.
OF_SUMMARY = ("median", "detector_box", "stress", "catastrophic_stress", "jitter")
VIEWS = 20  # random ones


def of_summary(summary: Mapping[str, Any], name: str, *, norm: str, dataset: str) -> float:
  """One of `OF_SUMMARY`.

  Args:
    summary: of an evaluation, as `eval/<split>.json` has it.
    name: which.
    norm: normaliser of the errors.
    dataset: for the message.

  Returns:
    Percent.

  Raises:
    InputError: the evaluation has no such part.
  """
  if name == "median":
    value = summary.get("percentiles", {}).get(norm, {}).get("median")
    reason = f"{dataset} has no face with the normaliser {norm}"
  elif name == "jitter":
    value = summary.get("jitter", {}).get("mean")
    reason = f"{dataset} has no videos, so no jitter"
  elif name == "detector_box":
    value = (summary.get("boxes", {}).get("detector") or {}).get(f"nme_{norm}")
    reason = f"{dataset} was not evaluated on boxes of a detector (--config.eval.boxes)"
  else:
    metric = f"nme_{norm}" if name == "stress" else f"catastrophic_{norm}"
    values = [condition[metric] for condition in summary.get("stress", {}).values()]
    value = statistics.fmean(values) if values else None
    reason = f"{dataset} was not evaluated under harder conditions (--config.eval.stress=True)"
  if value is None:
    raise InputError(f"{reason}: leave {name} out of --table.also, or evaluate anew.")
  return value


def measure(config: ConfigDict, training: Path, folder: Path, names: Sequence[str]) -> None:
  """Measures a training on the first split, and writes `<name>.json` for each name.

  Args:
    config: of the row, whose decoder reads the landmarks.
    training: the run's folder.
    folder: where to.
    names: of `MEASURES`. "agreement" is `agreement.spreads` in `VIEWS` random views and
      "shared_error" `agreement.shared_errors` there; "shift_spread" is the spread in shifted crops.
  """
  opened = evaluate.open_run(config, training)
  source = opened.sources[config.eval.splits[0]]
  for known, views_of, num_views in (
    (_IN_RANDOM, agreement.random_views, VIEWS),
    (_IN_SHIFTED, agreement.shifted_views, agreement.SHIFTS**2),
  ):
    wanted = [name for name in names if name in known]
    if not wanted:
      continue
    seen = agreement.in_views(
      opened.setup, source, opened.variables, num_views=num_views, views_of=views_of
    )
    for name in wanted:
      values = known[name](seen)
      written = {
        name: float(np.nanmean(values)),
        "norm": opened.setup.norm,
        "views": num_views,
        "faces": int(np.isfinite(values).sum()),
      }
      write_atomic(folder / f"{name}.json", json.dumps(written, indent=2) + "\n")


def missing(folder: Path, names: Sequence[str]) -> list[str]:
  """Those of the names that have not been measured."""
  return [name for name in names if name in MEASURES and not (folder / f"{name}.json").exists()]


def forget(folder: Path) -> None:
  """Removes what was measured."""
  for name in MEASURES:
    (folder / f"{name}.json").unlink(missing_ok=True)


def read(folder: Path, name: str) -> float:
  """A measure, in percent of the normaliser."""
  return json.loads((folder / f"{name}.json").read_text())[name]
