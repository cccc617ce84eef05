"""Training: it learns, stops and goes on without a trace of the stop, and never saves what is not
finite.
"""

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import tiny_dataset

from fal_jax import build, checkpoint, data, evaluate, parallel, steps, train
from fal_jax.errors import InputError
from fal_jax.output import metric_log
from fal_jax.plots import figure

LAST = 12  # steps of a whole run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """Workdir of a run that nothing interrupted."""
  return tiny_dataset.trained(tmp_path_factory.getbasetemp())


def records(workdir, name="loss"):
  """step -> value, of the records of metrics.jsonl that have it; each step once."""
  found = [(record["step"], record[name]) for record in metric_log.read(workdir) if name in record]
  assert len(dict(found)) == len(found)
  return dict(found)


def saved_steps(workdir):
  return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def before_step(number, act):
  """Wraps the compiled step so that `act(state)` comes before a run's step `number`; it may replace
  the state.
  """

  def around(step):
    calls = 0

    def call(state, batch):
      nonlocal calls
      calls += 1
      return step((act(state) or state) if calls == number else state, batch)

    return call

  return around


def interrupt(number, folder, workdir, signal_number=signal.SIGTERM, **changes):
  with pytest.raises(train.Interrupted) as stopped:
    around = before_step(number, lambda _: os.kill(os.getpid(), signal_number))
    tiny_dataset.run(tiny_dataset.config(folder, **changes), workdir, around_step=around)
  return str(stopped.value)


@pytest.fixture(scope="module")
def stopped(folder, tmp_path_factory):
  """Workdir of a run that SIGTERM stopped after step 3, and its last words."""
  workdir = tmp_path_factory.mktemp("stopped")
  return workdir, interrupt(3, folder, workdir)


@pytest.fixture(scope="module")
def resumed(stopped, folder):
  """The same workdir after the run was started again."""
  workdir, _ = stopped
  saved = saved_steps(workdir)
  tiny_dataset.run(tiny_dataset.config(folder), workdir)
  return workdir, saved


def test_the_loss_falls(whole):
  losses = records(whole)
  assert list(losses) == list(range(1, LAST + 1))
  assert np.mean([losses[step] for step in range(LAST - 2, LAST + 1)]) < 0.5 * np.mean(
    [losses[step] for step in range(1, 4)]
  )


def test_the_last_step_is_saved_though_it_is_not_on_the_interval(whole):
  assert saved_steps(whole) == [10, LAST]


def test_a_run_leaves_its_config_its_numbers_and_its_pictures(whole, folder):
  config = json.loads((whole / "config.json").read_text())
  assert not checkpoint.config_differences(
    config, json.loads(tiny_dataset.config(folder).to_json_best_effort())
  )
  assert json.loads((whole / "eval" / "test.json").read_text())["provenance"]["step"] == LAST
  pictures = ["eval/test_first.jpg", "eval/test_worst.jpg"]
  pictures += ["eval/test_ced.png", "learning_curve.png"] if figure.has_matplotlib() else []
  for name in ["eval/test_predictions.csv", *pictures]:
    assert (whole / name).stat().st_size > 1000, name


def test_the_first_split_is_evaluated_on_the_way_and_at_the_end(whole):
  assert list(records(whole, "test/nme_ic")) == [
    8,
    LAST,
  ]  # 5 epochs of one and a half steps are over with step 8


def test_a_stop_is_saved_and_says_how_to_go_on(stopped, resumed):
  _, saved = resumed
  assert saved == [3]
  assert "Stopped at step 3 of 12 and saved" in stopped[1] and "run the same command" in stopped[1]


@pytest.mark.slow
def test_a_run_whose_images_live_on_the_devices_ends_in_the_same_bits(whole, folder, tmp_path):
  tiny_dataset.run(tiny_dataset.config(folder, data__cache="device"), tmp_path / "run")
  assert tiny_dataset.last_digest(tmp_path / "run") == tiny_dataset.last_digest(whole)


def test_a_stopped_run_ends_in_the_same_bits_as_an_uninterrupted_one(whole, resumed):
  assert tiny_dataset.last_digest(resumed[0]) == tiny_dataset.last_digest(whole)


def test_a_stop_leaves_no_trace_in_the_log(whole, resumed):
  for name in ("loss", "learning_rate", "gradient_norm", "test/nme_ic"):
    assert records(resumed[0], name) == records(whole, name)


