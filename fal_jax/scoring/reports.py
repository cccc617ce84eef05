"""What people see of a summary: the table on the screen, curves, and the errors of each face."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from fal_jax import landmarks, metrics
from fal_jax.output.folders import write_atomic
from fal_jax.plots import curves, figure, landmark_errors
from fal_jax.scoring import protocols
from fal_jax.scoring.face_errors import Errors
from fal_jax.scoring.faces import Predictions


def warn_of_degenerate(summary: Mapping[str, Any]) -> None:
  """Logs which faces no mean includes, and why."""
  for norm, ids in summary["degenerate"].items():
    logging.warning(
      "%d faces have no valid normaliser %s and are excluded from its metrics: %s",
      len(ids),
      norm,
      ", ".join(ids[:10]),
    )


def metrics_of(summary: Mapping[str, Any], norm: str) -> dict[str, float]:
  """The metrics of a summary under one normaliser, by name, in its order."""
  return {name: summary[name] for name in summary["metric_names"].get(norm, ())}


def scalars(summary: Mapping[str, Any], split: str) -> dict[str, float]:
  """The metrics of a summary for the log of a run: `split/name` -> value."""
  return {f"{split}/{name}": value for name, value in summary.items() if isinstance(value, float)}


def show_line(
  step: int, split: str, summary: Mapping[str, Any], *, norm: str, predictor: str = "network"
) -> None:
  """Prints an evaluation while training in one line; of several processes the first one does."""
  if _is_first_process():
    # By the dataset's own box, too, where the protocol measures that.
    shown = metrics_of(summary, norm) | metrics_of(summary, f"{norm}_dataset")
    cells = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
    print(f"step {step}  {split}, {predictor}: {cells}", flush=True)


def show(summaries: Mapping[str, Mapping[str, Any]]) -> None:
  """Prints the table of each split; of several processes the first one does."""
  if _is_first_process():
    for split, summary in summaries.items():
      print(table(split, summary), flush=True)


def _is_first_process() -> bool:
  import jax  # here: --mode=score needs it for nothing, and it takes as long to load as all else

  return jax.process_index() == 0


def table(split: str, summary: Mapping[str, Any]) -> str:
  """The results of a split for the screen: a line per normaliser, then what the protocol adds.

  Args:
    split: its title.
    summary: from `summary.summarise` or `Errors.summary`.

  Returns:
    Lines of text.
  """
  lines = [
    f"{split}: {summary['num_images']} images, "
    f"{summary['num_degenerate']} without a valid normaliser"
  ]
  if missing := summary.get("num_missing"):
    found = summary["num_images"] - missing
    lines.append(
      f"  {missing} faces were not found and count as failures; nme is over the {found} found of "
      f"{summary['num_images']}"
    )
  for norm in summary["metric_names"]:
    cells = [f"{name} {value:.2f}" for name, value in metrics_of(summary, norm).items()]
    if cells:
      lines.append("  " + "  ".join(f"{cell:<16}" for cell in cells).rstrip())

  if "regions" in summary:
    lines += _protocol_lines(summary)
  return "\n".join(lines)


def _protocol_lines(summary: Mapping[str, Any]) -> list[str]:
  """What is said under the protocol's normaliser."""
  protocol = summary["protocol"]
  norm = protocol["norm"]
  names = metrics.metric_names(norm, (protocol["threshold"],))
  names = [name for name in names if name in summary]

  lines = [f"  WARNING: {warning}" for warning in summary.get("warnings", [])]
  paper = protocols.cite(protocol["paper"], protocol["paper_source"])
  lines.append(f"  protocol: {protocol['title']}" + (f"; the paper: {paper}" if paper else ""))
  if protocol["note"]:
    lines.append(f"  note: {protocol['note']}")
  if protocol["expected"] not in (None, protocol["found"]):
    lines.append(
      f"  NOT COMPARABLE: the protocol has {protocol['expected']} faces, found {protocol['found']}"
    )

  bounds = summary["intervals"]
  ends = ", ".join(f"{name} {bounds[name][0]:.2f} to {bounds[name][1]:.2f}" for name in names)
  lines.append(f"  95 % interval over {bounds['over']}: {ends}")
  lines.append(f"  nme_{norm} of a face: {_listed(summary['percentiles'][norm])}")
  if {*summary["regions"]} != {"other"}:  # names that say nothing of a face
    lines.append(f"  nme_{norm} by region: {_listed(summary['regions'])}")
  for name in names:
    if name in summary["auc_variants"]:
      others = {k: v for k, v in summary["auc_variants"][name].items() if k != "exact"}
      lines.append(f"  {name} by other implementations: {_listed(others)}")

  if "visibility" in summary:
    kinds = dict(summary["visibility"])
    occluded = f"({kinds.pop('occluded_percent'):.1f} % occluded)"
    known = {kind: value for kind, value in kinds.items() if value is not None}
    lines.append(f"  nme_{norm} of landmarks: {_listed(known)} {occluded}")
  if "jitter" in summary and summary["jitter"]["mean"] is not None:
    jitter = summary["jitter"]
    lines.append(
      f"  jitter {jitter['mean']:.3f} % of {norm}, frames {jitter['frames_apart']} apart"
    )
  if subsets := summary.get("subsets"):
    lines += _subset_lines(subsets, names)
  for section, title in (("boxes", "box"), ("stress", "condition")):
    if section in summary:
      lines += _harder_lines(title, summary[section], names)
  return lines


