"""What a run has saved: its config with types that flags can override, and its weights."""

import json

import jax
import numpy as np
import pytest
import tiny_dataset
from flax.traverse_util import flatten_dict

from fal_jax import build, config_json, flag_parser, restore, steps
from fal_jax.checkpoint import Checkpoints
from fal_jax.errors import InputError
from fal_jax.weights import pretrained

LAST = 12  # steps of the run


@pytest.fixture(scope="module")
def saved(workdir):
  return restore.saved_config(workdir)


def test_the_saved_config_is_the_one_of_the_run(saved, folder):
  assert saved.to_dict() == tiny_dataset.config(folder).to_dict()


def test_lists_are_tuples_again_and_what_was_none_takes_a_string(saved):
  assert saved.augment.scale == (0.85, 1.15)
  assert saved.eval.splits == ("test",)
  assert saved.eval.name is None

  changed = flag_parser.override(
    saved,
    [
      "--config.eval.name=wflw",
      "--config.eval.splits=('test','train')",
      "--config.augment.scale=(0.9,1.1)",
      "--config.codec.sigma=2",
      "--config.seed=3",
    ],
  )

  assert changed.eval.to_dict() | {"name": "wflw", "splits": ("test", "train")} == (
    changed.eval.to_dict()
  )
  assert changed.augment.scale == (0.9, 1.1)
  assert (changed.codec.sigma, changed.seed) == (2.0, 3)
  assert saved.eval.name is None, "the saved one stays as it is"
  build.setup(changed)


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--config.codec.decod=argmax", "No such key in the config"),
    ("--config.train.batch_size=many", "--config.train.batch_size=many"),
    ("--config.seed.x=1", "seed"),
  ],
)
def test_a_wrong_flag_is_one_sentence(saved, flag, message):
  with pytest.raises(InputError, match=message) as error:
    flag_parser.override(saved, [flag])
  assert len(str(error.value).splitlines()) == 1


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
  (tmp_path / "checkpoints").mkdir()
  with pytest.raises(InputError, match="train first, or give the --workdir of a run"):
    restore.saved_config(tmp_path)


# ---- Weights


def test_the_newest_weights_are_restored_on_every_device(saved, workdir):
  variables, step = restore.restore_variables(build.setup(saved), workdir)

  assert step == LAST
  assert variables.keys() == {"params", "batch_stats"}
  for leaf in jax.tree.leaves(variables):
    assert len(leaf.sharding.device_set) == jax.device_count()
    assert np.isfinite(leaf).all()


def test_weights_of_another_network_are_refused(saved, workdir):
  other = flag_parser.override(saved, ["--config.model.features=16"])
  with pytest.raises(InputError, match=r"network: params/\S+ has shape"):
    restore.restore_variables(build.setup(other), workdir)


# ---- Differences


def test_what_changes_an_evaluation_is_named(saved):
  changed = flag_parser.override(
    saved, ["--config.codec.decode=calibrated", "--config.crop.face=50"]
  )
  assert restore.evaluation_differences(saved, changed) == [
    "codec.decode: trained with local_softargmax, now calibrated",
    "crop.face: trained with 55.0, now 50.0",
  ]


def test_what_changes_nothing_about_an_evaluation_is_not_named(saved):
  changed = flag_parser.override(
    saved,
    ["--config.data.dir=elsewhere", "--config.eval.name=wflw", "--config.optimizer.drop_factor=1"],
  )
  assert restore.evaluation_differences(saved, changed) == []


def test_a_key_that_the_run_is_too_old_to_have_means_what_was_done_then(folder, tmp_path):
  before = config_json.to_json(tiny_dataset.config(folder))
  del before["siamese"]["frame"], before["model"]["dtype"]
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, {"a": np.zeros(1)}, {"config": before})
  checkpoints.close()

  saved = restore.saved_config(tmp_path)

  assert (saved.siamese.frame, saved.model.dtype) == ("crop", "float32")
  now = tiny_dataset.config(folder, model__dtype="bfloat16")
  assert restore.evaluation_differences(saved, now) == [
    "model.dtype: trained with float32, now bfloat16"
  ]


# ---- Starting from other weights


def fresh_variables(config):
  recipe = build.setup(config).recipe(steps_per_epoch=1)
  return jax.jit(lambda: steps.init_state(jax.random.key(5, impl="rbg"), recipe))().variables


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another(folder, workdir, capsys):
  config = tiny_dataset.config(folder, init_from=str(workdir))
  expected, _ = restore.restore_variables(build.setup(restore.saved_config(workdir)), workdir)

  variables = restore.starting_variables(config, fresh_variables(config))

  jax.tree.map(np.testing.assert_array_equal, variables, expected)
  assert capsys.readouterr().out == f"Starting from the weights of {workdir}\n"


@pytest.mark.slow
def test_another_number_of_landmarks_keeps_all_but_the_last_layer_and_says_so(
  folder, workdir, capsys
):
  config = tiny_dataset.config(folder, init_from=str(workdir), data__markup=98)
  expected, _ = restore.restore_variables(build.setup(restore.saved_config(workdir)), workdir)
  fresh = fresh_variables(config)

  variables = restore.starting_variables(config, fresh)

  for path, array in flatten_dict(variables).items():
    source = fresh if path[:2] == ("params", "l0") else expected
    np.testing.assert_array_equal(array, flatten_dict(source)[path])
  out = capsys.readouterr().out
  assert "fresh, for 98 landmarks: params/l0/bias, params/l0/kernel" in out
  assert "data.markup: trained with" in out


@pytest.mark.slow
def test_a_shipped_network_can_be_started_from_and_its_licence_is_said(folder, capsys):
  config = pretrained.load("w300-68").config
  config.init_from = "w300-68"

  variables = restore.starting_variables(config, fresh_variables(config))

  expected = pretrained.load("w300-68").variables
  jax.tree.map(np.testing.assert_array_equal, variables, expected)
  assert "research use only" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model__features": 16}, r"is another network: .* set config\.model as it was trained"),
    ({"model__num_stacks": 2}, r"is another network: .* and None there"),
  ],
)
def test_weights_of_another_network_are_no_start(folder, workdir, changes, message):
  config = tiny_dataset.config(folder, init_from=str(workdir), **changes)
  with pytest.raises(InputError, match=message) as error:
    restore.starting_variables(config, fresh_variables(config))
  assert len(str(error.value).splitlines()) == 1


def test_a_name_that_is_neither_a_run_nor_shipped_is_refused(folder, tmp_path):
  config = tiny_dataset.config(folder, init_from=str(tmp_path / "nothing"))
  with pytest.raises(InputError, match="There is no run in"):
    restore.starting_variables(config, {})


@pytest.mark.slow
def test_a_run_of_no_steps_from_other_weights_predicts_as_they_do(folder, workdir, tmp_path):
  config = tiny_dataset.config(folder, init_from=str(workdir), train__epochs=0.0)
  expected = json.loads((workdir / "eval" / "test.json").read_text())

  summaries = tiny_dataset.run_without_figures(config, tmp_path / "run")

  assert summaries["test"]["nme_box"] == pytest.approx(expected["nme_box"], rel=1e-5)
