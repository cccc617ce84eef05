"""--mode=bench: how fast everything is on this machine. Needs no dataset."""

import contextlib
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fal_jax import build, config_json
from fal_jax.bench import (
  first_answer,
  inputs,
  messages,
  rates,
  scaling,
  table,
  timing,
  trace,
  work,
  worker,
)
from fal_jax.bench.rates import Count
from fal_jax.bench.timing import Task
from fal_jax.errors import InputError
from fal_jax.output import machine
from fal_jax.output.folders import local, make_dir

# In this order. By default all except those on demand, which take minutes or leave large files;
# processes only on CPU, torch only where it is installed.
PARTS = (
  "first_step",
  "predict",
  "processes",
  "weak_scaling",
  "messages",
  "fake_devices",
  "forward",
  "face",
  "step",
  "encode",
  "decode",
  "warp",
  "render",
  "torch",
  "torch_compile",
  "trace",
  "determinism",
  "input",
)
ON_DEMAND = ("predict", "weak_scaling", "messages", "fake_devices", "torch_compile", "trace")

# Parts that run PyTorch, and the prefix of their tasks' names.
REFERENCES = {"torch": "eager ", "torch_compile": "torch.compile "}


def run(
  config: ConfigDict,
  workdir: str | Path,
  *,
  command: str,
  parts: Sequence[str] = (),
  rounds: int = 7,
  batch_sizes: Sequence[int] = (),
  echo: Callable[[str], None] = lambda line: print(line, flush=True),
) -> str:
  """Measures, and writes `bench/bench.json` and `bench/bench.md`.

  Args:
    config: the config to measure; the input pipeline reads its dataset if `config.data.dir` is set.
    workdir: the folder to write to.
    command: the command line that repeats the measurement.
    parts: some of `PARTS`; by default all that make sense on this machine.
    rounds: how often everything is measured.
    batch_sizes: images per step; the first is that of the tables. By default what suits the device.
    echo: progress callback.

  Returns:
    The tables, and where they are.

  Raises:
    InputError: the user must correct the config, a part, a batch size, the workdir or the dataset.
  """
  # ---- Input
  config = prepare_config(config)
  chosen = check_parts(config, parts)
  if rounds < 1:
    raise InputError(f"--rounds must be 1 or more, got {rounds}.")
  work.check_pairs(batch_sizes, 1)
  directory = make_dir(local(workdir), "bench")
  start = time.monotonic()
  load_before = os.getloadavg()[0]

  def say(line: str) -> None:
    echo(f"[{time.monotonic() - start:4.0f} s] {line}")

  report: dict[str, Any] = {"command": command}
  with contextlib.ExitStack() as on_exit:
    # ---- Fresh processes, before this one takes the accelerator
    cache = Path(on_exit.enter_context(tempfile.TemporaryDirectory(prefix="fal_jax_bench_")))
    on_cpu = False
    if "first_step" in chosen:
      report["first_step"] = first_steps(config, batch_sizes, cache, echo=say)
      on_cpu = report["first_step"]["cold"]["platform"] == "cpu"

    if "predict" in chosen:
      report["predict"] = first_answer.measure(rounds=rounds, echo=say)

    # What these processes compile serves the others, and this one as well.
    environment = {}
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
      environment = worker.compilation_cache(cache)
      on_exit.enter_context(compilation_cache(cache))

    options: Any = {"pairs": 1, "environment": environment, "echo": say}
    if "processes" in chosen and (parts or on_cpu):
      say("two processes")
      report["processes"] = scaling.measure_processes(config, rounds=rounds, **options)
    if "weak_scaling" in chosen:
      say("more and more processes")
      report["weak_scaling"] = scaling.measure_processes(
        config, rounds=rounds, counts=scaling.DEVICES, **options
      )
    if "messages" in chosen:
      say("messages of a step")
      report["messages"] = messages.measure(config, environment=environment, echo=say)
    if "fake_devices" in chosen:
      say("fake devices")
      few = min(rounds, 3)  # a round is 29 steps of one device
      report["fake_devices"] = scaling.measure_fake_devices(config, rounds=few, **options)

    # ---- Batch sizes
    devices = jax.device_count()
    sizes = list(batch_sizes) or work.default_pairs(jax.default_backend(), devices)
    work.check_pairs(sizes, devices)
    pairs = sizes[0]
    report["settings"] = settings(config, sizes, rounds=rounds, parts=chosen)

    # ---- Kernels, ours and PyTorch's in the same rounds
    report |= measure_kernels(config, pairs, chosen, directory, rounds=rounds, echo=say)

    # ---- The step as a whole, and its input
    if "determinism" in chosen:
      say("one step twice")
      report["determinism"] = {"equal": work.determinism(config, pairs)}
    if "input" in chosen:
      report["input"] = inputs.measure(config, pairs=pairs, rounds=min(rounds, 3), echo=say)
    if len(sizes) > 1:
      report["sweep"] = [sweep(config, size, rounds=rounds, echo=say) for size in sorted(sizes)]

  # ---- Report
  load = [load_before, os.getloadavg()[0]]
  report["machine"] = {**machine.describe(), "load_average": load}
  report["seconds"] = time.monotonic() - start
  report["config"] = config_json.to_json(config)
  page = table.page(report)
  (directory / "bench.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
  (directory / "bench.md").write_text(f"# Bench\n\n{page}\n```\n{command}\n```\n", encoding="utf-8")
  return f"{page}\nReport: {directory / 'bench.md'}, data: {directory / 'bench.json'}"


def prepare_config(config: ConfigDict) -> ConfigDict:
  """The config, validated and locked, with a placeholder for a dataset name that it lacks."""
  config = config.copy_and_resolve_references().unlock()
  if not config.data.name:
    config.data.name = "random"
  build.setup(config, device_count=1)
  return config.lock()


def check_parts(config: ConfigDict, parts: Sequence[str]) -> list[str]:
  """The parts to measure, in order.

  Args:
    config: the run's config.
    parts: those that the user requests; by default what makes sense here.

  Returns:
    Some of `PARTS`.

  Raises:
    InputError: a part does not exist, or is requested but not possible here.
  """
  if unknown := [part for part in parts if part not in PARTS]:
    raise InputError(f"Unknown --parts={','.join(unknown)}; choose from {','.join(PARTS)}.")
  has_torch = importlib.util.find_spec("torch") is not None
  if not has_torch and REFERENCES.keys() & set(parts):
    raise InputError(
      "--parts asks for PyTorch, which is not installed: pip install torch, or leave it out."
    )

  by_default = [
    part for part in PARTS if part not in ON_DEMAND and (has_torch or part not in REFERENCES)
  ]
  chosen = [part for part in PARTS if part in (parts or by_default)]
  if REFERENCES.keys() & set(chosen):
    from fal_jax.bench import torch_tasks

    try:
      torch_tasks.check(config)
    except InputError:
      if parts:
        raise
      chosen.remove("torch")
  return chosen


def first_steps(
  config: ConfigDict, batch_sizes: Sequence[int], cache: Path, *, echo: Callable[[str], None]
) -> dict[str, Any]:
  """`worker.first_step` without and with what the first process has compiled.

  Args:
    config: the run's config.
    batch_sizes: the first is measured; none means the platform's default.
    cache: an empty folder.
    echo: progress callback.

  Returns:
    The measurements `cold` and `cached`.
  """
  pairs = batch_sizes[0] if batch_sizes else None
  results = {}
  for name in ("cold", "cached"):
    echo(f"the first step of a fresh process, {name}")
    results[name] = worker.first_step(config, pairs, cache)
  return results


@contextlib.contextmanager
def compilation_cache(folder: Path) -> Iterator[None]:
  """A context in which this process's JAX keeps compiled programs in a folder."""
  before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
  jax.config.update("jax_compilation_cache_dir", str(folder))
  try:
    yield
  finally:
    jax.config.update("jax_compilation_cache_dir", before)


def settings(
  config: ConfigDict, sizes: Sequence[int], *, rounds: int, parts: Sequence[str]
) -> dict[str, Any]:
  """What the tables' captions say about the measurement."""
  model = config.model
  return {
    "pairs": sizes[0],
    "batch_sizes": list(sizes),
    "rounds": rounds,
    "parts": list(parts),
    "dtype": build.precision(config),
    "landmarks": config.data.markup,
    "network": f"FAN-{model.num_stacks}" if model.name == "fan" else model.name,
    "num_views": config.siamese.num_views,
    "crop": config.crop.size,
    "matmul": work.matmul_of(config),
  }


def measure_kernels(
  config: ConfigDict,
  pairs: int,
  chosen: Sequence[str],
  directory: Path,
  *,
  rounds: int,
  echo: Callable[[str], None],
) -> dict[str, Any]:
  """Measures all tasks by turns, then memory and trace of the same training step.

  Args:
    config: the run's config.
    pairs: batch size.
    chosen: parts to measure.
    directory: gets the trace.
    rounds: how often everything is measured.
    echo: progress callback.

  Returns:
    Entries of the report: `parts`, those of PyTorch, and `memory` and `trace` of the step.
  """
  echo(f"compiling what is measured in rounds, for {pairs} images per step")
  tasks, reference_tasks, counts = make_tasks(config, pairs, chosen)
  samples = timing.interleaved({**tasks, **reference_tasks}, rounds=rounds, echo=echo)

  matmul = f"matmul {work.matmul_of(config)}"
  report: dict[str, Any] = {
    "parts": {name: rates.describe(samples, name, counts, matmul=matmul) for name in tasks}
  }
  for part, prefix in REFERENCES.items():
    if part in chosen:
      report[part] = rates.compare(f"PyTorch, {prefix}channels_last", samples, counts, prefix)

  if "step" in chosen:
    echo("memory of the compiled step")
    report["memory"] = work.memory(config, pairs)
  if "trace" in chosen:
    echo("profile of three steps")
    task = tasks["step"] if "step" in tasks else work.step_task(config, pairs)[0]
    task(1)
    program = work.program(config, pairs)
    report["trace"] = trace.record(task, directory / "trace", program=program)
  return report


def make_tasks(
  config: ConfigDict, pairs: int, chosen: Sequence[str]
) -> tuple[dict[str, Task], dict[str, Task], dict[str, Count]]:
  """Everything that is measured in the same rounds.

  Args:
    config: the run's config.
    pairs: batch size.
    chosen: parts to measure.

  Returns:
    Our tasks; PyTorch's, named after ours with one of the prefixes in `REFERENCES`; and what they
    do, PyTorch's where it differs.
  """
  tasks, counts = work.matmuls(config)
  if "forward" in chosen:
    tasks["forward"], counts["forward"] = work.forward_task(config, pairs)
  if "face" in chosen:
    tasks["face"], counts["face"] = work.face_task(config)
  if "step" in chosen:
    tasks["step"], counts["step"] = work.step_task(config, pairs)

  # PyTorch decodes and warps the same heatmaps.
  decoded: np.ndarray | None = None
  warped: np.ndarray | None = None
  if {"encode", "decode"} & set(chosen):
    codec_tasks, codec_counts, heatmaps = work.codec_tasks(config, pairs)
    tasks |= {name: task for name, task in codec_tasks.items() if name in chosen}
    counts |= codec_counts
    decoded = heatmaps if "decode" in chosen else None
  if "warp" in chosen:
    warp_tasks, warp_counts, warped = work.warp_tasks(config, pairs)
    tasks |= warp_tasks
    counts |= warp_counts
  if "render" in chosen:
    tasks["render"], counts["render"] = work.render_task(config, pairs)

  references: dict[str, Task] = {}
  for part, prefix in REFERENCES.items():
    if part in chosen:
      from fal_jax.bench import torch_tasks

      torch, torch_counts = torch_tasks.make_tasks(
        config,
        pairs,
        parts=set(chosen),
        decoded=decoded,
        warped=warped,
        compiled=part == "torch_compile",
      )
      references |= {prefix + name: task for name, task in torch.items()}
      counts |= {prefix + name: count for name, count in torch_counts.items()}
  return tasks, references, counts


def sweep(
  config: ConfigDict, pairs: int, *, rounds: int, echo: Callable[[str], None]
) -> dict[str, Any]:
  """Training step and forward pass at one batch size.

  Args:
    config: the run's config.
    pairs: the batch size.
    rounds: how often both are measured.
    echo: progress callback.

  Returns:
    `pairs`, and either `step` and `forward`, described by `rates.describe`, or `too_large`.
  """
  tasks, counts = work.matmuls(config)
  echo(f"batches of {pairs}")
  try:
    for name, make_task in (("step", work.step_task), ("forward", work.forward_task)):
      tasks[name], counts[name] = make_task(config, pairs)
    samples = timing.interleaved(tasks, rounds=rounds, echo=echo)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    return {"pairs": pairs, "too_large": True}

  matmul = f"matmul {work.matmul_of(config)}"
  parts = {
    name: rates.describe(samples, name, counts, matmul=matmul) for name in ("step", "forward")
  }
  return {"pairs": pairs, **parts}
