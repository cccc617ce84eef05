"""--mode=bench on a tiny network: every part runs, the report holds what it promises, mistakes are
said. Nothing about speed.
"""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_dataset

from fal_jax import build, data, parallel
from fal_jax.bench import inputs, scaling, table, timing, trace, work, worker
from fal_jax.bench import run as bench
from fal_jax.bench.work import Count
from fal_jax.errors import InputError

HAS_TORCH = bench.importlib.util.find_spec("torch") is not None
IN_PROCESS = (
  "forward",
  "step",
  "encode",
  "decode",
  "warp",
  "render",
  "determinism",
  "input",
  "trace",
)


def config(data_dir=None, **changes):
  c = tiny_dataset.config(Path(data_dir or "nowhere"), **changes).unlock()
  if data_dir is None:
    c.data.dir = c.data.name = None
  return c.lock()


@pytest.mark.slow
def test_every_part_of_one_process_is_in_the_report(monkeypatch, folder, tmp_path):
  monkeypatch.setattr(
    parallel,
    "_CPU_OPTIONS",
    {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
  )
  parts = (*IN_PROCESS, "torch") if HAS_TORCH else IN_PROCESS
  lines = []
  shown = bench.run(
    config(folder),
    tmp_path,
    command="the command",
    parts=parts,
    rounds=2,
    batch_sizes=[8],
    echo=lines.append,
  )
  report = json.loads((tmp_path / "bench" / "bench.json").read_text())
  ours = {
    "forward",
    "step",
    "encode",
    "decode",
    "warp",
    "warp and gradient",
    "combine and gradient",
    "render",
  }
  assert report["parts"].keys() == ours | {"matmul float32"}
  for part in report["parts"].values():
    assert {
      "seconds",
      "samples",
      "items",
      "unit",
      "per_second",
      "flops",
      "flops_per_second",
      "of_matmul",
    } <= part.keys()
    assert len(part["samples"]) == 2 and 0 < part["seconds"]["least"] <= part["seconds"]["median"]
  assert report["parts"]["matmul float32"]["of_matmul"]["median"] == pytest.approx(1)
  assert {name for name, part in report["parts"].items() if "share_of_step" in part} == ours - {
    "step",
    "decode",
  }
  assert report["settings"]["pairs"] == 8 and report["command"] == "the command"
  assert report["determinism"] == {"equal": True}
  assert report["memory"]["donated"] == report["memory"]["state"]
  assert report["input"]["alone"].keys() == {f"{tiny_dataset.NAME}, train"}
  assert report["input"]["overlapped"].keys() == {
    "source",
    "batch on the device",
    "none",
    "host",
    "device",
  }
  assert 0 < len(report["trace"]["kernels"]) <= 10 and list(
    (tmp_path / "bench" / "trace").rglob("*.xplane.pb")
  )
  assert {
    "cpu",
    "cores",
    "device",
    "devices",
    "jax",
    "jaxlib",
    "git_commit",
    "load_average",
  } <= report["machine"].keys()
  if HAS_TORCH:
    theirs = report["torch"]["parts"]
    assert theirs.keys() == {
      "forward",
      "step",
      "decode",
      "decode, contiguous",
      "decode, one by one",
      "warp",
      "warp and gradient",
    }
    assert all(part["ratio"]["median"] > 0 for part in theirs.values())
  for name in report["parts"]:
    assert f"| {name} " in shown
  assert "the command" in (tmp_path / "bench" / "bench.md").read_text()
  assert any("round 2 of 2" in line for line in lines)


def test_several_batch_sizes_are_swept_and_one_that_does_not_fit_is_said_to_be_too_large(
  monkeypatch,
):
  def make_task(config, pairs):
    if pairs > 8:
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
    return (lambda repeats: None), Count(pairs, "pairs", 1.0)

  monkeypatch.setattr(work, "step_task", make_task)
  monkeypatch.setattr(work, "forward_task", make_task)
  monkeypatch.setattr(
    timing, "interleaved", lambda tasks, **_: {name: [2.0, 1.0] for name in tasks}
  )
  found = [bench.sweep(config(), pairs, rounds=2, echo=print) for pairs in (8, 16)]
  assert found[0]["step"]["per_second"] == 8 / 1.5 and found[1] == {"pairs": 16, "too_large": True}
  assert "does not fit" in table._sweep(found)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_there_is_a_matrix_product_in_the_network_s_own_precision(dtype):
  own = config(model__dtype=dtype)
  tasks, counts = work.matmuls(own)
  assert f"matmul {work.matmul_of(own)}" == f"matmul {dtype}" and tasks.keys() == counts.keys() >= {
    f"matmul {dtype}"
  }


def test_rates_and_shares_are_those_of_the_same_round():
  samples = {
    "matmul": [1.0, 4.0, 2.0],
    "step": [10.0, 40.0, 20.0],
    "encode": [2.0, 8.0, 4.0],
    "eager encode": [1.0, 4.0, 2.0],
  }
  counts = {
    "matmul": Count(1, "products", 100.0),
    "step": Count(2, "pairs", 500.0, devices=2),
    "encode": Count(40, "heatmaps", 20.0, 80.0, in_step=0.25),
  }
  step = bench.describe(samples, "step", counts, reference="matmul")
  assert (
    step["of_matmul"]["median"] == step["of_matmul"]["q1"] == pytest.approx(500 / 10 / (2 * 100))
  )
  encode = bench.describe(samples, "encode", counts, reference="matmul")
  assert (
    encode["share_of_step"]["most"] == encode["share_of_step"]["least"] == pytest.approx(0.25 * 0.2)
  )
  assert encode["bytes_per_second"] == 20 and encode["per_second"] == 10
  assert bench.compare("", samples, counts, "eager ")["parts"]["encode"]["ratio"]["median"] == 0.5
  one_by_one = {**samples, "eager encode, one by one": [1.0, 4.0, 2.0]}
  found = bench.compare(
    "", one_by_one, {**counts, "eager encode, one by one": Count(4, "heatmaps", 0)}, "eager "
  )
  assert found["parts"]["encode, one by one"]["ratio"]["median"] == 5, (
    "a tenth of the heatmaps in half of the time"
  )


@pytest.mark.parametrize(
  ("options", "named"),
  [
    ({"parts": ["forward", "fly"]}, "--parts=fly does not exist; choose from first_step,"),
    ({"rounds": 0}, "--rounds must be 1 or more"),
    ({"batch_sizes": [0]}, "--batch_sizes=0"),
    ({"batch_sizes": [12], "parts": ["forward"]}, "multiple of the number of devices"),
  ],
)
def test_mistakes_are_said_in_one_sentence(tmp_path, options, named):
  with pytest.raises(InputError, match=named.replace(".", r"\.")):
    bench.run(config(), tmp_path, command="", echo=lambda line: None, **options)


def test_a_config_that_cannot_train_is_refused(tmp_path):
  with pytest.raises(InputError, match=r"model\.pool"):
    bench.run(config(model__pool="mean"), tmp_path, command="", parts=["forward"])


@pytest.mark.skipif(not HAS_TORCH, reason="no PyTorch here")
def test_what_pytorch_has_no_counterpart_for_is_left_out_or_refused():
  other = config(head="global_softargmax", codec__decode="global_softargmax")
  assert "torch" in bench.check_parts(config(), []) and "torch" not in bench.check_parts(other, [])
  with pytest.raises(InputError, match="leave torch out"):
    bench.check_parts(other, ["torch"])


def test_without_pytorch_the_default_goes_without_and_a_wish_is_refused(monkeypatch):
  monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
  assert "torch" not in bench.check_parts(config(), [])
  with pytest.raises(InputError, match="pip install torch"):
    bench.check_parts(config(), ["torch_compile"])


def test_batch_sizes_by_default_can_be_split():
  assert work.default_pairs("cpu", 1) == [2] and work.default_pairs("cpu", 8) == [8]
  assert work.default_pairs("gpu", 1) == [32, 8, 128] and work.default_pairs("tpu", 12) == [
    36,
    12,
    132,
  ]


def test_synthetic_photographs_and_crops_are_read_like_a_dataset_s():
  rule = build.crop_rule(config())
  for name, photo in inputs.photos(rule).items():
    source = inputs.synthetic_source(photo, 29)
    example = data.load_train_example(source, 3, rule)
    assert (
      example["image"].shape == (rule.stored_size, rule.stored_size, 3)
      and example["image"].std() > 10
    )
    inside = (example["landmarks"] >= 0) & (example["landmarks"] < rule.size)
    assert inside.mean() > 0.9, name
    if "crops" in name:  # in the middle already, so that reading is decoding and nothing more
      pixels = data._pixels(source[3])
      np.testing.assert_array_equal(example["image"], pixels)
  assert 100_000 < len(source_of_photos()[0]["image"]) < 200_000, (
    "a photograph of 800 x 600 has about 135 kB"
  )


def source_of_photos():
  return inputs.synthetic_source(inputs.Photo(800, 600, 280.0), 29)


def test_kernels_are_added_up_where_the_device_lists_them_once():
  def meta(pid, name, tid=None):
    kind = "process_name" if tid is None else "thread_name"
    return {"ph": "M", "pid": pid, "name": kind, "args": {"name": name}} | (
      {} if tid is None else {"tid": tid}
    )

  def event(pid, tid, name, duration):
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "dur": duration}

  gpu = [
    meta(1, "/device:GPU:0"),
    meta(1, "Stream #13", 5),
    meta(1, "XLA Ops", 6),
    meta(2, "/host:CPU"),
    meta(2, "python", 7),
    event(1, 5, "conv", 3e6),
    event(1, 5, "conv", 1e6),
    event(1, 5, "relu", 1e6),
    event(1, 6, "all of it", 9e6),
    event(2, 7, "waiting", 9e6),
    {},
  ]
  assert trace.slowest({"traceEvents": gpu}, count=1) == [
    {"name": "conv", "seconds": 4.0, "calls": 2, "share": 0.8}
  ]
  cpu = [
    meta(2, "/host:CPU"),
    meta(2, "python", 7),
    meta(2, "tf_XLAEigen/1", 8),
    event(2, 7, "call", 9e6),
    event(2, 8, "dot", 2e6),
    event(2, 8, "end: dot", 1e6),
  ]
  assert trace.slowest({"traceEvents": cpu}, count=10) == [
    {"name": "dot", "seconds": 2.0, "calls": 1, "share": 1.0}
  ]


