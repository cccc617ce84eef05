"""configs/ablations/: each row changes what its name says, and tables hold the paper's numbers."""

import ast
import importlib

import custom_files
import pytest
import tiny_dataset
from ml_collections import ConfigDict

from fal_jax import build, config_json
from fal_jax.errors import InputError

FOLDER = tiny_dataset.ROOT / "configs" / "ablations"
CONFIGS = sorted({path.stem for path in FOLDER.parent.glob("*.py")} - {"__init__"})
WITHOUT_DATASET = {"default", "custom", "custom_small", "saved"}
# Recipes of our own: they have what rows change (the decoder, the mean of the views), or a loss of
# each view, which the rows that compare heatmaps in the view's frame refuse.
NO_BASE = {"w300_best", "free_68", "w300_68"}
BASES = [name for name in CONFIGS if name not in WITHOUT_DATASET | NO_BASE]
BEFORE_SIAMESE = {"siamese.num_views": 1, "siamese.frame": "view"}
BASELINE = {**BEFORE_SIAMESE, "codec.encode": "rounded", "codec.decode": "quarter_offset"}
MOBILE = {"model.name": "mobile_unet", "model.depth": 3, "model.num_stacks": 1}
# What a row changes of its base, which is the method itself.
ROWS = {
  "baseline": BASELINE,
  "baseline_argmax": {**BASELINE, "codec.decode": "argmax"},
  "baseline_local": {**BEFORE_SIAMESE, "codec.encode": "rounded"},
  "encoding": {**BEFORE_SIAMESE, "codec.decode": "quarter_offset"},
  "encoding_decoding": BEFORE_SIAMESE,
  "siamese": {},
  "calibrated": {"codec.decode": "calibrated"},
  "correction_static": {**BASELINE, "head": "correction_static", "codec.decode": "argmax"},
  "correction_dynamic": {**BASELINE, "head": "correction_dynamic", "codec.decode": "argmax"},
  "global_softargmax": {
    **BEFORE_SIAMESE,
    "head": "global_softargmax",
    "codec.decode": "global_softargmax",
  },
  "global_softargmax_prior": {
    **BEFORE_SIAMESE,
    "head": "global_softargmax_prior",
    "codec.decode": "global_softargmax",
  },
  "window_none": {"codec.decode": "quarter_offset"},
  "window_none_argmax": {"codec.decode": "argmax"},
  "window_3": {"codec.window": 3},
  "window_7": {"codec.window": 7},
  "pulled_back_single": {"siamese.num_views": 1},
  "siamese_mean": {"siamese.reduce": "mean"},
  "siamese_sum": {"siamese.target_scale": 1.0},
  "siamese_view_loss": {"siamese.view_loss": 1.0},
  "views_3": {"siamese.num_views": 3},
  "views_apart": {"siamese.frame": "view"},
  "window_loss": {"siamese.window_loss": 1.0},
  "channel_gain": {"augment.colour_mode": "channel_gain"},
  "fan_96px": {
    "model.name": "fan",
    "model.features": 64,
    "model.depth": 2,
    "crop.size": 96,
    "crop.stored_size": 156,
    "crop.face": 82.5,
  },
  "fan_2stacks": {"model.name": "fan", "model.features": 64, "model.num_stacks": 2},
  "fan_48": {"model.name": "fan", "model.features": 48},
  "fan_32": {"model.name": "fan", "model.features": 32},
  "mobile_48": {**MOBILE, "model.features": 48, "model.expansion": 3},
  "mobile_24": {**MOBILE, "model.features": 24},
  "mobile_16": {**MOBILE, "model.features": 16},
}
RECIPE = {
  "codec.decode": "calibrated",
  "model.epsilon": 1e-3,
  "train.frozen": 0.25,
  "optimizer.schedule": "cosine",
  "optimizer.warmup": 0.05,
  "siamese.reduce": "mean",
  "siamese.view_loss": 0.5,
  "augment.translation": 0.06,
  "corruption.flat_background": 0.05,
  "corruption.gain": 0.08,
  "corruption.gamma": 0.5,
  "corruption.clipping": 0.1,
  "corruption.grey": 0.05,
  "corruption.blur": 0.2,
  "corruption.low_resolution": 0.15,
  "corruption.noise": 0.2,
  "corruption.occluder": 0.2,
  "eval.stress": True,
}
# Row -> the sections or keys in which it is as its base again.
WITHOUT = {
  "recipe_whole": (),
  "recipe_epsilon": ("model.epsilon",),
  "recipe_frozen": ("train.frozen",),
  "recipe_schedule": ("optimizer.",),
  "recipe_sum": ("siamese.reduce",),
  "recipe_view_loss": ("siamese.view_loss",),
  "recipe_corruption": ("corruption.",),
  "recipe_translation": ("augment.translation",),
  "recipe_decoder": ("codec.decode",),
}
ROWS |= {
  row: {key: value for key, value in RECIPE.items() if not key.startswith(changed or ("-",))}
  for row, changed in WITHOUT.items()
}
ROWS["recipe_epsilon"]["model.epsilon"] = 1e-5  # whatever the base has
ROWS["recipe_frozen"]["train.frozen"] = 0.0
# Files and numbers as the paper prints them, ours without a number.
TABLES = {
  "table1": {
    "baseline": 2.32,
    "baseline_argmax": None,
    "baseline_local": None,
    "correction_static": 2.27,
    "correction_dynamic": 2.30,
    "global_softargmax": 3.19,
    "global_softargmax_prior": None,
    "encoding_decoding": 2.04,
  },
  "table2": {
    "baseline": 4.20,
    "encoding": 4.00,
    "encoding_decoding": 3.90,
    "siamese": 3.72,
    "calibrated": None,
  },
  "table3": {
    "window_none": 2.21,
    "window_3": 2.06,
    "siamese": 2.04,
    "window_7": 2.07,
    "window_loss": None,
    "window_none_argmax": None,
    "calibrated": None,
  },
  "eq6": {
    "siamese": None,
    "siamese_mean": None,
    "siamese_sum": None,
    "pulled_back_single": None,
  },
  "defaults": {"siamese": None, "siamese_mean": None, "channel_gain": None},
  "consistency": {
    "encoding_decoding": None,
    "pulled_back_single": None,
    "views_apart": None,
    "siamese": None,
    "siamese_view_loss": None,
    "siamese_mean": None,
    "views_3": None,
  },
  "jitter": dict.fromkeys(
    [
      "encoding_decoding",
      "views_apart",
      "siamese",
      "siamese_view_loss",
      "calibrated",
      "window_none_argmax",
    ]
  ),
  "recipe": dict.fromkeys(WITHOUT),
  "family": dict.fromkeys(
    [
      "siamese",
      "fan_96px",
      "fan_2stacks",
      "fan_48",
      "fan_32",
      "mobile_48",
      "mobile_24",
      "mobile_16",
    ]
  ),
}


