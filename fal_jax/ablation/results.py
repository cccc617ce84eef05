"""Rows over seeds to statistics and Markdown; knows nothing of networks."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fal_jax.output import markdown as markdown_tables

DECIMALS = 3
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


def summarise(rows: Sequence[Mapping[str, Any]], *, against: str) -> list[dict[str, Any]]:
  """Adds to each row its mean, deviation and difference.

  Args:
    rows: each with `label`, `values`, the result of each seed, and `catastrophic`, likewise the
      percentage of its faces above `metrics.CATASTROPHIC`, None where it is not known.
    against: "previous" compares each row with the one above, "first" with the first one.

  Returns:
    The rows with `mean`, `standard_deviation`, `seeds` and, from the second on, `difference`.
  """
  summaries = []
  for index, row in enumerate(rows):
    mean, deviation = spread(list(row["values"].values()))
    summary = {**row, "mean": mean, "standard_deviation": deviation, "seeds": len(row["values"])}

    if index:
      reference = rows[index - 1 if against == "previous" else 0]
      paired = difference(row["values"], reference["values"])
      summary["difference"] = {"from": reference["label"], **paired}
    summaries.append(summary)
  return summaries


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
    "catastrophic, % of faces",
  ]
  table = markdown_tables.table(head, [_cells(row, report["seeds"]) for row in report["rows"]])
  sentences = "\n".join(f"* {note}" for note in notes(report))
  parts = [f"# {report['title']}", table, sentences]
  if report["figure"]:
    parts.append(f"![Error curves of the rows]({report['figure']})\n\n{CAPTION}")
  return "\n\n".join([*parts, f"```\n{report['command']}\n```\n"])


def _cells(row: Mapping[str, Any], seeds: Sequence[int]) -> list[str]:
  change = row.get("difference", {})
  return [
    row["label"],
    "" if row["paper"] is None else f"{row['paper']:.2f}",
    _number(row["mean"], row["standard_deviation"]),
    str(row["seeds"]),
    *(_number(row["values"].get(seed)) for seed in seeds),
    _number(change.get("mean"), change.get("standard_error"), sign="+"),
    _mean_percent(list(row["catastrophic"].values())),
  ]


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
