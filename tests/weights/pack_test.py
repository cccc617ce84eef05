"""Packing a run: what is written is what the library loads, and nothing is written by mistake."""

import dataclasses
import functools
import json
import os
import shutil
from unittest import mock

import jax
import numpy as np
import pytest
import runs
import tiny_dataset
from command_line import run_main
from quick_xla import QUICKLY
from safetensors.numpy import load_file

from fal_jax import build, evaluate, network, parallel, restore
from fal_jax.errors import InputError
from fal_jax.output.commit import git_commit
from fal_jax.weights import __main__ as command_line
from fal_jax.weights import pack, pretrained

NAME = "tiny-29"
TEXTS = {
  "summary": "29 landmarks of drawn discs",
  "licence": "Apache-2.0",
  "notice": "",
  "data": "12 drawn faces",
  "limits": "photographs",
  "command": "python -m fal_jax.main --config=configs/demo.py",
}


STEP = 12


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """Folder of a run, of what packing reads: it is not trained, and its results are made up."""
  workdir = tmp_path_factory.mktemp("run")
  return runs.save_untrained(workdir, tiny_dataset.config("somewhere/data"), step=STEP)


@pytest.fixture(scope="module")
def folder_of_weights(workdir, tmp_path_factory):
  """Where it has been packed; it must not be written to."""
  folder = tmp_path_factory.mktemp("weights")
  pack.run(workdir, NAME, folder=folder, texts=TEXTS)
  return folder


@pytest.fixture
def loaded(folder_of_weights, monkeypatch):
  monkeypatch.setattr(pretrained, "FOLDER", folder_of_weights)
  return pretrained.load(NAME)


