"""--mode=eval on the command line: the run's own config, and what flags change in it."""

import json

import pytest
import tiny_dataset

from fal_jax import evaluate

DIFFERS = "with a config that differs from training"


@pytest.fixture
def run(run_main):
  """Runs the command line in this process."""
  return run_main


def test_evaluation_without_a_config_uses_the_run_s_own_and_prints_its_table(run, workdir):
  code, out, _ = run(workdir=str(workdir), mode="eval")
  assert code == 0
  assert out.startswith("test: 11 images, 0 without a ")
  assert out.splitlines()[1].startswith("  nme_ic ")
  assert DIFFERS not in out


@pytest.fixture
def evaluated_setups(workdir, monkeypatch):
  """The setups that splits are evaluated under; the network is not run."""
  setups = []
  summary = json.loads((workdir / "eval" / "test.json").read_text())

  def evaluate_split(setup, *_, **__):
    setups.append(setup)
    return summary

  monkeypatch.setattr(evaluate, "evaluate_split", evaluate_split)
  return setups


def test_keys_override_the_run_s_own_config_and_each_difference_is_printed(
  run, workdir, evaluated_setups
):
  flags = ["--config.codec.decode=calibrated", "--config.eval.splits=('test','train')"]

  code, out, err = run(*flags, workdir=str(workdir), mode="eval")

  assert code == 0, err
  assert [setup.codec.decoding for setup in evaluated_setups] == ["calibrated"] * 2
  lines = [line for line in out.splitlines() if DIFFERS in line]
  assert [line.split(f"{DIFFERS}: ")[1] for line in lines] == [
    "codec.decode: trained with local_softargmax, now calibrated"
  ]


def test_a_config_with_another_crop_is_printed_as_a_difference(
  run, folder, workdir, evaluated_setups
):
  config = tiny_dataset.config(folder, crop__face=50.0, log__every_steps=3)

  code, out, err = run(workdir=str(workdir), mode="eval", config=config)

  assert code == 0, err
  assert evaluated_setups[0].crop.face == 50.0
  lines = [line for line in out.splitlines() if DIFFERS in line]
  assert lines == [f"Note: evaluating {workdir} {DIFFERS}: crop.face: trained with 55.0, now 50.0"]


@pytest.mark.parametrize(
  ("flag", "named"),
  [
    ("--config.codec.decod=argmax", "No such key in the config"),
    ("--config.codec.decode=softmax", "softmax"),
    ("--config.model.name=resnet", "choose fan"),
  ],
)
def test_a_wrong_key_of_the_run_s_own_config_is_one_sentence(run, workdir, flag, named):
  code, _, err = run(flag, workdir=str(workdir), mode="eval")
  assert code == 2
  assert named in err
  assert len(err.splitlines()) == 1
