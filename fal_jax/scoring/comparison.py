"""Several sets of predictions of the same faces: one table, and one figure of error curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fal_jax import metrics
from fal_jax.errors import InputError
from fal_jax.output import markdown
from fal_jax.plots import curves
from fal_jax.scoring.face_errors import Errors


def compare(errors: Mapping[str, Errors], protocol: Mapping[str, Any]) -> dict[str, Any]:
  """The protocol's metrics of each set, and how many faces improve on the first.

  Args:
    errors: label -> errors, all of the same N faces.
    protocol: of the faces, as in a summary.

  Returns:
    A mapping ready for JSON: the `protocol`; `num_images`; `num_valid`, how many of them have its
    normaliser; and `rows`, each with its `label`, the metrics by name in percent and, from the
    second on, `percent_improved`, the percentage of the valid faces whose error is smaller than in
    the first set.

  Raises:
    InputError: no face is valid.
  """
  norm, threshold = protocol["norm"], protocol["threshold"]
  names = metrics.metric_names(norm, (threshold,))
  first, *_ = errors.values()
  reference = first.by_norm[norm]
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
    if rows:
      improved = metrics.percent_improved(of_norm.nme[valid], reference.nme[valid])
      row["percent_improved"] = improved
    rows.append(row)

  return {
    "protocol": dict(protocol),
    "num_images": len(first.ids),
    "num_valid": int(valid.sum()),
    "rows": rows,
  }


def page(report: Mapping[str, Any], *, title: str) -> str:
  """The table with what its reader must know, as Markdown that also lines up on a screen.

  Args:
    report: from `compare`.
    title: what the predictions are of.

  Returns:
    Lines of text.
  """
  protocol, rows = report["protocol"], report["rows"]
  names = [name for name in rows[0] if name != "label"]
  head = ["predictions", *names, f"better than {rows[0]['label']}, % of faces"]
  cells = [
    [
      row["label"],
      *(f"{row[name]:.2f}" for name in names),
      f"{row['percent_improved']:.1f}" if "percent_improved" in row else "",
    ]
    for row in rows
  ]

  notes = [
    f"{report['num_valid']:,} of {report['num_images']:,} faces have the normaliser "
    f"{protocol['norm']} and count; protocol: {protocol['title']}."
  ]
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