def test_a_stop_during_an_evaluation_is_acted_on_after_the_next_step_which_is_saved(
  folder, tmp_path, monkeypatch
):
  predict_split, evaluations = evaluate.predict_split, []

  def interrupted(*args, **options):
    evaluations.append(args)
    if len(evaluations) == 1:
      os.kill(os.getpid(), signal.SIGINT)
    return predict_split(*args, **options)

  monkeypatch.setattr(evaluate, "predict_split", interrupted)
  with pytest.raises(train.Interrupted, match="Stopped at step 3 of 12 and saved"):
    tiny_dataset.run(tiny_dataset.config(folder, eval__every_epochs=1.0), tmp_path)
  assert saved_steps(tmp_path) == [3]


def test_signals_act_as_before_after_a_run(whole):
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_stops_at_once():
  with pytest.raises(KeyboardInterrupt), train.stop_on_signal() as asked:
    os.kill(os.getpid(), signal.SIGINT)
    assert asked.is_set()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(scope="module")
def copy(whole, tmp_path_factory):
  """A finished run that tests may start again."""
  workdir = tmp_path_factory.mktemp("copy") / "run"
  subprocess.run(["cp", "-r", whole, workdir], check=True)
  return workdir


def test_a_run_does_not_go_on_under_other_mathematics_and_leaves_everything_as_it_is(copy, folder):
  before = (copy / "config.json").read_text()
  with pytest.raises(InputError, match=r"another config.*\n  codec\.sigma: 1\.5 there, 2\.0 here$"):
    tiny_dataset.run(tiny_dataset.config(folder, codec__sigma=2.0), copy)
  assert saved_steps(copy) == [10, LAST] and (copy / "config.json").read_text() == before


@pytest.mark.parametrize(
  ("key", "value", "named"),
  [
    ("optimizer__learning_rate", 1e-3, "optimizer.learning_rate: 0.01 there, 0.001 here"),
    ("augment__scale", (0.9, 1.15), "augment.scale: [0.85, 1.15] there, [0.9, 1.15] here"),
    ("seed", 1, "seed: 0 there, 1 here"),
    ("train__batch_size", 16, "train.batch_size: 8 there, 16 here"),
    ("data__train_split", "test", "data.train_split: train there, test here"),
  ],
)
def test_a_difference_that_touches_the_mathematics_is_named(folder, tmp_path, key, value, named):
  saved, now = (
    json.loads(tiny_dataset.config(folder, **changes).to_json_best_effort())
    for changes in ({}, {key: value})
  )
  with pytest.raises(InputError) as refused:
    train.check_resumable(saved, now, tmp_path)
  assert str(refused.value).endswith(f"take back\n  {named}")


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
def test_what_does_not_touch_the_mathematics_may_change(folder, tmp_path, key, value):
  saved, now = (
    json.loads(tiny_dataset.config(folder, **changes).to_json_best_effort())
    for changes in ({}, {key: value})
  )
  assert saved != now
  train.check_resumable(saved, now, tmp_path)


def test_a_run_does_not_go_on_with_another_network(copy, folder):
  with pytest.raises(InputError, match="was saved by a different network"):
    tiny_dataset.run(tiny_dataset.config(folder, model__features=16), copy)


def test_a_run_does_not_go_on_with_another_number_of_images(copy, folder, monkeypatch):
  open_split = data.open_split
  monkeypatch.setattr(
    data, "open_split", lambda name, split, **options: open_split(name, split + "[:9]", **options)
  )
  with pytest.raises(InputError, match="12 images and 'tiny_faces' now has 9"):
    tiny_dataset.run(tiny_dataset.config(folder), copy)


def test_a_second_run_in_the_same_folder_is_refused(copy, folder):
  first = checkpoint.Checkpoints(copy)
  with pytest.raises(InputError, match="Another process is training in"):
    tiny_dataset.run(tiny_dataset.config(folder), copy)
  first.close()


def test_a_finished_run_started_again_only_evaluates_with_fewer_epochs_too(copy, folder):
  before = tiny_dataset.last_digest(copy)
  tiny_dataset.run(tiny_dataset.config(folder, train__epochs=4.0), copy)
  assert tiny_dataset.last_digest(copy) == before and saved_steps(copy) == [10, LAST]
  assert json.loads((copy / "eval" / "test.json").read_text())["provenance"]["step"] == LAST
  assert list(records(copy)) == list(range(1, LAST + 1))


def test_a_finished_run_goes_on_under_more_epochs_and_other_intervals(copy, folder):
  tiny_dataset.run(
    tiny_dataset.config(folder, train__epochs=10.0, log__every_steps=2, checkpoint__every_steps=7),
    copy,
  )
  assert saved_steps(copy) == [14, 15]
  assert list(records(copy)) == [*range(1, LAST + 1), 14, 15]


def nan(state):
  return state.replace(params=jax.tree.map(lambda leaf: leaf * np.nan, state.params))


