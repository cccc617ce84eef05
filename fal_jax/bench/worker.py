"""Processes that `--mode=bench` measures in: a fresh one, and several that train together.

`python -m fal_jax.bench.worker JOB` prints one JSON object per line; `Worker` is the other end.
Importing this module does not touch this process's own devices: an accelerator may belong to one
process at a time.
"""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ml_collections import ConfigDict

from fal_jax import config_json

ROOT = Path(__file__).parents[2]


class Worker:
  """A process that takes a training step whenever it is asked to."""

  def __init__(
    self, job: Mapping[str, Any], environment: Mapping[str, str], *, cores: Sequence[int] = ()
  ):
    """Starts the process.

    Args:
      job: `config`, a dict; `pairs`, the batch size, None for the platform's default; and
        `process`, (rank, count, address) for one of several processes that train together.
      environment: variables that override this process's own.
      cores: numbers of the CPU cores it may use; by default all.
    """
    self.started = time.perf_counter()
    self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in __exit__
    inherited = {name: value for name, value in os.environ.items() if name not in environment}
    message = json.dumps({**job, "cores": list(cores)})
    self._process = subprocess.Popen(
      [sys.executable, "-m", "fal_jax.bench.worker", message],
      cwd=ROOT,
      text=True,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._stderr,
      env={**inherited, **environment},
    )

  def ask(self, request: str) -> None:
    """Sends a request.

    Args:
      request: "step" for a training step, "local" for one without `model.sync_batch_norm`,
        "control" for one without any communication between devices; "memory", or "program", the
        text of the compiled step.
    """
    assert self._process.stdin is not None
    self._process.stdin.write(request + "\n")
    self._process.stdin.flush()

  def answer(self) -> dict[str, Any]:
    """Waits for the next message.

    Returns:
      The message. The first one, unasked, is of the first step.

    Raises:
      RuntimeError: the process has ended; the error holds the end of what it wrote to stderr.
    """
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    if line:
      return json.loads(line)

    self._process.wait()
    self._stderr.seek(0)
    raise RuntimeError(
      f"A process of the bench ended with {self._process.returncode}:\n"
      f"{self._stderr.read()[-4000:]}"
    )

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    """Kills the process, busy or not."""
    for pipe in (self._process.stdin, self._process.stdout):
      if pipe is not None:
        pipe.close()
    self._process.kill()
    self._process.wait()
    self._stderr.close()


def fake_devices(count: int) -> dict[str, str]:
  """Environment in which JAX sees `count` devices on the CPU; other XLA flags are kept."""
  flags = os.environ.get("XLA_FLAGS", "")
  kept = re.sub(r"--xla_force_host_platform_device_count=\d+", "", flags)
  return {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": f"{kept} --xla_force_host_platform_device_count={count}".strip(),
  }


def compilation_cache(folder: Path) -> dict[str, str]:
  """Environment in which JAX keeps compiled programs in a folder, which it creates."""
  return {
    "JAX_COMPILATION_CACHE_DIR": str(folder),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
  }


def first_step(config: ConfigDict, pairs: int | None, cache: Path) -> dict[str, Any]:
  """How long a user waits for the first training step from the start of the process, without data.

  Args:
    config: the run's config.
    pairs: batch size; None for the platform's default.
    cache: folder of the persistent compilation cache.

  Returns:
    `seconds`, its parts, and `platform`, `devices` and `pairs`.
  """
  job = {"config": config_json.to_json(config), "pairs": pairs, "process": None}
  with Worker(job, compilation_cache(cache)) as worker:
    answer = worker.answer()
    return {"seconds": time.perf_counter() - worker.started, **answer}


def serve(
  job: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None], *, start: float
) -> None:
  """Runs in the worker's process: takes the first step, then answers requests until they end.

  Args:
    job: see `Worker`.
    send: takes a message.
    start: when the process began to import, by `time.perf_counter`.
  """
  # ---- Imports and devices
  if job["cores"]:
    os.sched_setaffinity(0, job["cores"])  # before JAX counts them
  import jax

  from fal_jax import build, parallel
  from fal_jax.bench import work

  if job["process"]:
    rank, count, address = job["process"]
    jax.distributed.initialize(address, num_processes=count, process_id=rank)
  seconds = {"trace": 0.0, "compile": 0.0}

  def add_seconds(name: str, duration: float, /, **_: Any) -> None:
    if "jaxpr_trace" in name or "jaxpr_to_mlir" in name:
      seconds["trace"] += duration
    elif "backend_compile" in name:
      seconds["compile"] += duration

  listen = jax.monitoring.register_event_duration_secs_listener
  listen(add_seconds)  # type: ignore[arg-type]  # JAX names the parameters differently
  config = ConfigDict(job["config"])
  devices = jax.local_device_count()
  pairs = job["pairs"] or work.default_pairs(jax.default_backend(), devices)[0]
  imported = time.perf_counter()

  # ---- First step
  recipe, init, step = work.training(config)
  state = jax.block_until_ready(init())
  initialised = time.perf_counter()

  batch = parallel.split_over_devices(work.random_batch(config, pairs))
  state, metrics = step(state, batch)
  jax.block_until_ready(metrics)
  now = time.perf_counter()
  send(
    {
      "import_and_devices": imported - start,
      "weights": initialised - imported,
      "step": now - initialised,
      **seconds,
      "platform": jax.default_backend(),
      "devices": jax.device_count(),
      "pairs": pairs,
    }
  )

  # ---- Requests
  control = parallel.make_isolated_step(recipe)
  unsynced = dataclasses.replace(recipe, model=build.network(config))  # has no axis of devices
  local = parallel.make_train_step(unsynced)
  for line in sys.stdin:
    request = line.strip()
    if request == "memory":
      send({"peak_bytes": _peak_bytes()})
      continue
    if request == "program":
      lowered = step.lower(state, batch)  # type: ignore[attr-defined]
      send({"program": lowered.compile().as_text()})
      continue

    begin = time.perf_counter()
    if request == "step":
      state, metrics = step(state, batch)
    elif request == "local":
      state, metrics = local(state, batch)
    else:
      _, metrics = control(state, batch)
    jax.block_until_ready(metrics)
    send({"seconds": time.perf_counter() - begin})


def _peak_bytes() -> int:
  """The most memory that this process has had so far."""
  # On Linux, getrusage's maximum begins with what the parent has had, through fork and exec.
  status = Path("/proc/self/status")
  if status.exists():
    lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

  import resource  # only Unix has it, and nothing else here needs it

  unit = 1 if sys.platform == "darwin" else 1024
  return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _message_pipe() -> Callable[[Mapping[str, Any]], None]:
  """Reserves standard output for messages.

  What libraries print there, as gloo does, goes to standard error instead.

  Returns:
    Sends a message.
  """
  pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w")
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
  return lambda message: print(json.dumps(message), file=pipe, flush=True)


if __name__ == "__main__":
  serve(json.loads(sys.argv[1]), _message_pipe(), start=time.perf_counter())
