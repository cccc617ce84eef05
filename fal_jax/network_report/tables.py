"""The report of one split as text: three tables and what their reader must know."""

from collections.abc import Mapping, Sequence
from typing import Any

from fal_jax.output import markdown


def describe(report: Mapping[str, Any]) -> str:
  """Markdown that also lines up on a screen.

  Args:
    report: from `run.measure`.

  Returns:
    Tables, then notes.
  """
  own, norm = report["own"], report["norm"]
  window, temperature = f"window {own['window']}", f"temperature {own['temperature']:g}"
  sections = [
    f"## Decoders, {window}, {temperature}",
    _table(report["decoders"], "decode", own),
    f"## Windows of the local soft-argmax, {temperature}",
    _table(report["windows"], "window", own),
    f"## Temperatures of the local soft-argmax, {window}",
    _table(report["temperatures"], "temperature", own),
  ]

  notes = [
    f"{report['num_images']:,} faces, {report['num_degenerate']:,} of them without the normaliser "
    f"{norm} and not counted. The run's own setting is {own['decode']}, {window}, {temperature}: "
    f"nme_{norm} {own[f'nme_{norm}']:.3f} %.",
    "A setting chosen by these tables is tuned on this split: report it on another one.",
  ]
  if report["head"].startswith("correction"):
    notes.append(
      f"These decoders read the heatmaps alone: what {report['head']} adds to the argmax is left "
      "out."
    )
  if f"agreement_{norm}" in report:
    notes.append(
      f"agreement_{norm} {report[f'agreement_{norm}']:.3f} %: so far a landmark lies from its mean "
      f"over {report['views']['number']} random views of its face, colour included (root mean "
      f"square, in percent of {norm}, mean over faces). The smaller, the more consistent. "
      f"That mean has an error of {report[f'shared_error_{norm}']:.3f} %, which all views share."
    )
  return "\n\n".join([*sections, "\n".join(f"* {note}" for note in notes)])


def _table(rows: Sequence[Mapping[str, Any]], key: str, own: Mapping[str, Any]) -> str:
  """One table, whose rows differ in one option."""
  names = [name for name in own if name not in ("decode", "window", "temperature")]
  head = [key, *names, "faces better than the run's own, %"]
  cells = [
    [
      _setting(row, key),
      *(f"{row[name]:.3f}" for name in names),
      f"{row['percent_improved']:.1f}" if "percent_improved" in row else "the run's own",
    ]
    for row in rows
  ]
  return markdown.table(head, cells)


def _setting(row: Mapping[str, Any], key: str) -> str:
  """The option in which a row differs."""
  if key == "window" and row["window"] == 1:
    return "1 (argmax)"
  return row[key] if key == "decode" else f"{row[key]:g}"
