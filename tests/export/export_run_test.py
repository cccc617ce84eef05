"""--mode=export: a run becomes a folder that is described, checked, and as good as the run."""

import hashlib
import json
import re

import exports
import jax
import numpy as np
import pytest
import tiny_dataset
import yaml

from fal_jax import build, evaluate, restore
from fal_jax.export import run as export
from fal_jax.export import verify
from fal_jax.export.options import Options
from fal_jax.predict import FaceAligner
from fal_jax.weights import exported

FILES = {
  "LICENSE",
  "README.md",
  "export.json",
  "model.onnx",
  "model.safetensors",
  "model.stablehlo",
  "use_onnx.py",
  "use_safetensors.py",
  "use_stablehlo.py",
}
pytest.importorskip("onnx")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported_run(tmp_path_factory):
  return exports.workdir(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  return exports.folder(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def about(directory):
  return json.loads((directory / "export.json").read_text())


def test_every_file_is_there_and_described_by_its_digest(directory, about):
  assert {path.name for path in directory.iterdir()} == FILES
  assert about["files"].keys() == FILES - {"export.json"}
  for name, entry in about["files"].items():
    content = (directory / name).read_bytes()
    assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_others_may_read_it_as_they_may_read_any_new_file(directory, tmp_path):
  (tmp_path / "new").mkdir()
  assert directory.stat().st_mode == (tmp_path / "new").stat().st_mode


def test_the_description_says_what_goes_in_and_comes_out(about):
  assert about["format"] == exported.FORMAT
  assert about["name"] == "exported_run"
  assert about["input"]["shape"] == ["batch", 64, 64, 3]
  assert about["outputs"]["landmarks"]["shape"] == ["batch", tiny_dataset.MARKUP, 2]
  assert about["crop"]["face"] == 55.0 and about["crop"]["size"] == 64
  assert about["codec"]["decode"] == "local_softargmax" and about["codec"]["stride"] == 4
  assert len(about["markup"]["names"]) == len(about["markup"]["flip"]) == tiny_dataset.MARKUP
  assert about["boxes"]["detectors"]["yunet"]["down"] == pytest.approx(0.146)
  assert about["origin"] == {"run": "exported_run", "step": exports.STEP}


def test_nothing_in_it_says_where_the_run_or_its_data_lay(directory):
  for name in ("README.md", "export.json", "LICENSE"):
    text = (directory / name).read_text()
    assert "secret" not in text and str(directory.parents[1]) not in text


def test_what_was_measured_of_the_run_stands_in_the_card(directory, about):
  assert about["card"]["results"]["test"]["nme_ic"] == 4.568
  card = (directory / "README.md").read_text()
  assert "4.57 (4.12 to 5.00)" in card and "local_softargmax" in card
  assert "--config.eval.name=tiny_faces --config.eval.splits=\"('test',)\"" in card
  front = yaml.safe_load(card.split("---")[1])
  assert front["license"] == "other" and front["license_name"] == "research-use-only"
  (result,) = front["model-index"][0]["results"]
  assert {"type": "nme_ic", "name": "NME_ic", "value": 4.568} in result["metrics"]


def test_the_weights_come_back_as_they_were(directory, exported_run):
  config = restore.saved_config(exported_run)
  variables, _ = restore.restore_variables(build.setup(config), exported_run)

  model = exported.load(directory)

  jax.tree.map(np.testing.assert_array_equal, model.variables, jax.device_get(variables))
  assert model.config.crop == config.crop and model.config.codec == config.codec


def test_an_exported_run_finds_the_landmarks_of_the_run(directory, exported_run, capsys):
  size = 90, 100
  points = tiny_dataset.face_landmarks(999, size)
  photo = tiny_dataset.draw_face(points, size)
  box = np.concatenate([points.min(0), points.max(0)])[None]

  ours = FaceAligner.from_exported(directory)(photo, box)
  theirs = FaceAligner.from_checkpoint(exported_run)(photo, box)

  np.testing.assert_array_equal(ours.landmarks, theirs.landmarks)
  assert "research use only" in capsys.readouterr().out


def test_an_export_is_evaluated_in_place_of_a_run(directory, folder, tmp_path):
  overrides = (f"--config.data.dir={folder}",)
  opened = evaluate.open_run(None, tmp_path, weights=str(directory), overrides=overrides)

  assert opened.step is None and list(opened.sources) == ["test"]
  jax.tree.map(np.testing.assert_array_equal, opened.variables, exported.load(directory).variables)


def test_another_decoder_and_texts_of_one_s_own_replace_an_earlier_export(
  directory, tmp_path, monkeypatch
):
  out = tmp_path / "again"
  monkeypatch.setattr(verify, "differences", lambda *_: {})
  texts = {"licence": "Apache-2.0", "notice": "", "data": "drawn discs"}
  for decode in ("dark", "argmax"):
    export.run(
      Options(
        weights=str(directory),
        out=out,
        formats=("safetensors",),
        name="mine",
        texts=texts,
        overrides=(f"--config.codec.decode={decode}",),
      )
    )

  about = exported.read(out)
  assert sorted(path.name for path in out.iterdir()) == [
    "LICENSE",
    "README.md",
    "export.json",
    "model.safetensors",
    "use_safetensors.py",
  ]
  assert [path.name for path in tmp_path.iterdir()] == ["again"]
  assert (about["name"], about["licence"], about["card"]["data"]) == (
    "mine",
    "Apache-2.0",
    "drawn discs",
  )
  assert about["codec"]["decode"] == "argmax"
  assert re.search(r"Exported with codec\.decode=argmax, not measured", about["card"]["measured"])
  assert "license: apache-2.0" in (out / "README.md").read_text()
