"""Configs as JSON: what comes back, what differs, and what a key meant before it existed."""

import pytest
import tiny_dataset
from ml_collections import ConfigDict

from fal_jax import build
from fal_jax.config_json import GAINED_KEYS, complete, differences, from_json, to_json

# What every saved config has. A new key of configs/default.py goes to GAINED_KEYS, with the value
# that means what the code did before, and not here.
FIRST_KEYS = {
  "data": "name dir markup train_split box",
  "crop": "size stored_size face",
  "codec": "sigma window temperature encode decode amplitude",
  "model": "num_stacks features depth momentum pool",
  "augment": "rotation scale translation mirror colour",
  "siamese": "num_views reduce target_scale view_loss",
  "optimizer": "learning_rate drop_epochs drop_factor",
  "train": "batch_size epochs",
  "eval": "splits every_epochs batch_size norm",
  "checkpoint": "every_steps keep",
  "log": "every_steps",
}


def config(**changes):
  return tiny_dataset.config("somewhere", **changes)


def first_config() -> dict:
  """The default config as the first release saved it."""
  saved = to_json(config())
  for key in GAINED_KEYS:
    section, _, name = key.rpartition(".")
    del (saved[section] if section else saved)[name]
  return {section: values for section, values in saved.items() if values != {}}


# ---- Keys that runs were saved without


def test_every_key_is_as_old_as_the_first_run_or_says_what_was_done_before_it():
  saved = first_config()
  sections = {name: set(value) for name, value in saved.items() if isinstance(value, dict)}

  assert sections == {name: set(keys.split()) for name, keys in FIRST_KEYS.items()}
  assert saved.keys() - sections.keys() == {"seed", "head"}


def test_a_run_of_the_first_release_keeps_its_network_mark_up_and_dataset():
  setup = build.setup(from_json(first_config()))

  expected = build.setup(config(model__dtype="float32"))
  assert setup.network == expected.network
  assert setup.markup is expected.markup
  assert setup.eval_dataset == tiny_dataset.NAME
  assert setup.recipe(steps_per_epoch=1).frame == "crop"


def test_a_gained_key_differs_from_what_was_done_before_it_only():
  saved = first_config()

  assert differences(saved, to_json(config(model__dtype="float32"))) == {}
  now = to_json(config(model__dtype="float32", siamese__frame="view", model__remat=True))
  assert differences(saved, now) == {
    "siamese.frame": ("crop", "view"),
    "model.remat": (False, True),
  }


def test_a_key_that_was_saved_is_not_replaced():
  saved = to_json(config(siamese__frame="view", data__cache="host", eval__name="other"))
  assert complete(saved) == saved
  assert from_json(saved).siamese.frame == "view"


def test_completing_leaves_what_was_saved_alone():
  saved = first_config()
  complete(saved)
  assert saved == first_config()


def test_every_value_comes_back_with_the_type_that_flags_must_have():
  default = config()
  back = from_json(to_json(default))

  for section, values in default.items():
    if isinstance(values, ConfigDict):
      for name in values:
        assert back[section].get_type(name) is values.get_type(name), f"{section}.{name}"


# ---- Differences


def test_differences_have_dotted_names_and_both_values():
  saved = {"seed": 0, "codec": {"sigma": 1.5, "window": 5}, "old": 1}
  now = {"seed": 0, "codec": {"sigma": 2.0, "window": 5, "new": True}, "checkpoint": {"every": 9}}

  assert differences(saved, complete(now)) == {
    "codec.sigma": (1.5, 2.0),
    "codec.new": (None, True),
    "checkpoint": (None, {"every": 9}),
    "old": (1, None),
  }


@pytest.mark.parametrize(
  ("scale", "expected"),
  [((0.85, 1.15), {}), ((0.85, 1.2), {"a.scale": ([0.85, 1.15], (0.85, 1.2))})],
)
def test_tuples_that_json_made_lists_are_not_a_difference(scale, expected):
  saved = {"a": {"scale": [0.85, 1.15], "b": [[1], 2]}}
  now = {"a": {"scale": scale, "b": ((1,), 2)}}
  assert differences(saved, complete(now)) == expected
