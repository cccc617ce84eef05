"""A run that stops resumes without a trace of the stop, and under its own config only."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny_dataset
from runs import before_step, records, saved_steps
from tiny_dataset import last_digest

from fal_jax import checkpoint, config_json, data, evaluate, train
from fal_jax.errors import InputError, Interrupted
from fal_jax.output import stopping

LAST = 12  # steps of a whole run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """Workdir of a run that nothing interrupted."""
  return tiny_dataset.trained(tmp_path_factory.getbasetemp())


# ---- Stopping


@pytest.fixture(scope="module")
def stopped(folder, tmp_path_factory):
  """Workdir of a run that SIGTERM stopped after step 3, and its last words."""
  workdir = tmp_path_factory.mktemp("stopped")
  around = before_step(3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
  with pytest.raises(Interrupted) as error:
    tiny_dataset.run(tiny_dataset.config(folder), workdir, around_step=around)
  return workdir, str(error.value)


@pytest.fixture(scope="module")
def resumed(stopped, folder):
  """The same workdir after the run was started again; what was saved before, and what it prints."""
  workdir, _ = stopped
  saved = saved_steps(workdir)
  with contextlib.redirect_stdout(io.StringIO()) as printed:
    tiny_dataset.run(tiny_dataset.config(folder), workdir)
  return workdir, saved, printed.getvalue()


@pytest.mark.slow
def test_a_stop_is_saved_and_says_how_to_resume(stopped, resumed):
  workdir, last_words = stopped
  _, saved, printed = resumed
  assert saved == [3]
  assert "Stopped at step 3 of 12 and saved" in last_words
  assert "run the same command to resume" in last_words
  assert f"Resuming from step 3 of 12 in {workdir}" in printed


def test_a_stopped_run_ends_in_the_same_bits_as_an_uninterrupted_one(whole, resumed):
  assert last_digest(resumed[0]) == last_digest(whole)


def test_a_stop_leaves_no_trace_in_the_log(whole, resumed):
  for name in ("loss", "learning_rate", "gradient_norm", "test/nme_ic"):
    assert records(resumed[0], name) == records(whole, name)


def test_a_stop_during_an_evaluation_takes_effect_after_the_next_step(
  folder, tmp_path, monkeypatch
):
  predict_split, evaluations = evaluate.predict_split, []

  def interrupted(*args, **options):
    evaluations.append(args)
    if len(evaluations) == 1:
      os.kill(os.getpid(), signal.SIGINT)
    return predict_split(*args, **options)

  monkeypatch.setattr(evaluate, "predict_split", interrupted)

  with pytest.raises(Interrupted, match="Stopped at step 3 of 12 and saved"):
    tiny_dataset.run(tiny_dataset.config(folder, eval__every_epochs=1.0), tmp_path)
  assert saved_steps(tmp_path) == [3]


def test_signals_act_as_before_after_a_run(whole):
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_stops_immediately():
  with pytest.raises(KeyboardInterrupt), stopping.stop_on_signal() as requested:
    os.kill(os.getpid(), signal.SIGINT)
    assert requested.is_set()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- What may change between two starts


@pytest.fixture(scope="module")
def copy(whole, tmp_path_factory):
  """A finished run that tests may start again."""
  workdir = tmp_path_factory.mktemp("copy") / "run"
  return shutil.copytree(whole, workdir)


def test_a_run_does_not_resume_under_another_codec_and_nothing_is_changed(copy, folder):
  before = (copy / "config.json").read_text()

  with pytest.raises(InputError, match=r"another config.*\n  codec\.sigma: 1\.5 there, 2\.0 here$"):
    tiny_dataset.run(tiny_dataset.config(folder, codec__sigma=2.0), copy)
  assert saved_steps(copy) == [10, LAST]
  assert (copy / "config.json").read_text() == before


def saved_by(folder, **changes):
  """What a checkpoint tells of its run besides the weights."""
  config = tiny_dataset.config(folder, **changes)
  return {"config": config_json.to_json(config), "train_images": 12}


@pytest.mark.parametrize(
  ("key", "value", "line"),
  [
    ("optimizer__learning_rate", 1e-3, "optimizer.learning_rate: 0.01 there, 0.001 here"),
    ("augment__scale", (0.9, 1.15), "augment.scale: [0.85, 1.15] there, [0.9, 1.15] here"),
    ("seed", 1, "seed: 0 there, 1 here"),
    ("train__batch_size", 16, "train.batch_size: 8 there, 16 here"),
    ("data__train_split", "fit+val", "data.train_split: train there, fit+val here"),
  ],
)
def test_a_difference_that_affects_the_weights_is_named(folder, tmp_path, key, value, line):
  saved, now = saved_by(folder), saved_by(folder, **{key: value})

  with pytest.raises(InputError) as error:
    train.check_resumable(saved, now, tmp_path)

  assert str(error.value).endswith(f"or revert these keys:\n  {line}")


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("data__dir", "elsewhere"),
    ("eval__norm", "box"),
    ("eval__splits", ("train",)),
    ("checkpoint__keep", 7),
    ("log__every_steps", 7),
    ("train__epochs", 9.0),
  ],
)
def test_what_does_not_affect_the_weights_may_change(folder, tmp_path, key, value):
  saved, now = saved_by(folder), saved_by(folder, **{key: value})
  assert saved != now
  train.check_resumable(saved, now, tmp_path)


def test_a_run_saved_before_a_key_existed_resumes_under_what_was_done_then(folder, tmp_path):
  saved = saved_by(folder)
  del saved["config"]["siamese"]["frame"]

  train.check_resumable(saved, saved_by(folder, siamese__frame="crop"), tmp_path)
  with pytest.raises(InputError, match=r"\n  siamese\.frame: crop there, view here$"):
    train.check_resumable(saved, saved_by(folder, siamese__frame="view"), tmp_path)


def test_a_run_does_not_resume_under_a_config_that_lacks_one_of_its_keys(folder, tmp_path):
  saved, now = saved_by(folder), saved_by(folder)
  del now["config"]["model"]["name"]

  with pytest.raises(InputError, match=r"\n  model\.name: fan there, None here$"):
    train.check_resumable(saved, now, tmp_path)


def test_a_run_does_not_resume_with_another_network(copy, folder):
  shapes = r"network: params/\S+ has shape .* in the checkpoint and .* in this config"
  with pytest.raises(InputError, match=shapes):
    tiny_dataset.run(tiny_dataset.config(folder, model__features=16), copy)


def test_a_run_does_not_resume_with_another_number_of_images(copy, folder, monkeypatch):
  open_split = data.open_split

  def open_part(name, split, **options):
    return open_split(name, f"{split}[:9]", **options)

  monkeypatch.setattr(data, "open_split", open_part)
  with pytest.raises(InputError, match="12 images and 'tiny_faces' now has 9"):
    tiny_dataset.run(tiny_dataset.config(folder), copy)


def test_a_second_run_in_the_same_folder_is_refused(copy, folder):
  first = checkpoint.Checkpoints(copy)
  with pytest.raises(InputError, match="Another process is training in"):
    tiny_dataset.run(tiny_dataset.config(folder), copy)
  first.close()


def test_a_finished_run_started_again_only_evaluates_with_fewer_epochs_too(copy, folder):
  before = last_digest(copy)

  tiny_dataset.run(tiny_dataset.config(folder, train__epochs=4.0), copy)

  assert last_digest(copy) == before
  assert saved_steps(copy) == [10, LAST]
  assert json.loads((copy / "eval" / "test.json").read_text())["provenance"]["step"] == LAST
  assert list(records(copy)) == list(range(1, LAST + 1))


def test_a_finished_run_resumes_under_more_epochs_and_other_intervals(copy, folder):
  longer = tiny_dataset.config(
    folder, train__epochs=10.0, log__every_steps=2, checkpoint__every_steps=7
  )

  tiny_dataset.run(longer, copy)

  assert saved_steps(copy) == [14, 15]
  assert list(records(copy)) == [*range(1, LAST + 1), 14, 15]


# ---- As processes

# What the tiny config changes of the default one.
CHANGED = {
  "data": ["name", "dir", "markup"],
  "crop": ["size", "stored_size", "face"],
  "model": ["num_stacks", "features", "depth"],
  "optimizer": ["learning_rate"],
  "train": ["batch_size", "epochs"],
  "eval": ["batch_size"],
  "checkpoint": ["every_steps"],
  "log": ["every_steps"],
}


def start(folder, workdir):
  config = tiny_dataset.config(folder, train__epochs=40.0)
  flags = [
    f"--config.{section}.{key}={config[section][key]}"
    for section, keys in CHANGED.items()
    for key in keys
  ]
  command = [sys.executable, "-m", "fal_jax.main", "--config=configs/default.py"]
  return subprocess.Popen(
    [*command, f"--workdir={workdir}", *flags],
    cwd=tiny_dataset.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def wait_for_step(process, step):
  for line in process.stdout:
    words = line.split()
    if words[:1] == ["step"] and words[1].split("/")[0] == str(step):
      return
  pytest.fail(f"ended with {process.wait()} before step {step}")


@pytest.mark.heavy
def test_sigterm_exits_with_75_and_after_that_and_kill_9_the_bits_are_the_same(folder, tmp_path):
  """The promise as a whole, against a run that is never stopped.

  The other is stopped politely, then killed at a random moment, then left alone.
  """
  whole, stopped = tmp_path / "whole", tmp_path / "stopped"
  process = start(folder, whole)
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 0, output

  process = start(folder, stopped)
  wait_for_step(process, 7)
  process.send_signal(signal.SIGTERM)
  output, _ = process.communicate(timeout=60)
  assert process.returncode == 75, output
  assert "run the same command to resume" in output
  assert "Traceback" not in output
  (saved,) = [step for step in saved_steps(stopped) if step > 5]

  process = start(folder, stopped)
  wait_for_step(process, saved + random.randint(1, 20))
  time.sleep(random.uniform(0, 0.5))
  process.kill()
  process.communicate()  # closes its pipe too

  process = start(folder, stopped)
  output, _ = process.communicate(timeout=300)

  assert process.returncode == 0, output
  assert "Resuming from step" in output
  assert last_digest(stopped) == last_digest(whole)
  for name in ("loss", "learning_rate", "gradient_norm", "test/nme_ic"):
    assert records(stopped, name) == records(whole, name)
