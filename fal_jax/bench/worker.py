"""What `--mode=bench` measures in processes of their own: the first step of a fresh one, and
training on several devices.

`python -m fal_jax.bench.worker JOB` prints one JSON object a line; `Worker` is the other end.
Nothing here touches this process's own devices: an accelerator may belong to one process at a time.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ml_collections import ConfigDict

ROOT = Path(__file__).parents[2]


class Worker:
  """A process that takes a training step whenever it is asked to."""

  def __init__(
    self, job: Mapping[str, Any], environment: Mapping[str, str], *, cores: Sequence[int] = ()
  ):
    """Starts it.

    Args:
      job: `config`, a dict; `pairs`; and `process`, (rank, count, address) for one of several
        processes that train together.
      environment: variables to set over this process's own.
      cores: that it may use; by default all.
    """
    self.started = time.perf_counter()
    self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in __exit__
    inherited = {name: value for name, value in os.environ.items() if name not in environment}
    self._process = subprocess.Popen(
      [sys.executable, "-m", "fal_jax.bench.worker", json.dumps({**job, "cores": list(cores)})],
      cwd=ROOT,
      text=True,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._stderr,
      env={**inherited, **environment},
    )

  def ask(self, what: str) -> None:
    """Sends "step", a step of training, "control", one without any message between devices, or
    "memory".
    """
    assert self._process.stdin is not None
    self._process.stdin.write(what + "\n")
    self._process.stdin.flush()

  def answer(self) -> dict[str, Any]:
    """Waits for the next line."""
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    if not line:
      self._process.wait()
      self._stderr.seek(0)
      raise RuntimeError(
        f"A process of the bench ended with {self._process.returncode}:\n{self._stderr.read()[-4000:]}"
      )
    return json.loads(line)

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    """Ends the process, in any state."""
    for pipe in (self._process.stdin, self._process.stdout):
      if pipe is not None:
        pipe.close()
    self._process.kill()
    self._process.wait()
    self._stderr.close()


def fake_devices(count: int) -> dict[str, str]:
  """Environment in which JAX sees so many devices on the CPU."""
  kept = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ.get("XLA_FLAGS", ""))
  return {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": f"{kept} --xla_force_host_platform_device_count={count}".strip(),
  }


def first_step(config: ConfigDict, pairs: int | None, cache: Path) -> dict[str, Any]:
  """How long a user waits for the first step of training, from the start of the process; data not
  counted.

  Args:
    config: of the run.
    pairs: batch size; None for the platform's default.
    cache: folder of the persistent compilation cache, which JAX makes.

  Returns:
    `seconds`, its parts, and `platform`, `devices` and `pairs`.
  """
  environment = {
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
  }
  with Worker(
    {"config": json.loads(config.to_json_best_effort()), "pairs": pairs, "process": None},
    environment,
  ) as worker:
    found = worker.answer()
    return {"seconds": time.perf_counter() - worker.started, **found}


def serve(
  job: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None], *, start: float
) -> None:
  """The process's own side.

  Args:
    job: see `Worker`.
    say: sends a message.
    start: when the process began to import, by `time.perf_counter`.
  """
  if job["cores"]:
    os.sched_setaffinity(0, job["cores"])  # before JAX counts them
  import jax

  from fal_jax import parallel
  from fal_jax.bench import work

  if job["process"]:
    rank, count, address = job["process"]
    jax.distributed.initialize(address, num_processes=count, process_id=rank)
  seconds = {"trace": 0.0, "compile": 0.0}

  def listen(name: str, duration: float, /, **_: Any) -> None:
    if "jaxpr_trace" in name or "jaxpr_to_mlir" in name:
      seconds["trace"] += duration
    elif "backend_compile" in name:
      seconds["compile"] += duration

  jax.monitoring.register_event_duration_secs_listener(listen)  # type: ignore[arg-type]  # of other names
  config = ConfigDict(job["config"])
  devices = jax.local_device_count()
  pairs = job["pairs"] or work.default_pairs(jax.default_backend(), devices)[0]
  imported = time.perf_counter()
  recipe, init, step = work.training(config)
  state = jax.block_until_ready(init())
  initialised = time.perf_counter()
  batch = parallel.split_over_devices(work.random_batch(config, pairs))
  state, metrics = step(state, batch)
  jax.block_until_ready(metrics)
  now = time.perf_counter()
  say(
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
  alone = parallel.make_isolated_step(recipe)
  for line in sys.stdin:
    what = line.strip()
    if what == "memory":
      say({"peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss})
      continue
    begin = time.perf_counter()
    if what == "step":
      state, metrics = step(state, batch)
    else:
      _, metrics = alone(state, batch)
    jax.block_until_ready(metrics)
    say({"seconds": time.perf_counter() - begin})


def _messages() -> Callable[[Mapping[str, Any]], None]:
  """Takes standard output for messages alone; what libraries print there, as gloo does, goes where
  errors go.
  """
  pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w")
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
  return lambda message: print(json.dumps(message), file=pipe, flush=True)


if __name__ == "__main__":
  serve(json.loads(sys.argv[1]), _messages(), start=time.perf_counter())
