"""Where a training step spends its time, kernel by kernel, according to JAX's own profiler."""

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from fal_jax.errors import InputError

STEPS = 3

# Parts of the names of a CPU thread's events that are not kernels themselves but run them.
NOT_KERNELS = (" ", "::", "end: ", "ThunkExecutor")

Track = tuple[int, int | None]  # process and thread of a trace; None stands for the process itself


def record(task: Callable[[int], Any], directory: Path) -> list[dict[str, Any]]:
  """Traces three steps.

  Args:
    task: takes training steps; compiled already.
    directory: where the trace is kept, for TensorBoard or Perfetto.

  Returns:
    The ten slowest kernels as `slowest` lists them, seconds and calls per step.

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

  kernels = slowest(json.loads(gzip.decompress(files[-1].read_bytes())), count=10)
  return [
    {**kernel, "seconds": kernel["seconds"] / STEPS, "calls": kernel["calls"] / STEPS}
    for kernel in kernels
  ]


def slowest(trace: Mapping[str, Any], *, count: int) -> list[dict[str, Any]]:
  """The kernels that took the most time altogether.

  Args:
    trace: events in Chrome's format, `traceEvents`, durations in microseconds.
    count: how many kernels to list.

  Returns:
    `name`, `seconds`, `calls`, and `share`, the fraction of the time of all kernels.
  """
  events = trace["traceEvents"]
  tracks = _kernel_tracks(events)
  seconds: dict[str, float] = defaultdict(float)
  calls: dict[str, int] = defaultdict(int)

  for event in events:
    if event.get("ph") != "X" or (event["pid"], event.get("tid")) not in tracks:
      continue
    name = event["name"]
    if not any(part in name for part in NOT_KERNELS):
      seconds[name] += event.get("dur", 0) / 1e6
      calls[name] += 1

  total = sum(seconds.values())
  names = sorted(seconds, key=lambda name: -seconds[name])[:count]
  return [
    {"name": name, "seconds": seconds[name], "calls": calls[name], "share": seconds[name] / total}
    for name in names
  ]


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
