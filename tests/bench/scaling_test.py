"""Processes that the bench measures in: workers, fake devices, two that train together."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import quick_xla
import tiny_dataset

from fal_jax.bench import scaling, table, worker


def config():
  return tiny_dataset.config(Path("nowhere"))


@pytest.mark.slow
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


class FakeWorker:
  """Answers like a worker that has taken 3 bytes and two seconds."""

  def __init__(self, *_):
    self.answers = iter([{"step": 1.0}, {"seconds": 1.0}, {"seconds": 1.0}, {"peak_bytes": 3}])

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def ask(self, request):
    pass

  def answer(self):
    return next(self.answers)


def test_devices_that_might_fill_the_memory_are_left_out(monkeypatch):
  monkeypatch.setattr(scaling, "Worker", FakeWorker)
  monkeypatch.setattr(scaling, "available_bytes", lambda: 11)

  results = scaling.measure_fake_devices(
    config(), pairs=1, rounds=1, environment={}, echo=print, counts=(1, 4)
  )

  assert results[0]["peak_bytes"] == 3
  assert results[1] == {"devices": 4, "too_large": True}
  assert "too little memory" in table.fake_devices(results)


@pytest.mark.slow
def test_peak_memory_is_that_of_the_process_and_not_of_its_parent():
  ballast = np.ones(10**9, np.uint8)
  code = "from fal_jax.bench import worker; print(worker._peak_bytes())"

  printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout

  assert 10**7 < int(printed) < ballast.nbytes


@pytest.mark.heavy
def test_fake_devices_and_two_processes_take_steps_by_turns(monkeypatch):
  monkeypatch.setattr(scaling, "available_bytes", lambda: None)  # whatever other tests hold now
  monkeypatch.setenv("XLA_FLAGS", quick_xla.FLAGS)
  options = {"pairs": 1, "rounds": 2, "environment": {}, "echo": print}
  fake = scaling.measure_fake_devices(config(), counts=(2,), **options)
  (both,) = scaling.measure_processes(config(), **options)

  assert [result["devices"] for result in fake] == [2] and both["processes"] == 2
  for result in (*fake, both, both["local"]):
    assert min(result[name]["min"] for name in ("seconds", "control", "efficiency")) > 0
  assert "2 fake devices" in table.fake_devices(fake)
  assert "2 processes" in table.processes([both])
