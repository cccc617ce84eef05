"""Weak scaling of the training step on CPU: every device has the same work, and what it costs that
they must agree.

What is compared lives at the same time and takes turns.
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fal_jax import parallel
from fal_jax.bench import timing
from fal_jax.bench.timing import Task
from fal_jax.bench.worker import Worker, fake_devices

DEVICES = (1, 2, 4, 8)


def fake(
  config: ConfigDict,
  *,
  pairs: int,
  rounds: int,
  environment: Mapping[str, str],
  echo: Callable[[str], None],
  counts: Sequence[int] = DEVICES,
) -> list[dict[str, Any]]:
  """One process after another, with more and more fake devices, which share this machine's cores.

  Args:
    config: of the run.
    pairs: of each device.
    rounds: how often each is measured.
    environment: variables to set for the processes.
    echo: takes a line of progress.
    counts: numbers of devices, the first one smallest.

  Returns:
    For each count the `seconds` of a step, `control`, the seconds of the same work without a
    message between devices, and `efficiency`, the latter over the former round by round, each as a
    spread; one device is its own control. A count for which there may be too little memory has
    `too_large` instead.
  """
  found: list[dict[str, Any]] = []
  for count in counts:
    needed, available = (
      found[0]["peak_bytes"] / counts[0] * count if found else 0,
      _available_bytes(),
    )
    if available is not None and needed > available:
      echo(
        f"{count} fake devices may need {needed / 1e9:.1f} GB and {available / 1e9:.1f} GB are available: left out"
      )
      found.append({"devices": count, "too_large": True})
      continue
    job = {"config": _json(config), "pairs": pairs * count, "process": None}
    with Worker(job, {**environment, **fake_devices(count)}) as worker:
      echo(f"{count} fake devices: first step after {worker.answer()['step']:.1f} s")
      tasks = {
        what: _task([worker], what) for what in ("step", "control")[: 1 if count == 1 else 2]
      }
      seconds = timing.interleaved(tasks, rounds=rounds, min_seconds=0, echo=echo)
      worker.ask("memory")
      peak = worker.answer()["peak_bytes"]
    found.append(
      {
        "devices": count,
        "peak_bytes": peak,
        **_compare(seconds["step"], seconds.get("control", seconds["step"])),
      }
    )
  return found


def _available_bytes() -> int | None:
  """Memory that processes may still take; None where nobody says so, as on any system but Linux."""
  try:
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
  except OSError:
    return None
  return next(
    (1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None
  )


def processes(
  config: ConfigDict,
  *,
  pairs: int,
  rounds: int,
  environment: Mapping[str, str],
  echo: Callable[[str], None],
) -> dict[str, Any]:
  """Two processes that train together by `jax.distributed`, and two that know nothing of each
  other, on half of the cores each.

  Args:
    config: of the run.
    pairs: of each process, which has one device.
    rounds: how often each is measured.
    environment: variables to set for the processes.
    echo: takes a line of progress.

  Returns:
    `processes`, and the rest as in an entry of `fake`.
  """
  cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
  halves = (cores[: len(cores) // 2], cores[len(cores) // 2 :]) if len(cores) > 1 else ([], [])
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  # By itself a process would have these as options of its step; together they would not, and the
  # kernels would be compared.
  kernels = "".join(f" --{name}={value}" for name, value in parallel.cpu_options().items())
  with contextlib.ExitStack() as on_exit:

    def pair(together: bool) -> list[Worker]:
      jobs = (
        {
          "config": _json(config),
          "pairs": pairs,
          "process": [rank, 2, address] if together else None,
        }
        for rank in (0, 1)
      )
      variables = {**environment, **fake_devices(1)}
      variables["XLA_FLAGS"] += kernels
      workers = [
        on_exit.enter_context(Worker(job, variables, cores=half))
        for job, half in zip(jobs, halves, strict=True)
      ]
      waits = max(worker.answer()["step"] for worker in workers)
      echo(
        f"2 processes {'together' if together else 'by themselves'}: first step after {waits:.1f} s"
      )
      return workers

    tasks = {
      "step": _task(pair(together=True), "step"),
      "control": _task(pair(together=False), "step"),
    }
    found = timing.interleaved(tasks, rounds=rounds, min_seconds=0, echo=echo)
  return {"processes": 2, **_compare(found["step"], found["control"])}


def _task(workers: Sequence[Worker], what: str) -> Task:
  def task(repeats: int) -> None:
    for _ in range(repeats):
      for worker in workers:
        worker.ask(what)
      for worker in workers:
        worker.answer()

  return task


def _compare(step: Sequence[float], control: Sequence[float]) -> Mapping[str, Any]:
  efficiency = timing.spread(timing.ratios(control, step))
  return {
    "seconds": timing.spread(step),
    "control": timing.spread(control),
    "efficiency": efficiency,
  }


def _json(config: ConfigDict) -> Any:
  return json.loads(config.to_json_best_effort())
