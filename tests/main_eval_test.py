"""--mode=eval on the command line: the run's own config, and what flags change in it."""

import json
import shutil
from unittest import mock

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


@pytest.mark.slow
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


def test_a_network_that_comes_with_the_package_is_evaluated_by_its_name(
  run, evaluated_setups, tmp_path, monkeypatch
):
  monkeypatch.setattr(evaluate, "open_splits", lambda setup: {"val": []})

  code, out, err = run(workdir=str(tmp_path), mode="eval", weights="w300-68")

  assert code == 0, err
  assert "research use only" in out.splitlines()[0]
  (setup,) = evaluated_setups
  assert (setup.crop.size, setup.config.model.epsilon) == (128, 1e-3)


@pytest.fixture
def places(folder, workdir, tmp_path):
  """Values of --workdir and --config."""
  another = {"workdir": str(tmp_path), "config": tiny_dataset.config(folder)}
  return {
    "nowhere": {"workdir": str(tmp_path)},
    "a run": {"workdir": str(workdir)},
    "another network": another,
  }


@pytest.mark.parametrize(
  ("name", "place", "named"),
  [
    ("w300", "nowhere", "choose one of free-68, w300-68"),
    ("free-68", "a run", "holds a run, whose results"),
    ("free-68", "another network", "describes another network than free-68"),
  ],
)
def test_a_network_that_cannot_be_evaluated_here_is_refused_in_one_sentence(
  run, places, name, place, named
):
  with mock.patch.object(evaluate, "open_splits", lambda setup: {"val": []}):
    code, _, err = run(mode="eval", weights=name, **places[place])

  assert code == 2
  assert named in err
  assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_run_that_cannot_be_written_to_is_evaluated_into_another_folder(
  run, workdir, evaluated_setups, tmp_path
):
  """Field case 14: a mounted model is read-only, which root is not refused by, so a file is."""
  shutil.copytree(workdir, tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "eval")
  (tmp_path / "run" / "eval").write_text("in the way")

  code, _, err = run(workdir=str(tmp_path / "run"), mode="eval")
  assert code == 2
  assert "Nothing can be written to --workdir=" in err
  assert err.endswith("name another folder with --out.\n")

  out = tmp_path / "results"
  assert run(workdir=str(tmp_path / "run"), mode="eval", out=str(out))[0] == 0
  assert out.is_dir()
