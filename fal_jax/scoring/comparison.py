"""Several sets of predictions of the same faces: one table, and one figure of error curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax import metrics
from fal_jax.errors import InputError
from fal_jax.output import markdown
from fal_jax.plots import curves
from fal_jax.scoring import intervals
from fal_jax.scoring.face_errors import Errors, NormErrors
from fal_jax.scoring.summary import RESAMPLES

MIN_FACES = 10  # a bootstrap interval over fewer is much too narrow


def compare(
  errors: Mapping[str, Errors], protocol: Mapping[str, Any], *, videos: Sequence[str] | None = None
) -> dict[str, Any]:
  """The protocol's metrics of each set, and how they differ from the first.

  Args:
    errors: label -> errors, all of the same N faces.
    protocol: of the faces, as in a summary.
    videos: N names; faces of one video are drawn together.

  Returns:
    A mapping ready for JSON: the `protocol`; `num_images`; `num_valid`, how many of them have its
    normaliser; `over`, what intervals are over; and `rows`, each with its `label`, the metrics by
    name in percent, `num_missing` where faces need not be found and, from the second on,
      percent_improved: the percentage of the valid faces whose error is smaller than in the first
        set
      differences: metric -> its `mean` difference from the first set, face by face, with its 95 %
        bootstrap `interval`, and the number of `faces`: of nme those that both found, of the others
        all valid ones
      verdict: one line on what they say

  Raises:
    InputError: no face is valid.
  """
  norm, threshold = protocol["norm"], protocol["threshold"]
  names = metrics.metric_names(norm, (threshold,))
  first, *_ = errors
  reference = errors[first].by_norm[norm]
  valid = reference.valid  # of all sets: it depends on the annotation alone
  if not valid.any():
    raise InputError(
      f"No annotated face has the normaliser {norm}: there is nothing to compare predictions by."
    )

  rows: list[dict[str, Any]] = []
  for label, of_label in errors.items():
    of_norm = of_label.by_norm[norm]
    means = of_norm.means()
    row = {"label": label, **{name: means[name] for name in names if name in means}}
    if of_label.found is not None:
      row["num_missing"] = int((~of_label.found).sum())
    if rows:
      row["percent_improved"] = metrics.percent_improved(of_norm.nme[valid], reference.nme[valid])
      differences = _differences(of_norm, reference, names, videos)
      row["differences"] = differences
      row["verdict"] = _verdict(label, first, differences, f"nme_{norm}", f"fr_{norm}_")
    rows.append(row)

  return {
    "protocol": dict(protocol),
    "num_images": len(errors[first].ids),
    "num_valid": int(valid.sum()),
    "over": "faces" if videos is None else "videos",
    "rows": rows,
  }


def _differences(
  errors: NormErrors, reference: NormErrors, names: Sequence[str], videos: Sequence[str] | None
) -> dict[str, dict[str, Any]]:
  """By metric: the mean of what faces contribute to it less what they do in the reference."""
  columns = [k for k, metric in enumerate(errors.metrics) if metric.name in names]
  change = (errors.valid_values() - reference.valid_values())[:, columns]
  known = [k for k in range(len(columns)) if not np.isnan(change[:, k]).all()]
  groups = None
  if videos is not None:
    groups = [videos[row] for row in np.flatnonzero(errors.valid).tolist()]
  ends = intervals.bootstrap(change[:, known], seed=0, groups=groups, resamples=RESAMPLES)
  return {
    errors.metrics[columns[k]].name: {
      "mean": float(np.nanmean(change[:, k])),
      "interval": interval.tolist(),
      "faces": int((~np.isnan(change[:, k])).sum()),
    }
    for k, interval in zip(known, ends, strict=True)
  }


def _verdict(
  label: str, first: str, differences: Mapping[str, Mapping[str, Any]], nme: str, failures: str
) -> str:
  """One line on what the differences of one set from the first say.

  Args:
    label: of the set.
    first: label of the first.
    differences: by metric.
    nme: name of the error.
    failures: how the name of the failure rate begins.

  Returns:
    The verdict on the error and, where faces were not found, the difference in failures.
  """
  share = next(name for name in differences if name.startswith(failures))
  num_valid = differences[share]["faces"]
  if nme not in differences:
    return f"{label} and {first} have found no face in common"

  faces = differences[nme]["faces"]
  change, (low, high) = differences[nme]["mean"], differences[nme]["interval"]
  digits = 2 if abs(change) >= 0.1 else 4
  ends = [f"{end:.{digits}f}" for end in (low, high)]
  if faces < MIN_FACES:
    text = (
      f"{label} differs from {first} by {change:.{digits}f} {nme} [{', '.join(ends)}]: "
      f"{faces} faces are too few for a verdict"
    )
  elif low <= 0 <= high:
    text = (
      f"{label} and {first} cannot be told apart by {nme}: the difference is "
      f"{change:.{digits}f} [{', '.join(ends)}]"
    )
  else:
    word = "better" if change < 0 else "worse"
    smaller, larger = sorted((abs(low), abs(high)))
    text = (
      f"{label} is {word} than {first} by {abs(change):.{digits}f} {nme} "
      f"[{smaller:.{digits}f}, {larger:.{digits}f}]"
    )
  if faces == num_valid:
    return text
  failed = differences[share]
  ends = [f"{end:+.2f}" for end in failed["interval"]]
  return (
    f"{text}, on the {faces} faces of {num_valid} that both found; over all, {share} changes by "
    f"{failed['mean']:+.2f} [{', '.join(ends)}]"
  )


def page(report: Mapping[str, Any], *, title: str) -> str:
  """The table with what its reader must know, as Markdown that also lines up on a screen.

  Args:
    report: from `compare`.
    title: what the predictions are of.

  Returns:
    Lines of text.
  """
  protocol, rows = report["protocol"], report["rows"]
  names = metrics.metric_names(protocol["norm"], (protocol["threshold"],))
  head = ["predictions", *names, f"better than {rows[0]['label']}, % of faces"]
  cells = [
    [
      row["label"],
      *(f"{row[name]:.2f}" if name in row else "-" for name in names),
      f"{row['percent_improved']:.1f}" if "percent_improved" in row else "",
    ]
    for row in rows
  ]

  notes = [f"{row['verdict']}." for row in rows if "verdict" in row]
  if notes:
    notes.append(
      f"[...]: 95 % bootstrap interval of the mean difference over {report['over']}; it says "
      "nothing about other training seeds."
    )
  for row in rows:
    if row.get("num_missing"):
      notes.append(
        f"{row['label']}: {row['num_missing']} faces were not found and count as failures; nme is "
        "over the others."
      )
  notes.append(
    f"{report['num_valid']:,} of {report['num_images']:,} faces have the normaliser "
    f"{protocol['norm']} and count; protocol: {protocol['title']}."
  )
  if protocol["expected"] not in (None, protocol["found"]):
    notes.append(
      f"NOT COMPARABLE with published results: the protocol has {protocol['expected']:,} faces, "
      f"found {protocol['found']:,}."
    )
  return "\n".join([title, "", markdown.table(head, cells), "", *(f"* {note}" for note in notes)])


def draw(path: Path, errors: Mapping[str, Errors], protocol: Mapping[str, Any]) -> None:
  """Draws the cumulative error curve of each set in one figure.

  Args:
    path: of the figure.
    errors: label -> errors, of which at least one face is valid.
    protocol: of the faces, as in a summary.

  Raises:
    InputError: matplotlib is missing.
  """
  norm = protocol["norm"]
  nme = {}
  for label, of_label in errors.items():
    of_norm = of_label.by_norm[norm]
    nme[label] = of_norm.nme[of_norm.valid]
  curves.draw_ced(path, nme, norm=norm, max_error=protocol["threshold"])