def _listed(values: Mapping[str, float]) -> str:
  return ", ".join(f"{name} {value:.2f}" for name, value in values.items())


def _subset_lines(subsets: Mapping[str, Any], names: list[str]) -> list[str]:
  """A table with a line per subset and a column per metric; the paper's, where it has any, last."""
  width = max(len("subset"), *map(len, subsets))
  has_paper = any("paper" in summary for summary in subsets.values())
  heads = [*names, "the paper"] if has_paper else names
  columns = "".join(f"{head:>{max(12, len(head) + 2)}}" for head in heads)
  lines = [f"  {'subset':<{width}}  images{columns}"]

  for subset, summary in subsets.items():
    values = [summary.get(name) for name in names]
    if has_paper:
      values.append(summary.get("paper", {}).get(names[0]))
    cells = "".join(
      f"{'-' if value is None else format(value, '.2f'):>{max(12, len(head) + 2)}}"
      for head, value in zip(heads, values, strict=True)
    )
    count, expected = summary["num_images"], summary.get("expected")
    note = f"  (the protocol has {expected})" if expected not in (None, count) else ""
    lines.append(f"  {subset:<{width}}  {count:>6}{cells}{note}")
  return lines


def _harder_lines(title: str, metrics_by_name: Mapping[str, Any], names: list[str]) -> list[str]:
  """A table with a line per kind of box, or per condition, and a column per metric."""
  width = max(len(title), *map(len, metrics_by_name))
  lines = [f"  {title:<{width}}" + "".join(f"{name:>{len(name) + 2}}" for name in names)]
  for row, values in metrics_by_name.items():
    values = values or {}
    cells = (
      f"{format(values[name], '.2f') if name in values else '-':>{len(name) + 2}}" for name in names
    )
    note = f"  ({len(values['missed'])} faces not found, not counted)" if "missed" in values else ""
    lines.append(f"  {row:<{width}}" + "".join(cells) + note)
  return lines


def draw(
  directory: Path,
  name: str,
  predictions: Predictions,
  errors: Errors,
  markup: int | landmarks.Markup,
  *,
  norm: str,
  threshold: float,
) -> None:
  """Draws `<name>_ced.png`, the cumulative errors, and `<name>_landmarks.png`, where they are.

  Args:
    directory: where the files go.
    name: what the files are called.
    predictions: (N, K, 2) landmarks, image px, and their faces.
    errors: the errors of these predictions.
    markup: their mark-up, or its number of landmarks.
    norm: name of the normaliser.
    threshold: percent, where the curve ends.
  """
  if not figure.has_matplotlib():
    logging.warning("No curves drawn: %s", figure.NO_MATPLOTLIB)
    return
  of_norm = errors.by_norm[norm]
  found = of_norm.found
  if not found.any():
    logging.warning("No face of %s has the normaliser %s: no curves drawn.", name, norm)
    return

  nme = {name: of_norm.nme[of_norm.valid]}
  curves.draw_ced(directory / f"{name}_ced.png", nme, norm=norm, max_error=threshold)

  true, pixels = predictions.faces.landmarks[found], of_norm.norm[found]
  landmark_errors.draw_landmark_errors(
    directory / f"{name}_landmarks.png",
    true,
    pixels,
    metrics.landmark_errors(predictions.landmarks[found], true, pixels),
    markup=markup,
    norm=norm,
  )


def write_errors(path: Path, errors: Errors) -> None:
  """Writes a CSV with the error of each face in percent.

  Args:
    path: the file to write.
    errors: a column per normaliser; cells of faces that are not valid under it stay empty, and
      those of faces that were not found hold inf.
  """
  text = io.StringIO(newline="")
  writer = csv.writer(text)
  writer.writerow(["id", *(f"nme_{name}" for name in errors.by_norm)])
  for row, face in enumerate(errors.ids):
    columns = errors.by_norm.values()
    writer.writerow([face, *(f"{e.nme[row]:.6f}" if e.valid[row] else "" for e in columns)])
  write_atomic(path, text.getvalue())
