"""configs/w300_best.py: the settings of the trial that gave its numbers, in the library's keys."""

import importlib
import json

import pytest
import tiny_dataset

from fal_jax import build, config_json

# Key of the config -> what the trial called it.
NAMES = {
  "optimizer.learning_rate": "learning_rate",
  "model.epsilon": "batch_norm_epsilon",
  "model.momentum": "batch_norm_momentum",
  "siamese.view_loss": "view_loss",
  "augment.translation": "translation_of_side",
  "augment.rotation": "rotation_degrees",
  "corruption.flat_background": "p_flat_background",
  "corruption.gain": "channel_gain_sd",
  "corruption.gamma": "gamma_log",
  "corruption.clipping": "p_contrast_that_clips",
  "corruption.grey": "p_grey",
  "corruption.blur": "p_blur",
  "corruption.blur_sigma": "blur_sigma_max",
  "corruption.low_resolution": "p_low_resolution",
  "corruption.noise": "p_noise",
  "corruption.noise_deviation": "noise_sd_max",
  "corruption.occluder": "p_occluder",
  "codec.sigma": "sigma_heatmap_px",
  "crop.size": "input_px",
  "crop.stored_size": "stored_px",
  "model.num_stacks": "num_stacks",
  "model.features": "features",
  "model.depth": "depth",
  "train.batch_size": "batch_size",
}
# What it changes of the paper's recipe beside these.
ALSO_CHANGED = {
  "codec.decode",
  "data.train_split",
  "eval.splits",
  "optimizer.schedule",
  "optimizer.warmup",
  "siamese.reduce",
  "train.epochs",
  "train.frozen",
}
FIT = 1810  # faces that the trial had


@pytest.fixture(scope="module")
def trial():
  recipes = tiny_dataset.ROOT / "fal_jax" / "weights" / "recipes.json"
  return json.loads(recipes.read_text())["100_full_best"]


@pytest.fixture
def load(monkeypatch):
  """As the command line finds them, from the repository's folder."""
  monkeypatch.syspath_prepend(str(tiny_dataset.ROOT))
  return lambda name: importlib.import_module(f"configs.{name}").get_config()


def test_it_has_the_trial_s_settings(load, trial):
  config = load("w300_best")

  for key, name in NAMES.items():
    section, option = key.split(".")
    assert config[section][option] == trial[name], key

  scale, colour = config.augment.scale, config.augment.colour
  assert scale == (trial["scale_min"], trial["scale_max"])
  assert colour == (trial["colour_min"], trial["colour_max"])
  assert trial["init_from"] is config.init_from is None


def test_its_rate_rises_falls_and_freezes_when_the_trial_s_did(load, trial):
  setup = build.setup(load("w300_best"), device_count=1)
  steps_per_epoch = FIT / trial["batch_size"]
  recipe = setup.recipe(steps_per_epoch=steps_per_epoch)
  steps = round(setup.config.train.epochs * steps_per_epoch)
  risen = round(setup.config.optimizer.warmup * steps)
  frozen_from = steps - round(setup.config.train.frozen * steps)

  assert steps == pytest.approx(trial["steps"], rel=0.01)
  assert risen == pytest.approx(trial["warmup_steps"], rel=0.01)
  assert frozen_from == pytest.approx(trial["statistics_frozen_from_step"], rel=0.01)
  rates = [float(recipe.schedule(step)) for step in range(0, steps, 50)]
  assert max(rates) == pytest.approx(trial["learning_rate"], rel=0.02)
  assert rates.index(max(rates)) * 50 == pytest.approx(risen, abs=50)
  assert float(recipe.schedule(steps)) == pytest.approx(trial["final_learning_rate"])


def test_it_differs_from_the_papers_recipe_in_these_settings_only(load):
  changed = config_json.differences(load("w300").to_dict(), load("w300_best").to_dict())
  assert changed.keys() <= NAMES.keys() | ALSO_CHANGED
  assert changed.keys() >= ALSO_CHANGED
