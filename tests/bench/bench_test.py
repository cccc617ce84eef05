"""--mode=bench on a tiny network: every part runs, and the report holds what it promises.

User mistakes end in one sentence. Nothing here is about speed.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import tiny_dataset
from quick_xla import QUICKLY

from fal_jax import parallel
from fal_jax.bench import run as bench
from fal_jax.bench import table, timing, work, worker
from fal_jax.bench.rates import Count
from fal_jax.errors import InputError

HAS_TORCH = importlib.util.find_spec("torch") is not None
IN_PROCESS = (
  "forward",
  "face",
  "step",
  "encode",
  "decode",
  "warp",
  "render",
  "determinism",
  "input",
  "trace",
)


def make_config(data_dir=None, **changes):
  config = tiny_dataset.config(Path(data_dir or "nowhere"), **changes).unlock()
  if data_dir is None:
    config.data.dir = config.data.name = None
  return config.lock()


@pytest.mark.heavy
def test_every_part_of_one_process_is_in_the_report(monkeypatch, folder, tmp_path):
  monkeypatch.setattr(parallel, "_CPU_OPTIONS", QUICKLY)
  lines = []

  page = bench.run(
    make_config(folder),
    tmp_path,
    command="the command",
    parts=(*IN_PROCESS, "torch") if HAS_TORCH else IN_PROCESS,
    rounds=2,
    batch_sizes=[8],
    echo=lines.append,
  )

  report = json.loads((tmp_path / "bench" / "bench.json").read_text())
  check_parts_of_report(report["parts"])
  assert report["settings"]["pairs"] == 8 and report["command"] == "the command"
  assert report["determinism"] == {"equal": True}
  assert report["memory"]["donated"] == report["memory"]["state"]
  assert report["input"]["alone"].keys() == {f"{tiny_dataset.NAME}, train"}
  fed = {"source", "batch on the device", "none", "host", "device"}
  assert report["input"]["overlapped"].keys() == fed
  assert 0 < len(report["trace"]["kernels"]) <= 10
  # Its scopes reach the compiled program, or all would be without a name.
  assert {"views: sampled and rendered", "BatchNorm", "convolutions"} <= set(
    report["trace"]["parts"]
  )
  assert list((tmp_path / "bench" / "trace").rglob("*.xplane.pb"))
  machine = {"cpu", "cores", "device", "devices", "jax", "jaxlib", "git_commit", "load_average"}
  assert machine <= report["machine"].keys()
  if HAS_TORCH:
    check_torch_of_report(report["torch"]["parts"])

  for name in report["parts"]:
    assert f"| {name} " in page
  assert "the command" in (tmp_path / "bench" / "bench.md").read_text()
  assert any("round 2 of 2" in line for line in lines)


def check_parts_of_report(parts):
  """Every kernel is there, with all that the table is made from."""
  in_step = {"forward", "encode", "warp", "warp and gradient", "combine and gradient", "render"}
  assert parts.keys() == in_step | {"step", "face", "decode", "matmul float32"}
  assert {name for name, part in parts.items() if "share_of_step" in part} == in_step

  keys = {"seconds", "samples", "items", "unit", "per_second", "flops"}
  keys |= {"flops_per_second", "of_matmul"}
  for part in parts.values():
    assert keys <= part.keys()
    assert len(part["samples"]) == 2
    assert 0 < part["seconds"]["min"] <= part["seconds"]["median"]
  assert parts["matmul float32"]["of_matmul"]["median"] == pytest.approx(1)


def check_torch_of_report(parts):
  """Every counterpart in PyTorch is there."""
  decoders = {"decode", "decode, contiguous", "decode, one by one"}
  assert parts.keys() == {"forward", "step", "warp", "warp and gradient"} | decoders
  assert all(part["ratio"]["median"] > 0 for part in parts.values())


def test_batch_sizes_are_swept_and_one_that_does_not_fit_is_reported(monkeypatch):
  def make_task(config, pairs):
    if pairs > 8:
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
    return (lambda repeats: None), Count(pairs, "pairs", 1.0)

  def interleaved(tasks, **_):
    return {name: [2.0, 1.0] for name in tasks}

  monkeypatch.setattr(work, "step_task", make_task)
  monkeypatch.setattr(work, "forward_task", make_task)
  monkeypatch.setattr(timing, "interleaved", interleaved)

  sizes = [bench.sweep(make_config(), pairs, rounds=2, echo=print) for pairs in (8, 16)]

  assert sizes[0]["step"]["per_second"] == 8 / 1.5
  assert sizes[1] == {"pairs": 16, "too_large": True}
  assert "out of memory" in table.sweep(sizes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_there_is_a_matrix_product_in_the_network_s_own_precision(dtype):
  config = make_config(model__dtype=dtype)

  tasks, counts = work.matmuls(config)

  assert f"matmul {work.matmul_of(config)}" == f"matmul {dtype}"
  assert tasks.keys() == counts.keys() >= {f"matmul {dtype}"}


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"parts": ["forward", "fly"]}, "Unknown --parts=fly; choose from first_step,"),
    ({"rounds": 0}, "--rounds must be 1 or more"),
    ({"batch_sizes": [0]}, "--batch_sizes=0"),
    ({"batch_sizes": [12], "parts": ["forward"]}, "multiple of the number of devices"),
  ],
)
def test_a_mistake_ends_in_one_sentence(tmp_path, options, message):
  with pytest.raises(InputError, match=message.replace(".", r"\.")):
    bench.run(make_config(), tmp_path, command="", echo=lambda line: None, **options)


def test_a_config_that_cannot_train_is_rejected(tmp_path):
  with pytest.raises(InputError, match=r"model\.pool"):
    bench.run(make_config(model__pool="mean"), tmp_path, command="", parts=["forward"])


@pytest.mark.skipif(not HAS_TORCH, reason="no PyTorch here")
def test_what_pytorch_has_no_counterpart_for_is_left_out_or_rejected():
  other = make_config(head="global_softargmax", codec__decode="global_softargmax")

  assert "torch" in bench.check_parts(make_config(), [])
  assert "torch" not in bench.check_parts(other, [])
  with pytest.raises(InputError, match="leave torch out"):
    bench.check_parts(other, ["torch"])


def test_pytorch_is_left_out_where_it_is_missing_unless_asked_for(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

  assert "torch" not in bench.check_parts(make_config(), [])
  with pytest.raises(InputError, match="pip install torch"):
    bench.check_parts(make_config(), ["torch_compile"])


def test_default_batch_sizes_can_be_split_over_devices():
  assert work.default_pairs("cpu", 1) == [2]
  assert work.default_pairs("cpu", 8) == [8]
  assert work.default_pairs("gpu", 1) == [32, 8, 128]
  assert work.default_pairs("tpu", 12) == [36, 12, 132]


@pytest.mark.heavy
def test_the_command_line_measures_the_first_step_cold_and_cached(tmp_path):
  changes = {
    "model.num_stacks": 1,
    "model.features": 8,
    "model.depth": 1,
    "crop.size": 64,
    "crop.stored_size": 104,
  }
  done = subprocess.run(
    [
      sys.executable,
      *("-m", "fal_jax.main", "--config=configs/wflw.py", f"--workdir={tmp_path}", "--mode=bench"),
      *("--parts=first_step,encode", "--rounds=1"),
      *(f"--config.{key}={value}" for key, value in changes.items()),
    ],
    cwd=tiny_dataset.ROOT,
    env={**os.environ, **worker.fake_devices(1)},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )

  assert done.returncode == 0, done.stderr
  report = json.loads((tmp_path / "bench" / "bench.json").read_text())
  cold, cached = report["first_step"]["cold"], report["first_step"]["cached"]
  assert cold["platform"] == "cpu" and cold["devices"] == 1 and cold["pairs"] == 2
  assert cached["compile"] < cold["compile"] < cold["seconds"]
  assert "First step" in done.stdout and "| encode " in done.stdout
