"""The error of a network against everything that makes a face harder, alone and beside others."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fal_jax import evaluate, metrics, parallel
from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.evaluate import OpenedRun
from fal_jax.network_report.curve_figures import draw_robustness
from fal_jax.network_report.run import no_norm, write
from fal_jax.output import markdown
from fal_jax.output.folders import locate, make_dir
from fal_jax.output.provenance import provenance
from fal_jax.parsing import plain_json
from fal_jax.robustness import compare, factors
from fal_jax.scoring import protocols

NAME = "robustness"
# What reports must share to stand in one figure.
_SHARED = ("dataset", "split", "num_images", "norm", "box")


def measure(opened: OpenedRun, split: str) -> dict[str, Any]:
  """The curves of one network on one split.

  Args:
    opened: the network and its splits.
    split: name of one.

  Returns:
    A mapping ready for JSON: `dataset`, `split`, `num_images`, `norm`, `box`; `factors`, a list of
    what `factors.curves` yields; and `provenance`.

  Raises:
    InputError: no face has the normaliser.
  """
  setup, source, norm = opened.setup, opened.sources[split], opened.setup.norm
  predict = functools.partial(
    evaluate.predict_split,
    parallel.make_predict(setup.network, setup.codec),
    opened.variables,
    rule=setup.crop,
    batch_size=setup.config.eval.batch_size,
    dataset=setup.eval_dataset,
    split=split,
  )
  protocol = protocols.find(setup.eval_dataset, split, norm=norm)
  of_protocol = functools.partial(compare.measure, markup=setup.markup, protocol=protocol)
  own = of_protocol(predict(source))
  if f"nme_{norm}" not in own:
    raise no_norm(split, norm)

  curves = factors.curves(
    predict, of_protocol, source, own, box=setup.crop.box, norm=norm, rule=setup.crop
  )
  return {
    "dataset": setup.eval_dataset,
    "split": split,
    "num_images": len(source),
    "norm": norm,
    "box": setup.crop.box,
    "factors": list(curves),
    "provenance": provenance(setup.config, split=split, step=opened.step),
  }


def describe(reports: Mapping[str, Mapping[str, Any]]) -> str:
  """Markdown that also lines up on a screen.

  Args:
    reports: label -> from `measure`.

  Returns:
    Where errors double, then a table for each factor.
  """
  first = next(iter(reports.values()))
  sections = ["## Where the error is twice that without any change", doubling_table(reports)]
  for number, factor in enumerate(first["factors"]):
    sections.append(f"## {factor['name'].capitalize()}: {factor['unit']}")
    for label, report in reports.items():
      points = report["factors"][number]["points"]
      rows = [
        [f"nme_{report['norm']}, %", *(f"{point['nme']:.2f}" for point in points)],
        [
          f"faces above {metrics.CATASTROPHIC:g} %, %",
          *(f"{point['catastrophic']:.1f}" for point in points),
        ],
      ]
      sections.append(markdown.table([label, *(f"{point['value']:g}" for point in points)], rows))
  sections.append(
    f"* {first['num_images']:,} faces of {first['dataset']}, {first['split']}, box: "
    f"{first['box']}. What is done to a face is a function of its id and the same for all networks."
  )
  return "\n\n".join(sections)


def doubling_table(reports: Mapping[str, Mapping[str, Any]]) -> str:
  """Where the error of each network is twice that without any change, factor by factor.

  Args:
    reports: label -> from `measure`.

  Returns:
    A Markdown table with a row per factor and a column per network.
  """
  first = next(iter(reports.values()))
  rows = [
    [
      f"{factor['name']}, {factor['unit']}",
      f"{factor['none']:g}",
      *(_doubling(report["factors"][number]) for report in reports.values()),
    ]
    for number, factor in enumerate(first["factors"])
  ]
  return markdown.table(["", "unchanged", *reports], rows)


def _doubling(factor: Mapping[str, Any]) -> str:
  """The values on both sides at which an error doubles, or the last ones before it would."""
  found = factors.doubling(factor)
  values = [point["value"] for point in factor["points"]]
  ends = {"below": values[0], "above": values[-1]}
  return " / ".join(
    f"{found[side]:.3g}" if side in found else f"not at {end:g}"
    for side, end in ends.items()
    if end != factor["none"]
  )


def lay_together(workdir: str | Path, files: Mapping[str, str], *, command: str) -> str:
  """Draws the curves of several networks in one figure, from what was measured before.

  Writes `network_report/robustness.md`, `.json` and `.png`.

  Args:
    workdir: where they go.
    files: label -> the `<split>_robustness.json` of a network.
    command: what makes the figure again.

  Returns:
    What belongs on the screen.

  Raises:
    InputError: a file is not such a report, or they are of other faces.
  """
  reports = {label: read(path) for label, path in files.items()}
  first, *others = reports.items()
  for label, report in others:
    for key in _SHARED:
      if report[key] != first[1][key]:
        raise InputError(
          f"--runs: {label} was measured with another {key} than {first[0]} ({report[key]}, not "
          f"{first[1][key]}): measure both alike."
        )

  return write(
    make_dir(workdir, "network_report") / f"{NAME}.md",
    {"files": dict(files)},
    f"{', '.join(reports)}\n\n{describe(reports)}",
    draw=functools.partial(draw_robustness, reports=reports),
    caption="Robustness",
    command=command,
  )


def read(path: str | Path) -> dict[str, Any]:
  """A report that was written before.

  Args:
    path: of the .json.

  Returns:
    What `measure` returned, and the command.

  Raises:
    InputError: there is no such file, or it is something else.
  """
  try:
    report = plain_json.loads(locate(path).read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    raise InputError(
      f"--runs: {path} cannot be read as JSON ({error}); with --parts=robustness name files "
      "<split>_robustness.json that the report of each network has written."
    ) from error
  if not _is_report(report):
    raise InputError(
      f"--runs: {path} is not a <split>_robustness.json of --mode=network_report "
      "--parts=robustness: measure the network first."
    )
  return report


def _is_report(value: Any) -> bool:
  """Whether what a file holds is all that figures and tables are made from, each of its kind."""
  if not isinstance(value, dict) or not isinstance(value.get("num_images"), int):
    return False
  if not all(isinstance(value.get(key), str) for key in _SHARED if key != "num_images"):
    return False
  curves = value.get("factors")
  known = [factor.name for factor in factors.factors(CropRule())]  # the same for every rule
  return (
    isinstance(curves, list)
    and all(map(_is_curve, curves))
    and [curve["name"] for curve in curves] == known
  )


def _is_curve(value: Any) -> bool:
  """Whether a value is one of what `factors.curves` yields."""
  if not isinstance(value, dict) or not isinstance(value.get("points"), list):
    return False
  points, is_log = value["points"], value.get("is_log")
  numbers = [
    point.get(key) if isinstance(point, dict) else None
    for point in points
    for key in ("value", "nme", "catastrophic")
  ]
  if not all(map(_is_number, [value.get("none"), *numbers])):
    return False
  places = [point["value"] for point in points]
  return (
    isinstance(value.get("name"), str)
    and isinstance(value.get("unit"), str)
    and isinstance(is_log, bool)
    and places == sorted(set(places))
    and value["none"] in places
    and (not is_log or places[0] > 0)
    and all(point["nme"] > 0 and point["catastrophic"] >= 0 for point in points)
  )


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
