"""Every file in configs/: loads, is locked, describes a run that can start, and says how."""

import ast
import importlib
import re

import custom_files
import pytest
import tiny_dataset
from ml_collections import ConfigDict

from fal_jax import build
from fal_jax.errors import InputError

NAMES = sorted({path.stem for path in (tiny_dataset.ROOT / "configs").glob("*.py")} - {"__init__"})


@pytest.fixture
def load(monkeypatch, tmp_path):
  """As `python -m fal_jax.main` finds them, from the repository's folder.

  Those that are about a file or a run get one.
  """
  monkeypatch.syspath_prepend(str(tiny_dataset.ROOT))
  (tmp_path / "markup.yaml").write_text(custom_files.MARKUP)
  saved = tiny_dataset.config(tmp_path, train__epochs=50.0)
  (tmp_path / "config.json").write_text(saved.to_json_best_effort())
  about = {
    "custom": [str(tmp_path / "markup.yaml")],
    "custom_small": [str(tmp_path / "markup.yaml")],
    "saved": [str(tmp_path)],
  }
  return lambda name: importlib.import_module(f"configs.{name}").get_config(*about.get(name, []))


def flat(config: ConfigDict) -> dict:
  return {
    f"{section}.{key}": value
    for section, values in config.to_dict().items()
    for key, value in (values.items() if isinstance(values, dict) else [("", values)])
  }


@pytest.fixture(params=NAMES)
def name(request):
  return request.param


def test_it_loads_locked_and_anew_each_time(load, name):
  config = load(name)
  assert config.is_locked and config is not load(name)
  with pytest.raises((AttributeError, KeyError)):
    config.model.featurs = 3


def test_it_differs_from_the_default_in_values_only(load, name):
  ours, default = flat(load(name)), flat(load("default"))
  assert ours.keys() == default.keys()
  for key, value in default.items():
    assert value is None or type(ours[key]) is type(value), key


def test_a_run_can_start_from_it(load, name):
  config = load(name)
  if name == "default":  # names no dataset; the command in its docstring does
    with config.unlocked():
      config.data.name = "wflw"
  build.setup(config, device_count=1)
  build.setup(config, device_count=8)
  build.setup(config).recipe(steps_per_epoch=100)
  last_drop = max(config.optimizer.drop_epochs, default=0)

  assert config.train.epochs > last_drop, "the last drop comes after the end"


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"head": "regression"}, "correction_static"),
    ({"head": "correction_dynamic"}, "codec.decode=argmax"),
    ({"head": "global_softargmax"}, "codec.decode=global_softargmax"),
    ({"siamese.view_loss": -1.0}, "view_loss"),
    ({"siamese.target_scale": 0.0}, "target_scale"),
    ({"siamese.window_loss": -1.0}, "window_loss"),
    ({"augment.colour_mode": "hue"}, "channel_gain, photometric"),
    ({"siamese.reduce": "max"}, "sum, mean"),
    ({"siamese.frame": "image"}, "siamese.frame is 'image'; choose one of crop, view"),
    ({"siamese.frame": "view", "siamese.view_loss": 0.5}, "siamese.view_loss=0"),
  ],
)
def test_a_method_that_does_not_fit_together_is_refused_with_what_to_set(load, changes, named):
  config = load("demo").unlock()
  config.update_from_flattened_dict(changes)
  with pytest.raises(InputError, match=named) as caught:
    build.setup(config, device_count=1)
  assert len(str(caught.value).splitlines()) == 1


def test_its_docstring_holds_the_command_that_runs_it(name):
  folder = tiny_dataset.ROOT / "configs"
  text = ast.get_docstring(ast.parse((folder / f"{name}.py").read_text())) or ""
  on_one_line = re.sub(r"\\\n\s*", "", text)

  pattern = r"python -m fal_jax\.main --config=configs/(\w+)\.py(?::\S+)? (?:.* )?--workdir="
  command = re.search(pattern, on_one_line)

  assert command
  assert (folder / f"{command[1]}.py").is_file()
  assert command[1] == name or name == "default"
