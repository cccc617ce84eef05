"""Training: it learns, evaluates on the way, and never saves what is not finite."""

import errno
import functools
import json
import os
import types
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_dataset
from runs import before_step, records, saved_steps
from tiny_dataset import last_digest

from fal_jax import build, checkpoint, config_json, parallel, restore, steps, train
from fal_jax.errors import Diverged, InputError
from fal_jax.plots import figure

LAST = 12  # steps of a whole run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """Workdir of a run that nothing interrupted."""
  return tiny_dataset.trained(tmp_path_factory.getbasetemp())


def test_the_loss_falls(whole):
  losses = records(whole)
  assert list(losses) == list(range(1, LAST + 1))
  values = list(losses.values())
  assert np.mean(values[-3:]) < 0.5 * np.mean(values[:3])


def test_the_last_step_is_saved_though_it_is_not_on_the_interval(whole):
  assert saved_steps(whole) == [10, LAST]


def test_a_run_leaves_its_config_its_metrics_and_its_images(whole):
  config = json.loads((whole / "config.json").read_text())
  # Whichever process has trained it, each on its own copy of the dataset.
  expected = config_json.to_json(tiny_dataset.config(Path(config["data"]["dir"])))
  assert not config_json.differences(config, expected)

  assert json.loads((whole / "eval" / "test.json").read_text())["provenance"]["step"] == LAST

  files = ["eval/test_predictions.csv", "eval/test_first.jpg", "eval/test_worst.jpg"]
  if figure.has_matplotlib():
    files += ["eval/test_ced.png", "learning_curve.png"]
  for name in files:
    assert (whole / name).stat().st_size > 1000, name


def test_the_first_split_is_evaluated_on_the_way_and_at_the_end(whole):
  # 5 epochs of one and a half steps are over with step 8.
  assert list(records(whole, "test/nme_ic")) == [8, LAST]


@pytest.mark.heavy
def test_a_run_whose_images_live_on_the_devices_ends_in_the_same_bits(whole, folder, tmp_path):
  tiny_dataset.run_without_figures(
    tiny_dataset.config(folder, data__cache="device"), tmp_path / "run"
  )
  assert last_digest(tmp_path / "run") == last_digest(whole)


@pytest.mark.heavy
def test_the_last_steps_may_train_under_the_statistics_that_there_are(folder, tmp_path):
  """Half of the run: its statistics are those of a run that ends there, its weights are not."""
  frozen = tiny_dataset.config(folder, train__frozen=0.5)
  half = tiny_dataset.config(folder, train__epochs=4.0)
  tiny_dataset.run_without_figures(frozen, tmp_path / "frozen")
  tiny_dataset.run_without_figures(half, tmp_path / "half")

  variables, step = restore.restore_variables(build.setup(frozen), tmp_path / "frozen")
  at_half, middle = restore.restore_variables(build.setup(half), tmp_path / "half")

  assert (step, middle) == (LAST, LAST // 2)
  jax.tree.map(np.testing.assert_array_equal, variables["batch_stats"], at_half["batch_stats"])
  before, after = (tree["params"]["conv1"]["kernel"] for tree in (at_half, variables))
  assert (np.asarray(before) != np.asarray(after)).any()


def test_a_run_of_no_steps_evaluates_the_untrained_network(folder, tmp_path):
  summaries = tiny_dataset.run_without_figures(
    tiny_dataset.config(folder, train__epochs=0.0), tmp_path
  )
  assert summaries["test"]["num_images"] == tiny_dataset.TEST
  assert saved_steps(tmp_path) == []


@pytest.mark.slow
def test_a_run_trains_on_a_union_of_splits_resumes_and_evaluates_another(folder, tmp_path, capsys):
  """As many images as the split `train` has: what has been compiled for it will do."""
  tested = "test[4:]+nowhere"
  options = {"data__train_split": "train[:8]+test[:4]", "eval__splits": (tested,)}

  tiny_dataset.run_without_figures(
    tiny_dataset.config(folder, train__epochs=1.0, **options), tmp_path
  )
  assert "Training on 12 images, steps 1 to 2;" in capsys.readouterr().out

  longer = tiny_dataset.config(folder, train__epochs=2.0, **options)
  assert tiny_dataset.run(longer, tmp_path)[tested]["num_images"] == tiny_dataset.TEST - 4 + 1

  assert "Resuming from step 2 of 3" in capsys.readouterr().out
  assert list(records(tmp_path, f"{tested}/nme_ic")) == [2, 3]
  written = json.loads((tmp_path / "eval" / f"{tested}.json").read_text())
  assert written["provenance"]["split"] == tested
  assert (tmp_path / "eval" / f"{tested}_predictions.csv").exists()


# ---- A full disk


def test_a_run_whose_checkpoints_do_not_fit_takes_no_step(folder, tmp_path, monkeypatch):
  disk = types.SimpleNamespace(total=10**9, free=10**5)
  monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: disk)

  with pytest.raises(InputError, match=r"need .* MB more \(3 of .* and 0\.1 MB are free"):
    tiny_dataset.run_without_figures(
      tiny_dataset.config(folder), tmp_path, around_step=before_step(1, pytest.fail)
    )


