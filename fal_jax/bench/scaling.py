"""Weak scaling of the training step on CPU: what communication between devices costs.

Every device has the same work, however many there are. What is compared takes turns in the same
processes.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fal_jax import config_json, parallel
from fal_jax.bench import timing
from fal_jax.bench.timing import Task
from fal_jax.bench.worker import Worker, fake_devices

DEVICES = (1, 2, 4, 8)


def measure_fake_devices(
  config: ConfigDict,
  *,
  pairs: int,
  rounds: int,
  environment: Mapping[str, str],
  echo: Callable[[str], None],
  counts: Sequence[int] = DEVICES,
) -> list[dict[str, Any]]:
  """One process after another, with more and more fake devices that share this machine's cores.

  Args:
    config: the run's config.
    pairs: batch size per device.
    rounds: how often each count is measured.
    environment: variables to set for the processes.
    echo: progress callback.
    counts: numbers of devices, the smallest first.

  Returns:
    For each count the `seconds` of a step; `control`, the seconds of the same work without any
    communication between devices; and `efficiency`, the latter over the former round by round. Each
    is a spread; one device is its own control. A count for which there may be too little memory has
    `too_large` instead.
  """
  results: list[dict[str, Any]] = []
  for count in counts:
    needed = results[0]["peak_bytes"] / counts[0] * count if results else 0
    available = available_bytes()
    if available is not None and needed > available:
      echo(
        f"{count} fake devices may need {needed / 1e9:.1f} GB and only "
        f"{available / 1e9:.1f} GB are available: skipped"
      )
      results.append({"devices": count, "too_large": True})
      continue

    job = {"config": config_json.to_json(config), "pairs": pairs * count, "process": None}
    with Worker(job, {**environment, **fake_devices(count)}) as worker:
      echo(f"{count} fake devices: first step after {worker.answer()['step']:.1f} s")
      requests = ("step",) if count == 1 else ("step", "control")
      tasks = {request: _task([worker], request) for request in requests}
      seconds = timing.interleaved(tasks, rounds=rounds, min_seconds=0, echo=echo)
      worker.ask("memory")
      peak = worker.answer()["peak_bytes"]

    efficiency = _compare(seconds["step"], seconds.get("control", seconds["step"]))
    results.append({"devices": count, "peak_bytes": peak, **efficiency})
  return results


def measure_processes(
  config: ConfigDict,
  *,
  pairs: int,
  rounds: int,
  environment: Mapping[str, str],
  echo: Callable[[str], None],
  counts: Sequence[int] = (2,),
) -> list[dict[str, Any]]:
  """Processes that train together, joined by `jax.distributed`, on half of the cores each.

  More than two share these halves: each has the same work and less of a core, and so has its
  control.

  Args:
    config: the run's config.
    pairs: batch size per process, which has one device.
    rounds: how often each count is measured.
    environment: variables to set for the processes.
    echo: progress callback.
    counts: numbers of processes, the smallest first.

  Returns:
    For each count `processes`, the number, and the rest as from `measure_fake_devices`; `local` has
    `seconds` and `efficiency` of the step without `model.sync_batch_norm`.
  """
  cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
  middle = len(cores) // 2
  halves = (cores[:middle], cores[middle:]) if len(cores) > 1 else ([], [])

  # A single process gets these as options of its step and one of several does not: without them
  # here, kernels would be compared.
  kernels = "".join(f" --{name}={value}" for name, value in parallel.cpu_options().items())
  variables = {**environment, **fake_devices(1)}
  variables["XLA_FLAGS"] += kernels

  results: list[dict[str, Any]] = []
  peak = 0
  for count in counts:
    available = available_bytes()
    if available is not None and peak * count > available:
      echo(f"{count} processes may need {peak * count / 1e9:.1f} GB: skipped")
      results.append({"processes": count, "too_large": True})
      continue

    with contextlib.ExitStack() as on_exit:
      address = _free_address()
      job = {"config": config_json.to_json(config), "pairs": pairs}
      workers = [
        on_exit.enter_context(
          Worker({**job, "process": [rank, count, address]}, variables, cores=halves[rank % 2])
        )
        for rank in range(count)
      ]
      seconds = max(worker.answer()["step"] for worker in workers)
      echo(f"{count} processes: first step after {seconds:.1f} s")

      tasks = {request: _task(workers, request) for request in ("step", "local", "control")}
      samples = timing.interleaved(tasks, rounds=rounds, min_seconds=0, echo=echo)
      workers[0].ask("memory")
      peak = workers[0].answer()["peak_bytes"]

    local = _compare(samples["local"], samples["control"])
    results.append(
      {"processes": count, **_compare(samples["step"], samples["control"]), "local": local}
    )
  return results


def _free_address() -> str:
  """Where processes of this machine can meet."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{free.getsockname()[1]}"


def available_bytes() -> int | None:
  """Memory that processes may still allocate; None where the system is not Linux."""
  try:
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
  except OSError:
    return None
  kilobytes = (int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
  return next((1024 * number for number in kilobytes), None)


def _task(workers: Sequence[Worker], request: str) -> Task:
  """Asks all workers at once, and waits for all of them."""

  def task(repeats: int) -> None:
    for _ in range(repeats):
      for worker in workers:
        worker.ask(request)
      for worker in workers:
        worker.answer()

  return task


def _compare(step: Sequence[float], control: Sequence[float]) -> dict[str, Any]:
  """Spreads of two lists of seconds, and of the second over the first."""
  return {
    "seconds": timing.spread(step),
    "control": timing.spread(control),
    "efficiency": timing.spread(timing.ratios(control, step)),
  }