@pytest.mark.parametrize("changes", [{}, {"log__every_steps": 100, "eval__every_epochs": 0.1}])
def test_a_run_that_diverges_stops_before_anything_bad_is_saved(folder, tmp_path, changes):
  config = tiny_dataset.config(folder, checkpoint__every_steps=2, **changes)
  with pytest.raises(
    train.Diverged,
    match=r"loss .*became NaN or infinite at or shortly before step 4.* are from before that",
  ):
    tiny_dataset.run(config, tmp_path, around_step=before_step(4, nan))
  assert saved_steps(tmp_path) == [2]
  abstract = jax.eval_shape(
    lambda: steps.init_state(jax.random.key(0), build.setup(config).recipe(steps_per_epoch=1.5))
  )
  sharding = parallel.replicated_sharding()
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract
  )
  checkpoints = checkpoint.Checkpoints(tmp_path)
  state, _, _ = checkpoints.restore_latest(abstract)
  checkpoints.close()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
  "values", [{"loss": np.nan, "a": 1.0}, {"loss": np.inf, "a": 1.0}, {"a": 1.0, "loss": -np.inf}]
)
def test_numbers_that_are_not_finite_are_named(values, tmp_path):
  with pytest.raises(
    train.Diverged, match=r"^loss became NaN or infinite at or shortly before step 7\."
  ):
    train.check_finite(values, 7, tmp_path)
  train.check_finite({"loss": 1e30, "a": 0.0}, 7, tmp_path)


def test_nothing_is_traced_again_after_the_first_step_of_a_run(folder, tmp_path, monkeypatch):
  traced = []

  def counted(function):
    @functools.wraps(function)  # the name is part of what compilations are kept under
    def call(*args, **options):
      traced.append(function.__name__)
      return function(*args, **options)

    return call

  for function in (steps.train_step, steps.predict_step):
    monkeypatch.setattr(steps, function.__name__, counted(function))
  config = tiny_dataset.config(folder, train__epochs=4.0, eval__every_epochs=1.0)
  seen = []
  make, around = parallel.make_train_step, before_step(2, lambda _: seen.append(list(traced)))
  monkeypatch.setattr(parallel, "make_train_step", lambda step_recipe: around(make(step_recipe)))
  train.train_and_evaluate(config, tmp_path)
  assert seen[0].count("train_step") == traced.count("train_step") >= 1
  assert traced.count("predict_step") == 1, "four evaluations, two of them of short batches"


def test_a_run_of_no_steps_evaluates_the_untrained_network(folder, tmp_path):
  summaries = tiny_dataset.run(tiny_dataset.config(folder, train__epochs=0.0), tmp_path)
  assert summaries["test"]["num_images"] == tiny_dataset.TEST and saved_steps(tmp_path) == []


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


def command(folder, workdir):
  config = tiny_dataset.config(folder, train__epochs=40.0)
  flags = {
    f"{section}.{key}": config[section][key] for section, keys in CHANGED.items() for key in keys
  }
  return [
    sys.executable,
    "-m",
    "fal_jax.main",
    "--config=configs/default.py",
    f"--workdir={workdir}",
  ] + [f"--config.{key}={value}" for key, value in flags.items()]


def start(folder, workdir):
  return subprocess.Popen(
    command(folder, workdir),
    cwd=tiny_dataset.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def wait_for_step(process, step):
  for line in process.stdout:
    if line.split()[:1] == ["step"] and line.split()[1].split("/")[0] == str(step):
      return
  pytest.fail(f"ended with {process.wait()} before step {step}")


@pytest.mark.slow
def test_sigterm_exits_with_75_kill_nine_with_nothing_and_the_end_is_the_same_bits(
  folder, tmp_path
):
  """The promise of the whole: stopped politely, then killed at a random moment, then left alone,
  against never stopped.
  """
  whole, stopped = tmp_path / "whole", tmp_path / "stopped"
  process = start(folder, whole)
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 0, output

  process = start(folder, stopped)
  wait_for_step(process, 7)
  process.send_signal(signal.SIGTERM)
  output, _ = process.communicate(timeout=60)
  assert (
    process.returncode == 75
    and "Traceback" not in output
    and "run the same command to go on" in output
  )
  (saved,) = [step for step in saved_steps(stopped) if step > 5]

  process = start(folder, stopped)
  wait_for_step(process, saved + random.randint(1, 20))
  time.sleep(random.uniform(0, 0.5))
  process.kill()
  process.wait()

  process = start(folder, stopped)
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 0 and "Going on from step" in output, output
  assert tiny_dataset.last_digest(stopped) == tiny_dataset.last_digest(whole)
  for name in ("loss", "learning_rate", "gradient_norm", "test/nme_ic"):
    assert records(stopped, name) == records(whole, name)