def content(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- What is written


@pytest.mark.slow
def test_what_is_packed_predicts_as_the_run_to_the_precision_of_float16(workdir, loaded):
  setup = build.setup(loaded.config)
  variables, _ = restore.restore_variables(build.setup(restore.saved_config(workdir)), workdir)
  images = np.random.default_rng(0).uniform(size=(2, 64, 64, 3)).astype(np.float32)

  @functools.partial(jax.jit, compiler_options=QUICKLY)
  def heatmaps_of(variables):
    return network.predict(setup.network, variables, images).heatmaps

  def heatmaps(variables):
    return np.asarray(heatmaps_of(variables))

  ours, expected = heatmaps(loaded.variables), heatmaps(jax.device_get(variables))
  assert 0 < np.abs(ours - expected).max() < 2e-3 * np.abs(expected).max()
  jax.tree.map(
    np.testing.assert_array_equal, loaded.variables["batch_stats"], variables["batch_stats"]
  )


@pytest.mark.slow
def test_weights_are_float16_and_statistics_float32(folder_of_weights):
  arrays = load_file(folder_of_weights / f"{NAME}.safetensors")
  kinds = {(name.split("/")[0], array.dtype.name) for name, array in arrays.items()}
  assert kinds == {("params", "float16"), ("batch_stats", "float32")}


@pytest.mark.parametrize("variance", [1e-7, 3e-5, 1e5])
def test_variances_that_float16_would_spoil_are_kept(variance):
  variables = {"params": {"a": np.ones(2)}, "batch_stats": {"a": {"var": np.float32([variance])}}}
  assert pack.arrays(variables)["batch_stats/a/var"][0] == np.float32(variance)


def test_a_weight_beyond_float16_is_refused_by_name():
  with pytest.raises(InputError, match="params/a/kernel is not finite in float16"):
    pack.arrays({"params": {"a": {"kernel": np.float32([1.0, 7e4])}}})


def test_the_card_has_the_numbers_of_the_evaluation_and_the_texts(loaded):
  card = loaded.card

  assert {name: card[name] for name in TEXTS} == TEXTS
  assert (card["name"], card["step"]) == (NAME, STEP)
  assert card["results"] == {
    "test": {
      "dataset": tiny_dataset.NAME,
      "box": "landmarks",
      "num_images": 11,
      "nme_ic": 4.568,
      "nme_box": 3.211,
      "auc_ic_10": 54.568,
      "fr_ic_8": 9.091,
      "nme_ic_interval": [4.123, 5.0],
      "boxes": {
        "landmarks": {"nme_ic": 4.568, "catastrophic_ic": 0.0},
        "detector": {"nme_ic": 4.988, "catastrophic_ic": 0.0},
        "dataset": None,
      },
    }
  }
  assert card["training"] == "seed 0 alone, 12 steps of 8 images"
  assert card["git_commit"] == (git_commit() or "unknown")
  assert "local_softargmax" in card["measured"]
  assert "features 8, depth 1; input 64 px, heatmaps 16 px" in card["network"]
  assert pretrained.models() == {NAME: TEXTS["summary"]}


@pytest.mark.heavy
def test_a_trained_run_is_packed_with_its_evaluation(tmp_path_factory, tmp_path):
  session = tmp_path_factory.getbasetemp()
  trained = shutil.copytree(tiny_dataset.trained(session), tmp_path / "run")
  config = tiny_dataset.config(tiny_dataset.folder(session), eval__boxes=("detector",))
  with mock.patch.object(parallel, "make_predict", tiny_dataset.make_predict):
    evaluate.run(config, trained)
  pack.run(trained, NAME, folder=tmp_path, texts=TEXTS)

  evaluation = json.loads((trained / "eval" / "test.json").read_text())
  results = json.loads((tmp_path / f"{NAME}.json").read_text())["results"]["test"]
  assert results["nme_ic"] == pytest.approx(evaluation["nme_ic"], abs=5e-4)
  assert results["nme_ic_interval"] == pytest.approx(evaluation["intervals"]["nme_ic"], abs=5e-4)
  expected = evaluation["boxes"]["detector"]["nme_ic"]
  assert results["boxes"]["detector"]["nme_ic"] == pytest.approx(expected, abs=5e-4)


def test_the_config_is_that_of_the_run_without_its_folders(loaded, workdir, tmp_path):
  expected = restore.saved_config(workdir)
  assert expected.data.dir
  expected.data.dir = None
  assert loaded.config.to_dict() == expected.to_dict()

  expected.init_from = str(tmp_path / "runs" / "free_68")
  assert pack.without_folders(expected).init_from == "free_68"
  expected.init_from = "free-68"
  assert pack.without_folders(expected).init_from == "free-68"


def test_texts_are_kept_from_the_card_that_is_there(folder_of_weights, workdir, tmp_path):
  folder = shutil.copytree(folder_of_weights, tmp_path / "weights")
  pack.run(workdir, NAME, folder=folder, texts={"limits": "everything else"})

  card = json.loads((folder / f"{NAME}.json").read_text())
  assert {name: card[name] for name in TEXTS} == TEXTS | {"limits": "everything else"}


# ---- Mistakes


def remove_evaluation(workdir):
  shutil.rmtree(workdir / "eval")


def change_evaluation(**changes):
  def change(workdir):
    path = workdir / "eval" / "test.json"
    evaluation = json.loads(path.read_text())
    evaluation["provenance"] |= changes
    path.write_text(json.dumps(evaluation))

  return change


def cut_evaluation(workdir):
  path = workdir / "eval" / "test.json"
  path.write_text(path.read_text()[:-50])


@dataclasses.dataclass
class Mistake:
  """A way to be refused: what is done to the run, what is asked for, and what is said."""

  named: str
  spoil: object = lambda workdir: None
  name: str = NAME
  texts: object = dataclasses.field(default_factory=dict)


MISTAKES = [
  Mistake(r"no evaluation in .*/eval: evaluate it, .*--mode=eval", remove_evaluation),
  Mistake("measured with step 11 and the run has 12", change_evaluation(step=11)),
  Mistake("measured with crop .* and the run has", change_evaluation(crop={"face": 50.0})),
  Mistake("measured with codec .*dark.*move the file away", change_evaluation(codec="dark")),
  Mistake(r"test\.json is damaged: evaluate it", cut_evaluation),
  Mistake("no run in", lambda workdir: shutil.rmtree(workdir / "checkpoints")),
  Mistake("name=../x must be of letters, digits, - and _", name="../x"),
  Mistake("The card lacks its limits: give --limits=TEXT", texts={"limits": ""}),
  Mistake("The card lacks its summary: give --summary=TEXT", name="another"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.named[:30])
def test_a_mistake_is_one_sentence_and_nothing_is_written(
  folder_of_weights, workdir, tmp_path, mistake
):
  spoilt = shutil.copytree(workdir, tmp_path / "run")
  mistake.spoil(spoilt)
  before = content(folder_of_weights)

  with pytest.raises(InputError, match=mistake.named) as error:
    pack.run(spoilt, mistake.name, folder=folder_of_weights, texts=mistake.texts)

  assert "\n" not in str(error.value)
  assert content(folder_of_weights) == before


def test_more_than_four_megabytes_are_refused(folder_of_weights, workdir, monkeypatch):
  monkeypatch.setattr(pack, "MAX_BYTES", 10_000)
  with pytest.raises(InputError, match=r"take 0\.\d MB and a network of the package at most 0\.01"):
    pack.run(workdir, NAME, folder=folder_of_weights, texts={})


def test_a_failure_half_way_leaves_the_files_that_were_there(
  folder_of_weights, workdir, tmp_path, monkeypatch
):
  folder = shutil.copytree(folder_of_weights, tmp_path / "weights")
  before = content(folder)

  def fail(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "replace", fail)
  with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
    pack.run(workdir, NAME, folder=folder, texts={"limits": "new"})
  assert {name: content(folder)[name] for name in before} == before


# ---- The command


def test_the_command_packs_and_says_where(capsys, workdir, tmp_path):
  code, out, err = run_main(
    capsys, program=command_line, workdir=str(workdir), name=NAME, folder=str(tmp_path), **TEXTS
  )
  assert (code, err) == (0, "")
  assert f"Wrote {tmp_path}/{NAME}.safetensors (0.0" in out
  assert sorted(content(tmp_path)) == [f"{NAME}.json", f"{NAME}.safetensors"]


@pytest.mark.parametrize(
  ("missing", "named"), [("workdir", "No --workdir given"), ("name", "No --name given")]
)
def test_a_flag_that_is_missing_exits_with_2(capsys, missing, named):
  values = {"workdir": "runs/w300_68", "name": NAME} | {missing: None}
  code, out, err = run_main(capsys, program=command_line, **values)
  assert (code, out) == (2, "")
  assert named in err and err.count("\n") == 1
