"""From photographs to a finished run on a lent machine, in miniature and on a CPU."""

import os
import shutil
import subprocess
import sys
import time

import pytest
import runs
import tiny_dataset

from fal_jax.crop import CropRule
from tfds_builders.common.crops import FaceCrops


@pytest.fixture(scope="module")
def squares(folder, tmp_path_factory):
  """The tiny dataset as it is taken along: squares in place of its images."""
  squares = tmp_path_factory.mktemp("squares")
  source = tiny_dataset.TinyFaces(data_dir=folder)
  crops = FaceCrops(source=source, rule=CropRule(stored_size=512), replace=True, data_dir=squares)
  crops.download_and_prepare(download_dir=squares / "downloads")
  return squares


@pytest.fixture
def start(squares, tmp_path):
  """Starts a slice of a run of 60 steps, whose step other tests compile, too."""
  keys = tiny_dataset.SMALL | {"train.epochs": 40.0, "data.dir": squares}
  keys |= {"data.name": tiny_dataset.NAME, "data.markup": tiny_dataset.MARKUP}
  command = [
    str(tiny_dataset.ROOT / "launch" / "train_gpu.sh"),
    "--config=configs/default.py",
    f"--workdir={tmp_path / 'run'}",
    f"--bring={tmp_path / 'brought'}",
    f"--python={sys.executable}",
    "--minutes=60",
    *(f"--config.{key}={value}" for key, value in keys.items()),
  ]
  environment = {**os.environ, "FAL_JAX_ACCELERATOR": "cpu"}
  started = []

  def start():
    process = subprocess.Popen(
      command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    started.append(process)
    return process

  yield start
  for process in started:
    process.terminate()
    process.communicate(timeout=900)


@pytest.mark.heavy
def test_a_run_that_is_stopped_and_brought_back_goes_on_and_finishes(start, tmp_path):
  workdir, brought = tmp_path / "run", tmp_path / "brought"

  # The machine is taken away in the middle.
  process = start()
  deadline = time.monotonic() + 900
  while not (workdir / "metrics.jsonl").exists() or len(runs.records(workdir)) < 3:
    assert process.poll() is None, process.communicate()[0]
    assert time.monotonic() < deadline
    time.sleep(0.05)
  process.terminate()
  out, _ = process.communicate(timeout=900)

  assert process.returncode == 75, out
  (step,) = runs.saved_steps(brought)
  assert 3 <= step < 60
  assert f"Stopped at step {step} of 60 and saved" in out
  assert {path.name for path in brought.iterdir()} == {
    "checkpoints",
    "config.json",
    "metrics.jsonl",
    "training.log",
  }

  # The next one gets what was brought back from it.
  shutil.rmtree(workdir)
  shutil.copytree(brought, workdir)
  process = start()
  out, _ = process.communicate(timeout=900)

  assert process.returncode == 0, out
  assert f"Resuming from step {step} of 60" in out
  assert list(runs.records(brought)) == list(range(1, 61))
  assert runs.saved_steps(brought) == [60]
  for name in ("test.json", "test_predictions.csv", "test_first.jpg"):
    assert (brought / "eval" / name).is_file()
  assert (brought / "learning_curve.png").is_file()
