"""--mode=bench: how fast everything is on this machine. Needs no dataset. This page is meant to be
read from top to bottom.
"""

import contextlib
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fal_jax import build
from fal_jax.bench import inputs, machine, scaling, table, timing, trace, work, worker
from fal_jax.bench.timing import Task
from fal_jax.bench.work import Count
from fal_jax.errors import InputError

# In this order. By default all but those on demand, which take minutes or leave large files;
# processes only on CPU, torch only where it is installed.
PARTS = (
  "first_step",
  "processes",
  "fake_devices",
  "forward",
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
ON_DEMAND = ("fake_devices", "torch_compile", "trace")
REFERENCES = {
  "torch": "eager ",
  "torch_compile": "torch.compile ",
}  # and how the names of their tasks begin
Samples = Mapping[str, Sequence[float]]


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
    config: of the run to be measured; a dataset is used for the input pipeline if `config.data.dir`
      is set.
    workdir: the folder to write to.
    command: what measures all that again.
    parts: some of `PARTS`; none means all that make sense on this machine.
    rounds: how often everything is measured.
    batch_sizes: images a step; the first is that of the tables. None means what suits the device.
    echo: takes a line of progress.

  Returns:
    The tables.

  Raises:
    InputError: the config, a part, a batch size or the dataset needs the user.
  """
  # ---- Input
  config = prepared(config)
  chosen = check_parts(config, parts)
  if rounds < 1:
    raise InputError(f"--rounds must be 1 or more, got {rounds}.")
  work.check_pairs(batch_sizes, 1)
  directory = Path(workdir).expanduser() / "bench"
  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(
      f"Nothing can be written to --workdir={workdir} ({error.strerror}): name another folder."
    ) from error
  start = time.monotonic()

  def say(line: str) -> None:
    echo(f"[{time.monotonic() - start:4.0f} s] {line}")

  report: dict[str, Any] = {"command": command}
  load = os.getloadavg()[0]
  with contextlib.ExitStack() as on_exit:
    # ---- Fresh processes, before this one takes the accelerator
    cache = Path(on_exit.enter_context(tempfile.TemporaryDirectory(prefix="fal_jax_bench_")))
    on_cpu = None
    if "first_step" in chosen:
      report["first_step"] = {}
      for name in ("cold", "cached"):
        say(f"the first step of a fresh process, {name}")
        pairs = batch_sizes[0] if batch_sizes else None
        found = report["first_step"][name] = worker.first_step(config, pairs, cache)
        on_cpu = found["platform"] == "cpu"
    environment = {}
    if (
      "JAX_COMPILATION_CACHE_DIR" not in os.environ
    ):  # what these processes have compiled serves the others and this one as well
      environment = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
      }
      on_exit.enter_context(compilation_cache(cache))
    process_options: Any = {"pairs": 1, "environment": environment, "echo": say}
    if "processes" in chosen and (parts or on_cpu):
      say("two processes")
      report["processes"] = scaling.processes(config, rounds=rounds, **process_options)
    if "fake_devices" in chosen:
      say("fake devices")
      report["fake_devices"] = scaling.fake(
        config, rounds=min(rounds, 3), **process_options
      )  # a round is 29 steps of one device

    # ---- Batch size, dtype
    devices = jax.device_count()
    sizes = list(batch_sizes) or work.default_pairs(jax.default_backend(), devices)
    work.check_pairs(sizes, devices)
    pairs = sizes[0]
    report["settings"] = {
      "pairs": pairs,
      "batch_sizes": sizes,
      "rounds": rounds,
      "parts": chosen,
      "dtype": build.precision(config),
      "landmarks": config.data.markup,
      "num_stacks": config.model.num_stacks,
      "num_views": config.siamese.num_views,
      "crop": config.crop.size,
      "matmul": work.matmul_of(config),
    }

    # ---- Kernels, ours and PyTorch's, in the same rounds
    say(f"compiling what is measured in rounds, for {pairs} images a step")
    tasks, peers, counts = kernels(config, pairs, chosen)
    samples = timing.interleaved({**tasks, **peers}, rounds=rounds, echo=say)
    reference = f"matmul {work.matmul_of(config)}"
    report["parts"] = {name: describe(samples, name, counts, reference=reference) for name in tasks}
    for part, prefix in REFERENCES.items():
      if part in chosen:
        report[part] = compare(f"PyTorch, {prefix}channels_last", samples, counts, prefix)
    if "step" in chosen:
      say("memory of the compiled step")
      report["memory"] = work.memory(config, pairs)
    if "trace" in chosen:
      say("profile of three steps")
      task = tasks["step"] if "step" in tasks else work.step_task(config, pairs)[0]
      task(1)
      report["trace"] = {
        "directory": str(directory / "trace"),
        "kernels": trace.record(task, directory / "trace"),
      }
    del tasks, peers  # and the memory of what they hold
    if "determinism" in chosen:
      say("one step twice")
      report["determinism"] = {"equal": work.determinism(config, pairs)}
    if "input" in chosen:
      report["input"] = inputs.measure(config, pairs=pairs, rounds=min(rounds, 3), echo=say)
    if len(sizes) > 1:
      report["sweep"] = [sweep(config, size, rounds=rounds, echo=say) for size in sorted(sizes)]

  # ---- Report
  report["machine"] = {**machine.describe(config), "load_average": [load, os.getloadavg()[0]]}
  report["seconds"] = time.monotonic() - start
  report["config"] = json.loads(config.to_json_best_effort())
  page = table.page(report)
  (directory / "bench.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
  (directory / "bench.md").write_text(f"# Bench\n\n{page}\n```\n{command}\n```\n", encoding="utf-8")
  return f"{page}\nReport: {directory / 'bench.md'}, numbers: {directory / 'bench.json'}"


def prepared(config: ConfigDict) -> ConfigDict:
  """The config, checked; a name for a dataset that it may lack, since none is needed."""
  config = config.copy_and_resolve_references().unlock()
  if not config.data.name:
    config.data.name = "random"
  build.setup(config, device_count=1)
  return config.lock()


def check_parts(config: ConfigDict, parts: Sequence[str]) -> list[str]:
  """The parts to measure, in order.

  Raises:
    InputError: a part does not exist, or is asked for and cannot be had.
  """
  if unknown := [part for part in parts if part not in PARTS]:
    raise InputError(f"--parts={','.join(unknown)} does not exist; choose from {','.join(PARTS)}.")
  has_torch = importlib.util.find_spec("torch") is not None
  if not has_torch and {"torch", "torch_compile"} & set(parts):
    raise InputError(
      "--parts asks for PyTorch, which is not installed: pip install torch, or leave it out."
    )
  chosen = [
    part
    for part in PARTS
    if (part in parts if parts else part not in ON_DEMAND and (has_torch or part != "torch"))
  ]
  if {"torch", "torch_compile"} & set(chosen):
    from fal_jax.bench import torch_tasks

    try:
      torch_tasks.check(config)
    except InputError:
      if parts:
        raise
      chosen.remove("torch")
  return chosen


@contextlib.contextmanager
def compilation_cache(folder: Path) -> Iterator[None]:
  """JAX's persistent cache in a folder, for a while."""
  before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
  jax.config.update("jax_compilation_cache_dir", str(folder))
  try:
    yield
  finally:
    jax.config.update("jax_compilation_cache_dir", before)


def kernels(
  config: ConfigDict, pairs: int, chosen: Sequence[str]
) -> tuple[dict[str, Task], dict[str, Task], dict[str, Count]]:
  """Everything that is measured in the same rounds.

  Returns:
    Our tasks; PyTorch's, named after ours with one of the prefixes in `REFERENCES`; and what they do,
    PyTorch's where it differs.
  """
  tasks, counts = work.matmuls(config)
  if "forward" in chosen:
    tasks["forward"], counts["forward"] = work.forward_task(config, pairs)
  if "step" in chosen:
    tasks["step"], counts["step"] = work.step_task(config, pairs)
  decoded = warped = None
  if {"encode", "decode"} & set(chosen):
    found, more, heatmaps = work.codec_tasks(config, pairs)
    tasks |= {name: task for name, task in found.items() if name in chosen}
    counts |= more
    decoded = heatmaps if "decode" in chosen else None
  if "warp" in chosen:
    found, more, warped = work.warp_tasks(config, pairs)
    tasks, counts = {**tasks, **found}, {**counts, **more}
  if "render" in chosen:
    tasks["render"], counts["render"] = work.render_task(config, pairs)
  peers: dict[str, Task] = {}
  for part, prefix in REFERENCES.items():
    if part in chosen:
      from fal_jax.bench import torch_tasks

      theirs, more = torch_tasks.tasks(
        config,
        pairs,
        parts=set(chosen),
        decoded=decoded,
        warped=warped,
        compiled=part == "torch_compile",
      )
      peers |= {prefix + name: task for name, task in theirs.items()}
      counts |= {prefix + name: count for name, count in more.items()}
  return tasks, peers, counts


def describe(
  samples: Samples, name: str, counts: Mapping[str, Count], *, reference: str
) -> dict[str, Any]:
  """A part's time, rate, share of the step and of what the machine can do.

  Args:
    samples: seconds of all parts, by round.
    name: of the part.
    counts: what each does.
    reference: name of the matrix product that it is held against, on one device.
  """
  count = counts[name]
  seconds = timing.spread(samples[name])
  found: dict[str, Any] = {
    "seconds": seconds,
    "samples": list(samples[name]),
    "items": count.items,
    "unit": count.unit,
    "per_second": count.items / seconds["median"],
    "flops": count.flops,
    "flops_per_second": count.flops / seconds["median"],
  }
  if count.bytes is not None:
    found |= {"bytes": count.bytes, "bytes_per_second": count.bytes / seconds["median"]}
  best = count.flops / (counts[reference].flops * count.devices)
  found["of_matmul"] = timing.spread(
    [best * ratio for ratio in timing.ratios(samples[reference], samples[name])]
  )
  if "step" in samples and count.in_step is not None:
    shares = timing.ratios(samples[name], samples["step"])
    found["share_of_step"] = timing.spread([count.in_step * share for share in shares])
  return found


def compare(
  title: str, samples: Samples, counts: Mapping[str, Count], prefix: str
) -> dict[str, Any]:
  """PyTorch's tasks, which have a prefix and maybe a remark behind a comma, and how much longer
  each item takes than ours.

  Args:
    title: of the table.
    samples: seconds of all parts, by round.
    counts: what each of ours does; one of PyTorch's does the same, unless it has an entry of its
      own.
    prefix: of the names of its tasks.
  """
  found = {}
  for name in (name for name in samples if name.startswith(prefix)):
    ours = name.removeprefix(prefix).split(",")[0]
    count = counts.get(name, counts[ours])
    seconds = timing.spread(samples[name])
    share = counts[ours].items / count.items
    found[name.removeprefix(prefix)] = {
      "seconds": seconds,
      "samples": list(samples[name]),
      "per_second": count.items / seconds["median"],
      "unit": count.unit,
      "ratio": timing.spread(
        [share * ratio for ratio in timing.ratios(samples[name], samples[ours])]
      ),
    }
  return {"title": title, "parts": found}


def sweep(
  config: ConfigDict, pairs: int, *, rounds: int, echo: Callable[[str], None]
) -> dict[str, Any]:
  """Training step and forward pass at one batch size."""
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
  reference = f"matmul {work.matmul_of(config)}"
  return {
    "pairs": pairs,
    **{name: describe(samples, name, counts, reference=reference) for name in ("step", "forward")},
  }
