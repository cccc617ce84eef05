"""Mistakes with --mode=export: one sentence that says what to do, and nothing is written."""

import importlib.util
import json
import shutil

import exports
import pytest

from fal_jax.export import run as export
from fal_jax.export import source, stablehlo, verify


@pytest.fixture(scope="module")
def exported_run(tmp_path_factory):
  return exports.workdir(tmp_path_factory.getbasetemp())


@pytest.fixture
def failing(run_main, tmp_path, monkeypatch):
  """Runs --mode=export in an empty folder; returns the sentence of its failure."""
  monkeypatch.chdir(tmp_path)

  def run(*overrides, **flags):
    before = sorted(tmp_path.rglob("*"))
    code, _, err = run_main(*overrides, mode="export", **flags)
    assert code == 2, err
    assert err.count("\n") == 1 and "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before
    return err

  return run


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    ({"out": "out"}, "No network named: give --weights=NAME"),
    ({"weights": "free-68"}, "No --out given"),
    ({"weights": "free-68", "workdir": "runs/x", "out": "out"}, "both name the network"),
    ({"weights": "free-86", "out": "out"}, "neither a network that has a name (free-68, w300-68)"),
    ({"weights": "free-68", "out": "out", "formats": ["tflite"]}, "--formats=tflite: choose from"),
    ({"weights": "free-68", "out": "out", "formats": []}, "choose from stablehlo,onnx,safetensors"),
    ({"weights": "free-68", "out": "out", "web": "out"}, "--web=out lies in --out=out"),
    ({"weights": "free-68", "out": "out", "web": "out/../out/site"}, "lies in --out=out"),
    ({"weights": "free-68", "out": "out", "decode": "best"}, "codec.decode is 'best'"),
  ],
)
def test_flags_that_make_no_sense_are_answered_in_one_sentence(failing, flags, sentence):
  assert sentence in failing(**flags)


def test_only_the_decoder_may_be_changed(failing):
  err = failing("--config.model.depth=3", weights="free-68", out="out")
  assert "--config.model.depth=3 cannot be changed" in err


def test_a_folder_without_a_checkpoint_is_not_a_run(failing, tmp_path):
  (tmp_path / "empty").mkdir()
  assert "There is no" in failing(weights="empty", out="out")


def test_a_file_is_not_a_folder_for_an_export(failing, tmp_path):
  (tmp_path / "file").write_text("mine")
  assert "is a file: name another" in failing(weights="free-68", out="file")
  assert "is a file: name another" in failing(weights="free-68", out="file/below")


def test_the_folder_of_the_run_is_not_for_its_export(failing, exported_run):
  err = failing(weights=str(exported_run), out=str(exported_run / "export"))
  assert "lies in the folder of the network" in err


def test_the_names_of_the_package_s_own_networks_are_not_for_exports(
  failing, tmp_path, monkeypatch
):
  monkeypatch.setenv("FAL_JAX_HOME", str(tmp_path / "home"))
  err = failing(weights="w300-68", out="home/models/free-68")
  assert "--out=home/models/free-68 would not be found by its name" in err


@pytest.mark.parametrize("beside", [False, True])
def test_files_that_are_not_of_an_export_are_left_alone(failing, tmp_path, beside):
  (tmp_path / "out").mkdir()
  (tmp_path / "out" / "thesis.tex").write_text("years of work")
  if beside:
    (tmp_path / "out" / "export.json").write_text(
      json.dumps(
        {
          "format": 1,
          **dict.fromkeys(("name", "summary", "licence", "notice"), ""),
          "config": {},
          "files": {},
        }
      )
    )
  err = failing(weights="free-68", out="out")
  assert "holds files that are not of an export" in err and "thesis.tex" in err


def test_without_the_package_onnx_nothing_is_written_and_the_extra_is_named(failing, monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else find(name, *rest)
  )
  err = failing(weights="free-68", out="out")
  assert "pip install 'fal_jax[export]'" in err and "nothing was exported" in err
  assert "--formats=stablehlo,safetensors" in err


def test_a_file_that_computes_something_else_is_not_exported(failing, monkeypatch):
  def moved(path, images):
    landmarks, scores = expected
    return landmarks + 0.002, scores

  expected = exports.IMAGES[:1, :29, :2, 0].astype(float), exports.IMAGES[:1, :29, 0, 0] / 255
  monkeypatch.setattr(stablehlo, "write", lambda *_: b"")
  monkeypatch.setattr(verify, "_RUNS", {"model.stablehlo": moved})
  monkeypatch.setattr(verify, "_native", lambda *_: (expected, expected[1] >= 0))

  err = failing(weights="free-68", out="out", formats=["stablehlo"])

  assert "model.stablehlo differs from the library by 0.002 px" in err
  assert "nothing was exported" in err


def test_a_full_disk_is_named_and_leaves_the_earlier_export(failing, tmp_path, monkeypatch):
  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(export, "_fingerprint", full)
  monkeypatch.setattr(verify, "differences", lambda *_: {})
  err = failing(weights="free-68", out="out", formats=["safetensors"])
  assert "does not fit on the disk of --out=out (No space left on device): make room" in err


@pytest.mark.slow
def test_evaluations_of_another_checkpoint_are_left_out_and_named(
  exported_run, tmp_path, capsys, monkeypatch
):
  run = shutil.copytree(exported_run, tmp_path / "run")
  evaluation = json.loads((run / "eval" / "test.json").read_text())
  evaluation["provenance"]["step"] = 5
  (run / "eval" / "earlier.json").write_text(json.dumps(evaluation))
  (run / "eval" / "broken.json").write_text("{")

  model = source.load(export.Options(weights=str(run), out=tmp_path / "out"))

  assert list(model.card["card"]["results"]) == ["test"]
  out = capsys.readouterr().out
  assert "eval/earlier.json was measured with step 5 and the run has 12" in out
  assert "eval/broken.json is damaged" in out
