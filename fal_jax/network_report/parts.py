"""--mode=network_report --parts: what makes a network fail, and whether it knows when it does."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from fal_jax import evaluate
from fal_jax.errors import InputError
from fal_jax.network_report import calibration, robustness
from fal_jax.network_report.curve_figures import draw_calibration, draw_robustness
from fal_jax.network_report.run import write
from fal_jax.output.folders import make_dir

PARTS = ("robustness", "calibration")


def run(
  config: ConfigDict | None,
  workdir: str | Path,
  parts: Sequence[str],
  *,
  runs: Mapping[str, str],
  views: int,
  weights: str | None = None,
  overrides: Sequence[str] = (),
  command: str,
) -> Iterator[str]:
  """Measures parts of a network on every split of `config.eval.splits`, or lays curves together.

  Writes `network_report/<split>_<part>.json`, `.md` and `.png`; of several networks
  `network_report/robustness.md` and `.png`.

  Args:
    config: what to evaluate under; None for the config that the run has saved.
    workdir: the run's folder, or where the figure of several goes.
    parts: some of `PARTS`.
    runs: label -> the `<split>_robustness.json` of a network, to be drawn in one figure instead of
      measuring any.
    views: looks at each face whose disagreement is held against the error.
    weights: a network that comes with the package, instead of the run's.
    overrides: flags of the form --config.x.y=z that change the saved config.
    command: what makes the report again.

  Yields:
    What belongs on the screen, for each split and part.

  Raises:
    InputError: there is no such part, run, dataset or file, or they do not fit together.
  """
  if unknown := [part for part in parts if part not in PARTS]:
    raise InputError(
      f"Unknown --parts={','.join(unknown)} of --mode=network_report; choose from "
      f"{','.join(PARTS)}."
    )
  if runs:
    if list(parts) != ["robustness"]:
      raise InputError(
        "--runs lays the curves of several networks together: give --parts=robustness alone."
      )
    yield robustness.lay_together(workdir, runs, command=command)
    return

  opened = evaluate.open_run(config, workdir, weights=weights, overrides=overrides)
  directory = make_dir(workdir, f"network_report/{opened.folder}")
  name = weights or Path(workdir).name
  for split in opened.sources:
    for part in parts:
      match part:
        case "robustness":
          report = robustness.measure(opened, split)
          text = robustness.describe({name: report})
          draw = functools.partial(draw_robustness, reports={name: report})
        case "calibration":
          report = calibration.measure(opened, split, views=views)
          text = calibration.describe(report)
          draw = functools.partial(draw_calibration, report=report, label=name)
      yield write(
        directory / f"{split}_{part}.md",
        report,
        f"{name}, {split}\n\n{text}",
        draw=draw,
        caption=part.capitalize(),
        command=command,
      )
