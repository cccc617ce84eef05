"""Where a training step spends its time, kernel by kernel, out of JAX's own profiler."""

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from fal_jax.errors import InputError

STEPS = 3


def record(task: Callable[[int], Any], directory: Path) -> list[dict[str, Any]]:
  """Traces three steps.

  Args:
    task: training steps, compiled already.
    directory: where the trace stays, for TensorBoard or Perfetto.

  Returns:
    The ten slowest kernels, see `slowest`, with times per step.
  """
  with jax.profiler.trace(str(directory)):
    task(STEPS)
  files = sorted(
    directory.glob("plugins/profile/*/*.trace.json.gz"), key=lambda path: path.stat().st_mtime
  )
  if not files:
    raise InputError(
      f"JAX's profiler wrote no trace to {directory}: leave trace out of --parts, or try another release of JAX."
    )
  kernels = slowest(json.loads(gzip.decompress(files[-1].read_bytes())), count=10)
  return [
    {**kernel, "seconds": kernel["seconds"] / STEPS, "calls": kernel["calls"] / STEPS}
    for kernel in kernels
  ]


def slowest(trace: Mapping[str, Any], *, count: int) -> list[dict[str, Any]]:
  """The kernels that took the most time altogether.

  Args:
    trace: of Chrome's format, `traceEvents`, durations in microseconds.
    count: how many to list.

  Returns:
    `name`, `seconds`, `calls`, and `share` of the time of all kernels.
  """
  events = trace["traceEvents"]
  titles = {
    (e["pid"], e.get("tid") if e["name"] == "thread_name" else None): e["args"]["name"]
    for e in events
    if e.get("ph") == "M" and e.get("name") in ("process_name", "thread_name")
  }
  on_device = {place for place in titles if titles.get((place[0], None), "").startswith("/device:")}
  streams = {place for place in on_device if titles[place].startswith("Stream")}
  # A GPU lists its kernels by stream, and again in sums over them; a TPU has a line of operations;
  # a CPU has XLA's threads.
  chosen = streams or {place for place in on_device if titles[place] == "XLA Ops"}
  chosen = chosen or {place for place, title in titles.items() if title.startswith("tf_XLA")}
  seconds: dict[str, float] = defaultdict(float)
  calls: dict[str, int] = defaultdict(int)
  for event in events:
    if event.get("ph") != "X" or (event["pid"], event.get("tid")) not in chosen:
      continue
    name = event["name"]
    if not any(
      mark in name for mark in (" ", "::", "end: ", "ThunkExecutor")
    ):  # of the CPU's threads: what runs kernels
      seconds[name] += event.get("dur", 0) / 1e6
      calls[name] += 1
  total = sum(seconds.values())
  order = sorted(seconds, key=lambda name: -seconds[name])[:count]
  return [
    {"name": name, "seconds": seconds[name], "calls": calls[name], "share": seconds[name] / total}
    for name in order
  ]