@pytest.fixture
def load(monkeypatch):
  """As the command line finds them, from the repository's folder."""
  monkeypatch.syspath_prepend(str(tiny_dataset.ROOT))
  return lambda name, *base: importlib.import_module(f"configs.{name}").get_config(*base)


def value_at(config: ConfigDict, key: str) -> object:
  for name in key.split("."):
    config = config[name]
  return config


def test_every_file_is_one_of_these_rows_and_tables():
  assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == ROWS.keys() | TABLES.keys()


@pytest.mark.parametrize("base", BASES)
def test_a_row_differs_from_its_base_in_what_it_is_about(load, base):
  plain = load(base)
  for row, changes in ROWS.items():
    config = load(f"ablations.{row}", base)
    differences = config_json.differences(plain.to_dict(), config.to_dict())
    changed = {key: value for key, value in changes.items() if value_at(plain, key) != value}
    assert {key: now for key, (_, now) in differences.items()} == changed, row
    assert config.is_locked, row
    if base == "w300_mobile" and row.startswith("correction"):
      with pytest.raises(InputError, match="reads features that only FAN has"):
        build.setup(config)
      continue
    build.setup(config, device_count=1).recipe(steps_per_epoch=100)


def test_the_default_base_is_the_demo(load):
  assert [row for row in ROWS if load(f"ablations.{row}") != load(f"ablations.{row}", "demo")] == []


@pytest.mark.parametrize("base", ["", "nope", "__init__", "ablations", "demo.py"])
def test_an_unknown_base_is_refused_with_the_known_ones(load, base):
  with pytest.raises(InputError, match=f"one of {', '.join(CONFIGS)}"):
    load("ablations.siamese", base)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_lists_rows_with_the_papers_numbers(load, name):
  table = load(f"ablations.{name}", "wflw")

  assert isinstance(table, ConfigDict)
  assert table.base == "wflw"
  assert table.against in ("previous", "first")
  assert {row: paper for row, _, paper in table.rows} == TABLES[name]
  assert len({label for _, label, _ in table.rows}) == len(table.rows)
  assert table.metric == ("nme_box" if name in ("table1", "table3") else "nme_ic")

  measured_on = {"table1": "300W test", "table2": "WFLW", "table3": "300W test"}
  assert table.paper == measured_on.get(name, "")


def test_docstrings_hold_the_command_that_runs_the_file():
  def command(name):
    flag = "main --config" if name in ROWS else "ablation --table"
    return f"python -m fal_jax.{flag}=configs/ablations/{name}.py:demo "

  texts = {
    name: ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text()))
    for name in [*ROWS, *TABLES]
  }
  assert [name for name, text in texts.items() if command(name) not in (text or "")] == []


def test_a_custom_dataset_can_be_the_base(load, tmp_path):
  (tmp_path / "markup.yaml").write_text(custom_files.MARKUP)
  config = load("ablations.encoding", f"custom:{tmp_path / 'markup.yaml'}")
  base = load("custom", str(tmp_path / "markup.yaml"))
  differences = config_json.differences(base.to_dict(), config.to_dict())
  assert {key: now for key, (_, now) in differences.items()} == ROWS["encoding"]
