"""Rows over seeds to statistics and Markdown; knows nothing of networks."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fal_jax import metrics
from fal_jax.output import markdown as markdown_tables
from fal_jax.scoring import comparison, intervals

DECIMALS = 3
UNSCATTERED = "unscattered"  # a further column, where a row scatters faces
CAPTION = (
  "*Percentage of faces with at most a given error. One line per row over the faces of all its "
  "seeds: each face counts once per seed.*"
)


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
  """Mean and standard deviation (n - 1); None where there are too few values."""
  mean = statistics.fmean(values) if values else None
  return mean, statistics.stdev(values) if len(values) > 1 else None


def difference(values: Mapping[int, float], reference: Mapping[int, float]) -> dict[str, Any]:
  """Differences paired by seed.

  Args:
    values: seed -> result.
    reference: seed -> result that is subtracted.

  Returns:
    Their `mean`, its `standard_error`, and `seeds`, how many pairs there are.
  """
  mean, deviation = spread([values[seed] - reference[seed] for seed in values if seed in reference])
  pairs = len(values.keys() & reference.keys())
  return {
    "mean": mean,
    "standard_error": None if deviation is None else deviation / pairs**0.5,
    "seeds": pairs,
  }


def interval_over_faces(
  faces: Mapping[int, np.ndarray],
  reference: Mapping[int, np.ndarray],
  *,
  groups: Sequence[str] | None = None,
  kept: np.ndarray | None = None,
) -> list[float] | None:
  """How far the difference of two rows would move with other faces, for these trainings.

  Args:
    faces: seed -> (M,) what each face adds to the metric, percent.
    reference: the same, subtracted, of the same faces.
    groups: M names; faces of one name are drawn together.
    kept: (M,) bool, the faces to draw from; None for all.

  Returns:
    The ends of the 95 % bootstrap interval of the difference in the mean over the seeds that both
    have; None where there is none, or too few faces for an interval.
  """
  seeds = faces.keys() & reference.keys()
  if not seeds:
    return None
  change = np.mean([faces[seed] - reference[seed] for seed in sorted(seeds)], axis=0)
  if kept is not None:
    change = change[kept]
    groups = list(itertools.compress(groups, kept)) if groups else None
  if len(set(groups) if groups else change) < comparison.MIN_FACES:
    return None
  return intervals.bootstrap(change[:, None], seed=0, groups=groups)[0].tolist()


def with_unscattered(
  rows: Sequence[Mapping[str, Any]],
) -> tuple[Sequence[Mapping[str, Any]], np.ndarray | None]:
  """Adds to each row its mean over the faces that no row scatters.

  A few errors of 100 % hide what rows differ by otherwise.

  Args:
    rows: as for `summarise`; their `faces` are errors in percent.

  Returns:
    The rows with `UNSCATTERED` in `also`, and (M,) bool, the faces that no result has above
    `metrics.CATASTROPHIC`. The rows as they are and None where these are all faces, or none.
  """
  errors = [of_seed for row in rows for of_seed in row["faces"].values()]
  kept = ~np.any([of_seed > metrics.CATASTROPHIC for of_seed in errors], axis=0)
  if kept.all() or not kept.any():
    return rows, None

  def means(row: Mapping[str, Any]) -> dict[int, float]:
    return {seed: float(np.nanmean(of_seed[kept])) for seed, of_seed in row["faces"].items()}

  added = [{**row, "also": {**row["also"], UNSCATTERED: means(row)}} for row in rows]
  return added, kept


def summarise(
  rows: Sequence[Mapping[str, Any]],
  *,
  against: str,
  groups: Sequence[str] | None = None,
  kept: np.ndarray | None = None,
) -> list[dict[str, Any]]:
  """Adds to each row its mean, deviation and difference.

  Args:
    rows: each with `label`, `values`, the result of each seed, and `catastrophic`, likewise the
      percentage of its faces above `metrics.CATASTROPHIC`, None where it is not known; and `also`,
      other measures by name, each of them seed -> result; and `faces`, see `interval_over_faces`.
    against: "previous" compares each row with the one above, "first" with the first one.
    groups: see `interval_over_faces`.
    kept: of `with_unscattered`.

  Returns:
    The rows without `faces`, with `mean`, `standard_deviation`, `seeds` and, from the second on,
    `difference` with its `interval_over_faces`. Each entry of `also` becomes such a row of its own,
    with an interval if it is `UNSCATTERED`.
  """
  summaries = []
  for index, row in enumerate(rows):
    reference = rows[index - 1 if against == "previous" else 0] if index else None
    shown = {key: value for key, value in row.items() if key != "faces"}
    summary = {**shown, **_summary(row["values"], reference["values"] if reference else None)}
    summary["also"] = {
      name: {
        "values": values,
        **_summary(values, reference["also"][name] if reference else None),
      }
      for name, values in row["also"].items()
    }

    if reference:
      summary["difference"] |= {
        "from": reference["label"],
        "interval_over_faces": interval_over_faces(row["faces"], reference["faces"], groups=groups),
      }
      if kept is not None:
        summary["also"][UNSCATTERED]["difference"]["interval_over_faces"] = interval_over_faces(
          row["faces"], reference["faces"], groups=groups, kept=kept
        )
    summaries.append(summary)
  return summaries


def _summary(values: Mapping[int, float], reference: Mapping[int, float] | None) -> dict[str, Any]:
  """Mean, deviation and, if there is something to compare with, `difference`."""
  mean, deviation = spread(list(values.values()))
  summary = {"mean": mean, "standard_deviation": deviation, "seeds": len(values)}
  return summary if reference is None else {**summary, "difference": difference(values, reference)}


def markdown(report: Mapping[str, Any]) -> str:
  """The table as a page.

  Args:
    report: what is written as JSON; see `run.report` and, for its `figure`, `run.run`.

  Returns:
    Title, table, notes, figure and command.
  """
  paper = f"paper, {report['paper']}" if report["paper"] else "paper"
  compared = "row above" if report["against"] == "previous" else "first row"
  head = [
    "row",
    paper,
    f"{report['metric']}, mean ± sd",
    "seeds",
    *(f"seed {seed}" for seed in report["seeds"]),
    f"minus {compared} ± se",
    "95 % over faces",
    "catastrophic, % of faces",
    *(
      column
      for name in report["also"]
      for column in (f"{name}, mean ± sd", f"{name}, minus {compared} ± se")
    ),
    *([f"{UNSCATTERED}, 95 % over faces"] if report["unscattered"] else []),
  ]
  table = markdown_tables.table(head, [_cells(row, report["seeds"]) for row in report["rows"]])
  sentences = "\n".join(f"* {note}" for note in notes(report))
  parts = [f"# {report['title']}", table, sentences]
  if report["figure"]:
    parts.append(f"![Error curves of the rows]({report['figure']})\n\n{CAPTION}")
  return "\n\n".join([*parts, f"```\n{report['command']}\n```\n"])


def _cells(row: Mapping[str, Any], seeds: Sequence[int]) -> list[str]:
  also = [
    _number(*pair, sign=sign)
    for other in row["also"].values()
    for *pair, sign in (
      (other["mean"], other["standard_deviation"], ""),
      (*_change(other), "+"),
    )
  ]
  return [
    row["label"],
    "" if row["paper"] is None else f"{row['paper']:.2f}",
    _number(row["mean"], row["standard_deviation"]),
    str(row["seeds"]),
    *(_number(row["values"].get(seed)) for seed in seeds),
    _number(*_change(row), sign="+"),
    _interval(row),
    _mean_percent(list(row["catastrophic"].values())),
    *also,
    *([_interval(row["also"][UNSCATTERED])] if UNSCATTERED in row["also"] else []),
  ]


def _interval(row: Mapping[str, Any]) -> str:
  ends = row.get("difference", {}).get("interval_over_faces")
  return f"{_number(ends[0], sign='+')} to {_number(ends[1], sign='+')}" if ends else ""


def _change(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
  """The difference of a row and its standard error; None where there is none."""
  change = row.get("difference", {})
  return change.get("mean"), change.get("standard_error")


def notes(report: Mapping[str, Any]) -> list[str]:
  """What a reader of the table must know."""
  seeds, rows = report["seeds"], report["rows"]
  commits = ", ".join(commit[:10] for commit in report["git_commits"]) or "unknown"
  is_elsewhere = report["trained_on"] != report["dataset"]
  trained_on = f"; trained on {report['trained_on']}" if is_elsewhere else ""
  sentences = [
    f"{report['metric']} on {report['dataset']}, split {report['split']}{trained_on}; base config "
    f"{report['base']}; commit {commits}."
  ]

  missing = sum(len(seeds) - row["seeds"] for row in rows)
  if missing:
    sentences.append(
      f"Incomplete: {missing} of {len(seeds) * len(rows)} results are missing and left blank."
    )
  if len(report["git_commits"]) > 1:
    sentences.append("Results come from several versions of the code.")

  if len(seeds) == 1:
    sentences.append("One seed: nothing here says how much another one would differ.")
  else:
    doubt = round(100 / (2 * (len(seeds) - 1)) ** 0.5)
    sentences.append(
      "sd is the standard deviation over seeds (n - 1). Differences are taken seed by seed, se is "
      f"the standard error of their mean. From {len(seeds)} seeds, sd and se are themselves known "
      f"to about {doubt} % only: a difference of two or three se may be chance."
    )
  if any(row.get("difference", {}).get("interval_over_faces") for row in rows):
    sentences.append(
      "The interval over faces is the paired bootstrap of the difference, averaged over seeds: "
      "what other faces of the same kind would change, with these trainings."
    )

  if counts := report["unscattered"]:
    sentences.append(
      f"{UNSCATTERED}: {report['metric']} over the {counts[0]} of {counts[1]} faces whose error is "
      f"at most {metrics.CATASTROPHIC:.0f} % in every row and seed."
    )

  for training in dict.fromkeys(row["training"] for row in rows):
    sharing = [row["label"] for row in rows if row["training"] == training]
    if len(sharing) > 1:
      sentences.append(f"The same trainings, read by different decoders: {'; '.join(sharing)}.")
  return sentences


def _mean_percent(values: Sequence[float | None]) -> str:
  """The mean over seeds; "" unless it is known of every one."""
  known = [value for value in values if value is not None]
  return f"{statistics.fmean(known):.2f}" if known and len(known) == len(values) else ""


def _number(value: float | None, spread: float | None = None, *, sign: str = "") -> str:
  if value is None:
    return ""
  return f"{value:{sign}.{DECIMALS}f}" + ("" if spread is None else f" ± {spread:.{DECIMALS}f}")
