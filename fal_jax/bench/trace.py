"""Where a training step spends its time, kernel by kernel, according to JAX's own profiler."""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from fal_jax.errors import InputError

STEPS = 3

# Parts of the names of a CPU thread's events that are not kernels themselves but run them.
NOT_KERNELS = (" ", "::", "end: ", "ThunkExecutor")

# Parts of a step, and where in an operation's name, a path of scopes and modules, they show: the
# first that fits. The scopes are those of `jax.named_scope` in the package.
PARTS = {
  "views: sampled and rendered": r"\bviews\b",
  "corruption": r"\bcorruption\b",
  "warp and sum of views": r"\bcombine\b",
  "encoding": r"\bencode\b",
  "loss": r"\bloss\b",
  "optimiser": r"\boptimiser\b",
  "BatchNorm, gradient": r"transpose\(.*/(\w*bn\w*|downsample_0)/",
  "BatchNorm": r"/(\w*bn\w*|downsample_0)/",
  # With the copies that bring it into the layout of a product, which one of 1 x 1 cells is.
  "convolutions, gradient": r"transpose\(jvp\(\w+\)\).*/(conv\w*_dilated|dot_general|transpose)$",
  "convolutions": r"/(conv_general_dilated|dot_general)$",
  "other operations of the network": r"\bjvp\((FAN|CorrectedFAN|MobileUNet)\)",
}
UNNAMED = "without a name: copies, other layouts, all else"

Track = tuple[int, int | None]  # process and thread of a trace; None stands for the process itself


def record(task: Callable[[int], Any], directory: Path, *, program: str) -> dict[str, Any]:
  """Traces three steps.

  Args:
    task: takes training steps; compiled already.
    directory: where the trace is kept, for TensorBoard or Perfetto.
    program: text of the compiled step.

  Returns:
    `kernels`, the ten slowest as `slowest` lists them, seconds and calls per step; `parts`, see
    `by_part`, seconds per step; and `directory`.

  Raises:
    InputError: the profiler has written no trace.
  """
  with jax.profiler.trace(str(directory)):
    task(STEPS)

  traces = directory.glob("plugins/profile/*/*.trace.json.gz")
  files = sorted(traces, key=lambda path: path.stat().st_mtime)
  if not files:
    raise InputError(
      f"JAX's profiler wrote no trace to {directory}: leave trace out of --parts, or try another "
      "release of JAX."
    )

  trace = json.loads(gzip.decompress(files[-1].read_bytes()))
  kernels = [
    {**kernel, "seconds": kernel["seconds"] / STEPS, "calls": kernel["calls"] / STEPS}
    for kernel in slowest(trace, count=10)
  ]
  parts = {part: seconds / STEPS for part, seconds in by_part(trace, program).items()}
  return {"directory": str(directory), "parts": parts, "kernels": kernels}


def by_part(trace: Mapping[str, Any], program: str) -> dict[str, float]:
  """The time of each of `PARTS`, and what is `UNNAMED`.

  Where XLA has made one kernel of several operations, it counts as the last of them.

  Args:
    trace: events in Chrome's format, `traceEvents`, durations in microseconds.
    program: text of the compiled program, whose instructions say which operation of ours they are
      from; a kernel names its instruction, or has its name.

  Returns:
    Part -> seconds, those that took any.
  """
  operation = dict(re.findall(r"%([\w.-]+) = [^\n]*?op_name=\"([^\"]*)\"", program))
  seconds = dict.fromkeys((*PARTS, UNNAMED), 0.0)
  for event in _kernels(trace):
    name = operation.get(event.get("args", {}).get("hlo_op", event["name"]), "")
    part = next((part for part, where in PARTS.items() if re.search(where, name)), UNNAMED)
    seconds[part] += event.get("dur", 0) / 1e6
  return {part: value for part, value in seconds.items() if value}


def slowest(trace: Mapping[str, Any], *, count: int) -> list[dict[str, Any]]:
  """The kernels that took the most time altogether.

  Args:
    trace: events in Chrome's format, `traceEvents`, durations in microseconds.
    count: how many kernels to list.

  Returns:
    `name`, `seconds`, `calls`, and `share`, the fraction of the time of all kernels.
  """
  seconds: dict[str, float] = defaultdict(float)
  calls: dict[str, int] = defaultdict(int)

  for event in _kernels(trace):
    seconds[event["name"]] += event.get("dur", 0) / 1e6
    calls[event["name"]] += 1

  total = sum(seconds.values())
  names = sorted(seconds, key=lambda name: -seconds[name])[:count]
  return [
    {"name": name, "seconds": seconds[name], "calls": calls[name], "share": seconds[name] / total}
    for name in names
  ]


def _kernels(trace: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
  """The events of a trace that are runs of kernels, each of them once."""
  events = trace["traceEvents"]
  tracks = _kernel_tracks(events)
  for event in events:
    if event.get("ph") != "X" or (event["pid"], event.get("tid")) not in tracks:
      continue
    if not any(part in event["name"] for part in NOT_KERNELS):
      yield event


def _kernel_tracks(events: Sequence[Mapping[str, Any]]) -> set[Track]:
  """The tracks of a trace that list every kernel exactly once.

  A GPU lists its kernels by stream, and again in sums over them; a TPU has a line of operations; a
  CPU has XLA's threads.
  """
  titles: dict[Track, str] = {}
  for event in events:
    if event.get("ph") == "M" and event.get("name") in ("process_name", "thread_name"):
      thread = event.get("tid") if event["name"] == "thread_name" else None
      titles[event["pid"], thread] = event["args"]["name"]

  on_device = {track for track in titles if titles.get((track[0], None), "").startswith("/device:")}
  streams = {track for track in on_device if titles[track].startswith("Stream")}
  operations = {track for track in on_device if titles[track] == "XLA Ops"}
  threads = {track for track, title in titles.items() if title.startswith("tf_XLA")}
  return streams or operations or threads
