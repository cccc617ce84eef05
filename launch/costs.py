"""python -m launch.costs --results=runs/ablation_w300/family.json

What the networks of a table of ablations cost, beside how accurate they are: parameters, file
sizes, multiplications and additions, and CPU time. Writes family_costs.json, .md and .png beside
the table's files. Each network is that of its row's first seed, exported to ONNX with its decoder
and run by ONNX Runtime on one thread, one face a call. The networks take turns, round after round,
so that a spell in which the machine is slow affects all alike, and CPU time counts, which waiting
for other programs does not lengthen. "CPU ms" is the mean over the calls of the fastest round,
since virtual machines are slow in some rounds; "of the first" the median over rounds of the time
beside that of the first row in the same round.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fal_jax import build, flag_parser
from fal_jax.bench import flops, timing
from fal_jax.errors import InputError
from fal_jax.export import onnx_model, source
from fal_jax.export.options import Options
from fal_jax.output import machine, markdown
from fal_jax.output.commit import git_commit
from fal_jax.output.folders import write_atomic
from fal_jax.plots import figure
from fal_jax.weights import pack

# Name, colour, and where a mark's text stands from it, pt: one kind above its line, one below.
_STYLES = {
  "fan": ("FAN", "#D55E00", (6, 5), "left"),
  "mobile_unet": ("MobileUNet", "#0072B2", (-7, -11), "right"),
}


def main() -> None:
  """Measures what the flags name."""
  args = _parse()
  table, rows = read(args.results)
  folder, stem = args.results.parent, args.results.stem

  costs, tasks = [], {}
  for row in rows:
    training = folder / "trainings" / row["training"] / f"seed{min(map(int, row['values']))}"
    of_network, tasks[row["row"]] = measure(training)
    costs.append({key: row[key] for key in ("row", "label", "mean", "seeds")} | of_network)
  load = [round(os.getloadavg()[0], 1)]
  seconds = timing.interleaved(
    tasks,
    rounds=args.rounds,
    min_seconds=60,  # that is, always as many calls as asked for
    max_repeats=args.calls,
    clock=time.process_time,
  )
  load.append(round(os.getloadavg()[0], 1))
  first = seconds[costs[0]["row"]]
  for cost in costs:
    own = seconds[cost["row"]]
    spread = timing.spread(own)
    cost["relative"] = round(statistics.median(timing.ratios(own, first)), 3)
    cost["cpu_ms"] = round(1e3 * spread["min"], 3)
    cost["cpu_ms_median"] = round(1e3 * spread["median"], 3)
    cost["cpu_ms_highest"] = round(1e3 * spread["max"], 3)

  content = {
    "table": stem,
    "metric": table["metric"],
    "cpu": machine.cpu(),
    "cores": os.cpu_count(),
    "load": load,
    "rounds": args.rounds,
    "calls": args.calls,
    "git_commit": git_commit(),
    "rows": costs,
  }
  write_atomic(folder / f"{stem}_costs.json", json.dumps(content, indent=1) + "\n")
  text = markdown_table(costs, metric=table["metric"])
  write_atomic(folder / f"{stem}_costs.md", text + "\n")
  draw(folder / f"{stem}_costs.png", costs, metric=table["metric"])
  print(text)


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """A table of `fal_jax.ablation`, and its rows that have a result.

  Args:
    path: the table's .json.

  Raises:
    InputError: it is not such a table, or none of its rows is trained.
  """
  try:
    table = json.loads(path.read_text(encoding="utf-8"))
    rows = [row for row in table["rows"] if row["values"]]
    table["metric"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise InputError(
      f"--results={path} is not a table of python -m fal_jax.ablation "
      f"({type(error).__name__}): name its .json, e.g. runs/ablation/family.json."
    ) from error
  if not rows:
    raise InputError(f"--results={path} has no results yet: run its command first.")
  return table, rows


def measure(training: Path) -> tuple[dict[str, Any], timing.Task]:
  """Sizes of a run's network, and a function that runs it so many times.

  Args:
    training: the run's folder.

  Returns:
    `input` (px), `network`, `stacks`, `features`, `depth`, `expansion` (None where it has none),
    `parameters`, `mflop` (convolutions, one face), `float16_mb` and `onnx_mb`; and the function,
    which reads the landmarks of one face and returns the last ones, (1, K, 2).
  """
  import onnxruntime

  model = source.load(Options(weights=str(training), out=None))
  setup = build.setup(model.config)
  content = onnx_model.write(setup, model.variables).SerializeToString()

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = options.inter_op_num_threads = 1
  session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
  size = setup.crop.size
  crop = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)

  config = model.config.model
  packed = pack.arrays(model.variables)
  of_network = {
    "input": size,
    "network": config.name,
    "stacks": config.num_stacks,
    "features": config.features,
    "depth": config.depth,
    "expansion": config.expansion if config.name == "mobile_unet" else None,
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.variables["params"])),
    "mflop": round(flops.forward(model.config) / 1e6, 1),
    "float16_mb": round(sum(array.nbytes for array in packed.values()) / 1e6, 3),
    "onnx_mb": round(len(content) / 1e6, 3),
  }

  def run(repeats: int) -> Any:
    for _ in range(repeats):
      (landmarks,) = session.run(["landmarks"], {"images": crop})
    return landmarks

  return of_network, run


def markdown_table(costs: Sequence[Mapping[str, Any]], *, metric: str) -> str:
  """The table of README.md.

  Args:
    costs: `rows` of the .json.
    metric: which error `mean` is.

  Returns:
    Markdown.
  """
  head = ["network", "input", "depth", "expansion", metric, "seeds", "CPU ms", "of the first"]
  head += ["MFLOP", "parameters", "float16, MB", "ONNX, MB"]
  body = [
    [
      cost["label"],
      str(cost["input"]),
      str(cost["depth"]),
      "" if cost["expansion"] is None else str(cost["expansion"]),
      f"{cost['mean']:.2f}",
      str(cost["seeds"]),
      f"{cost['cpu_ms']:.2f}",
      f"{cost['relative']:.2f}",
      f"{cost['mflop']:.1f}",
      f"{cost['parameters']:,}",
      f"{cost['float16_mb']:.2f}",
      f"{cost['onnx_mb']:.2f}",
    ]
    for cost in costs
  ]
  return markdown.table(head, body)


def draw(path: Path, costs: Sequence[Mapping[str, Any]], *, metric: str) -> None:
  """Draws error against time, a line for each kind of network; of one seed, a hollow mark.

  Args:
    path: .png, beside which the same figure is written as .svg.
    costs: `rows` of the .json.
    metric: which error `mean` is.

  Raises:
    InputError: if matplotlib is missing.
  """
  several_inputs = len({cost["input"] for cost in costs}) > 1
  fig = figure.new_figure(6.4, 4.0)
  axes = fig.add_subplot()
  for network, (name, colour, offset, side) in _STYLES.items():
    of_kind = sorted(
      (cost for cost in costs if cost["network"] == network), key=lambda cost: cost["cpu_ms"]
    )
    x, y = [cost["cpu_ms"] for cost in of_kind], [cost["mean"] for cost in of_kind]
    axes.plot(x, y, "o-", color=colour, label=name)
    for cost in of_kind:
      place = (cost["cpu_ms"], cost["mean"])
      text = f"{cost['features']} features" + f", {cost['input']} px" * several_inputs
      text += f", {cost['stacks']} stacks" * (cost["stacks"] > 1)
      if cost["seeds"] == 1:
        axes.plot(*place, "o", color=colour, markerfacecolor="white")
      style = {"color": colour, "fontsize": 9, "ha": side}
      axes.annotate(text, place, offset, textcoords="offset points", **style)
  axes.margins(x=0.45, y=0.15)  # for the names beside the last marks
  ticks = axes.get_xticks()  # of which the room for names has negative ones
  axes.set_xticks(ticks[(ticks >= 0) & (ticks < axes.get_xlim()[1])])
  axes.set_xlabel("CPU time per face on one core, ms")
  axes.set_ylabel(figure.norm_label(metric.removeprefix("nme_")))
  axes.legend(frameon=False, fontsize=9)
  figure.save(fig, path)


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--results", type=Path, required=True, help="the table's .json")
  parser.add_argument("--rounds", type=int, default=31)
  parser.add_argument("--calls", type=int, default=100, help="of each network, in each round")
  return parser.parse_args()


if __name__ == "__main__":
  sys.exit(flag_parser.exit_code(main))