def test_a_worker_that_dies_says_why():
  broken = {"config": {"seed": 0}, "pairs": 1, "process": None}
  with (
    worker.Worker(broken, worker.fake_devices(1)) as process,
    pytest.raises(RuntimeError, match=r"ended with 1:[\s\S]*Traceback"),
  ):
    process.answer()


def test_devices_are_faked_once(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8 --xla_other=1")
  assert worker.fake_devices(2)["XLA_FLAGS"].split() == [
    "--xla_other=1",
    "--xla_force_host_platform_device_count=2",
  ]


def test_devices_that_might_fill_the_memory_are_left_out(monkeypatch):
  class Pretended:
    def __init__(self, *_):
      self.answers = iter([{"step": 1.0}, {"seconds": 1.0}, {"seconds": 1.0}, {"peak_bytes": 3}])

    def __enter__(self):
      return self

    def __exit__(self, *_):
      pass

    def ask(self, what):
      pass

    def answer(self):
      return next(self.answers)

  monkeypatch.setattr(scaling, "Worker", Pretended)
  monkeypatch.setattr(scaling, "_available_bytes", lambda: 11)
  found = scaling.fake(config(), pairs=1, rounds=1, environment={}, echo=print, counts=(1, 4))
  assert found[0]["peak_bytes"] == 3 and found[1] == {"devices": 4, "too_large": True}
  assert "too little memory" in table._fake_devices(found)


@pytest.mark.slow
def test_fake_devices_and_two_processes_take_steps_by_turns():
  fake = scaling.fake(config(), pairs=1, rounds=2, environment={}, echo=print, counts=(1, 2))
  both = scaling.processes(config(), pairs=1, rounds=2, environment={}, echo=print)
  assert [part["devices"] for part in fake] == [1, 2] and both["processes"] == 2
  for part in (*fake, both):
    assert min(part[name]["least"] for name in ("seconds", "control", "efficiency")) > 0
  assert "2 fake devices" in table._fake_devices(fake) and "2 processes" in table._processes(both)


@pytest.mark.slow
def test_the_command_line_measures_the_first_step_cold_and_cached(tmp_path):
  small = tiny_dataset.config(Path("nowhere"))
  flat = {
    "model.num_stacks": 1,
    "model.features": 8,
    "model.depth": 1,
    "crop.size": small.crop.size,
    "crop.stored_size": 104,
  }
  command = [
    sys.executable,
    "-m",
    "fal_jax.main",
    "--config=configs/wflw.py",
    f"--workdir={tmp_path}",
    "--mode=bench",
  ]
  command += [
    "--parts=first_step,encode",
    "--rounds=1",
    *(f"--config.{key}={value}" for key, value in flat.items()),
  ]
  environment = {**bench.os.environ, **worker.fake_devices(1)}
  done = subprocess.run(
    command,
    cwd=tiny_dataset.ROOT,
    env=environment,
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
