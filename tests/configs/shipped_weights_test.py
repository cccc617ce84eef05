"""The configs of the shipped networks: the settings of the trial that made the weights."""

import importlib
import json

import jax
import numpy as np
import pytest
import tiny_dataset
from runs import records
from tiny_dataset import SMALL

from fal_jax import build, restore
from fal_jax.weights import pretrained

STAGES = {"free_68": ["040_free_strong"], "w300_68": ["060_w300_a", "062_w300_c", "063_w300_d"]}
EVERY = pytest.mark.parametrize("name", STAGES)
# Key of recipes.json -> where our configs have it.
SAME = {
  "batch_norm_epsilon": "model.epsilon",
  "batch_norm_momentum": "model.momentum",
  "num_stacks": "model.num_stacks",
  "features": "model.features",
  "depth": "model.depth",
  "input_px": "crop.size",
  "stored_px": "crop.stored_size",
  "sigma_heatmap_px": "codec.sigma",
  "view_loss": "siamese.view_loss",
  "rotation_degrees": "augment.rotation",
  "translation_of_side": "augment.translation",
  "gamma_log": "corruption.gamma",
  "channel_gain_sd": "corruption.gain",
  "p_flat_background": "corruption.flat_background",
  "p_contrast_that_clips": "corruption.clipping",
  "p_grey": "corruption.grey",
  "p_blur": "corruption.blur",
  "blur_sigma_max": "corruption.blur_sigma",
  "p_low_resolution": "corruption.low_resolution",
  "p_noise": "corruption.noise",
  "noise_sd_max": "corruption.noise_deviation",
  "p_occluder": "corruption.occluder",
  "batch_size": "train.batch_size",
}


@pytest.fixture(autouse=True)
def from_the_repository(monkeypatch):
  monkeypatch.syspath_prepend(str(tiny_dataset.ROOT))


def load(name):
  return importlib.import_module(f"configs.{name}").get_config()


def stages(name):
  recipes = json.loads((pretrained.FOLDER / "recipes.json").read_text())
  return [recipes[stage] for stage in STAGES[name]]


def value(config, key):
  section, name = key.split(".")
  return config[section][name]


@EVERY
def test_what_is_the_same_in_all_stages_of_the_trial_is_that_of_the_config(name):
  config = load(name)
  for stage in stages(name):
    assert {key: value(config, ours) for key, ours in SAME.items()} == {
      key: stage[key] for key in SAME
    }
    assert config.augment.scale == (stage["scale_min"], stage["scale_max"])
    assert config.augment.colour == (stage["colour_min"], stage["colour_max"])
    assert config.optimizer.warmup == stage["warmup_steps"] / stage["steps"]
  assert config.optimizer.learning_rate == stages(name)[0]["learning_rate"]


@EVERY
def test_it_shows_as_many_images_of_either_kind_and_freezes_as_many_steps(name):
  config, trial = load(name), stages(name)
  main, mixed = {"free_68": (2000, 0.0), "w300_68": (1810, 0.1)}[name]
  assert sum(share for _, _, share in config.data.mix) == mixed

  steps = config.train.epochs * main / (config.train.batch_size * (1 - mixed))
  assert steps == pytest.approx(sum(stage["steps"] for stage in trial), rel=1e-3)
  rendered = [stage["steps"] * (1 - stage["share_of_real_faces"]) for stage in trial]
  assert steps * (mixed or 1) == pytest.approx(sum(rendered), rel=1e-3)
  frozen = [stage["steps"] - stage["statistics_frozen_from_step"] for stage in trial]
  assert steps * config.train.frozen == pytest.approx(sum(frozen), rel=0.05)


@EVERY
def test_the_shipped_weights_are_of_its_network_read_the_same_way(name):
  shipped = pretrained.load(name.replace("_", "-")).config
  differences = restore.evaluation_differences(shipped, load(name))
  assert differences == ["model.dtype: trained with float32, now auto"]


@pytest.mark.heavy
def test_the_recipe_of_real_faces_runs_from_other_weights_at_a_tiny_size(
  folder, workdir, tmp_path, capsys
):
  """Four steps: cosine, warm-up, corruption, mix, view loss, and two of them frozen."""
  config = load("w300_68").unlock()
  config.update_from_flattened_dict(
    {
      **SMALL,
      "optimizer.learning_rate": 1e-3,
      "init_from": str(workdir),
      "data.name": tiny_dataset.NAME,
      "data.dir": str(folder),
      "data.markup": tiny_dataset.MARKUP,
      "data.train_split": "train",
      "data.mix": ((tiny_dataset.NAME, "test", 0.25),),
      "train.epochs": 2.0,
      "train.frozen": 0.5,
      "eval.splits": ("test",),
    }
  )

  summaries = tiny_dataset.run_without_figures(config.lock(), tmp_path)

  printed = capsys.readouterr().out
  assert f"Starting from the weights of {workdir}" in printed
  assert "Training on 23 images, steps 1 to 4;" in printed
  assert np.isfinite(list(records(tmp_path).values())).all()
  assert list(records(tmp_path)) == [1, 2, 3, 4]
  assert summaries["test"]["num_images"] == tiny_dataset.TEST
  variables, _ = restore.restore_variables(build.setup(config), tmp_path)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