@pytest.mark.slow
def test_a_disk_that_fills_up_is_a_sentence_that_says_where_the_run_resumes(folder, tmp_path):
  def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  config = tiny_dataset.config(folder, checkpoint__every_steps=2)
  with pytest.raises(InputError, match=r"No space left .* which resumes from step 2"):
    tiny_dataset.run_without_figures(config, tmp_path, around_step=before_step(4, full))
  assert saved_steps(tmp_path) == [2]


# ---- Divergence


def with_nan(state):
  return state.replace(params=jax.tree.map(lambda leaf: leaf * np.nan, state.params))


@pytest.mark.parametrize(
  "changes",
  [
    {},
    pytest.param({"log__every_steps": 100, "eval__every_epochs": 0.1}, marks=pytest.mark.slow),
  ],
)
def test_a_run_that_diverges_stops_before_anything_bad_is_saved(folder, tmp_path, changes):
  config = tiny_dataset.config(folder, checkpoint__every_steps=2, **changes)
  message = (
    "loss .*became NaN or infinite after step 3, by step 4; the newest .* of step 2, is from"
  )

  with pytest.raises(Diverged, match=message):
    tiny_dataset.run_without_figures(config, tmp_path, around_step=before_step(4, with_nan))

  assert saved_steps(tmp_path) == [2]
  recipe = build.setup(config).recipe(steps_per_epoch=1.5)
  shapes = jax.eval_shape(lambda: steps.init_state(jax.random.key(0), recipe))
  sharding = parallel.replicated_sharding()
  abstract_state = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
  )
  checkpoints = checkpoint.Checkpoints(tmp_path)
  state, _, _ = checkpoints.restore_latest(abstract_state)
  checkpoints.close()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@pytest.mark.slow
def test_what_only_the_next_step_would_show_is_not_saved_either(folder, tmp_path):
  """Loss, gradient and update of a step are finite, and so are its weights: no face survives."""

  def around(step):
    def call(state, batch):
      state, metrics = step(state, batch)
      if int(state.step) == 4:
        state = state.replace(params=jax.tree.map(lambda leaf: 1e30 * leaf, state.params))
      return state, metrics

    return call

  config = tiny_dataset.config(folder, checkpoint__every_steps=2, log__every_steps=3)
  message = "^what the network predicts became NaN or infinite after step 3, by step 4"
  with pytest.raises(Diverged, match=message):
    tiny_dataset.run_without_figures(config, tmp_path, around_step=around)
  assert saved_steps(tmp_path) == [2]


@pytest.mark.slow
def test_the_batch_that_did_it_is_kept_as_the_step_saw_it(folder, tmp_path):
  seen = []

  def around(step):
    def call(state, batch):
      seen.append(batch)
      return step(with_nan(state) if len(seen) == 3 else state, batch)

    return call

  # Nobody looks before step 6; that the third went wrong is known nevertheless.
  config = tiny_dataset.config(
    folder, log__every_steps=6, checkpoint__every_steps=6, eval__every_epochs=4.0
  )
  with pytest.raises(Diverged, match=r"by step 3; no checkpoint .* of train/\d+\.png"):
    tiny_dataset.run_without_figures(config, tmp_path, around_step=around)

  kept = np.load(tmp_path / "diverged" / "step_3.npz")
  assert kept["ids"].shape == (8,) and kept["ids"][0].startswith("train/")
  for name in ("image", "landmarks", "index"):
    np.testing.assert_array_equal(kept[name], seen[2][name].reshape(kept[name].shape))
  assert (tmp_path / "diverged" / "step_3.jpg").stat().st_size > 1000


# ---- Compilation


@pytest.mark.slow
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
  traced_before_step_2 = []
  around = before_step(2, lambda _: traced_before_step_2.extend(traced))
  make = parallel.make_train_step
  monkeypatch.setattr(parallel, "make_train_step", lambda recipe: around(make(recipe)))

  config = tiny_dataset.config(folder, train__epochs=4.0, eval__every_epochs=1.0)
  train.train_and_evaluate(config, tmp_path)

  assert traced_before_step_2.count("train_step") == traced.count("train_step") >= 1
  assert traced.count("predict_step") == 1, "four evaluations, two of them of short batches"
