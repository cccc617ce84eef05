"""Exports read back: whole or refused with the name of the file, and found by name in the home."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
import tiny_dataset
from imported import modules_after
from safetensors.numpy import load, save

import fal_jax
from fal_jax import config_json, restore
from fal_jax.errors import InputError
from fal_jax.export import arrays
from fal_jax.output import seal
from fal_jax.photos import network
from fal_jax.photos.options import Options
from fal_jax.predict import FaceAligner
from fal_jax.weights import exported, named

ABOUT = {
  "format": 1,
  "name": "tiny",
  "summary": "29 drawn discs",
  "licence": "ours",
  "notice": "discs only.",
}


@pytest.fixture
def directory(tmp_path):
  """What an export consists of for its reader."""
  directory = tmp_path / "models" / "tiny"
  directory.mkdir(parents=True)
  content = save({"params/a/kernel": np.float16([1, 2]), "batch_stats/a/var": np.float32([1e-9])})
  (directory / "model.safetensors").write_bytes(content)
  entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
  config = config_json.to_json(tiny_dataset.config("nowhere"))
  about = {**ABOUT, "config": config, "files": {"model.safetensors": entry}}
  (directory / "export.json").write_text(json.dumps(seal.sealed(about)))
  return directory


def test_arrays_come_back_in_float32_with_config_and_notice(directory):
  model = exported.load(directory)
  np.testing.assert_array_equal(model.variables["params"]["a"]["kernel"], np.float32([1, 2]))
  assert model.variables["params"]["a"]["kernel"].dtype == np.float32
  assert model.config.crop.size == 64 and model.notice == "discs only."


def test_only_what_float16_holds_exactly_is_written_as_float16():
  exact, other = np.float32([0.5, -65504]), np.float32([0.1, 1e9])
  variables = {"params": {"a": {"exact": exact, "other": other}}}

  read = load(arrays.write(variables))

  assert read["params/a/exact"].dtype == np.float16
  np.testing.assert_array_equal(read["params/a/other"], other)


def damage(directory, name, content):
  path = directory / name
  path.unlink() if content is None else path.write_bytes(content)


@pytest.mark.parametrize(
  ("name", "content", "sentence"),
  [
    ("model.safetensors", b"", r"model.safetensors is damaged or another file .* copy the whole"),
    ("model.safetensors", None, r"model.safetensors cannot be read \(No such file"),
    ("export.json", None, "is not an export, there is no export.json in it"),
    ("export.json", b'{"format": 1,', "export.json is damaged, it is not JSON"),
    ("export.json", b"[1]", "export.json is of something else"),
    ("export.json", b'{"format": 2}', "has format 2 and this fal_jax reads format 1: use"),
    ("export.json", b'{"format": 1}', "export.json is damaged, it has no name"),
    ("export.json", b"\xff\xfe", "is not JSON"),
  ],
)
def test_what_is_damaged_or_foreign_is_named_with_what_to_do(directory, name, content, sentence):
  damage(directory, name, content)
  with pytest.raises(InputError, match=sentence):
    exported.load(directory)


def test_an_edited_config_is_refused_and_one_without_a_seal_is_read_with_a_note(directory, capsys):
  path = directory / "export.json"
  sealed = path.read_text()
  exported.load(directory)
  assert capsys.readouterr().out == ""

  content = json.loads(sealed)
  del content[seal.KEY]
  path.write_text(json.dumps(content))
  exported.load(directory)
  assert "Note: " in capsys.readouterr().out

  assert '"face": 55.0' in sealed
  path.write_text(sealed.replace('"face": 55.0', '"face": 57.0'))
  with pytest.raises(InputError, match="was edited, its seal does not fit it: copy the whole"):
    FaceAligner.from_exported(directory)


def test_one_flipped_bit_is_found(directory):
  content = bytearray((directory / "model.safetensors").read_bytes())
  content[-1] ^= 1
  damage(directory, "model.safetensors", bytes(content))
  with pytest.raises(InputError, match="SHA-256"):
    FaceAligner.from_exported(directory)


def test_a_file_or_nothing_is_not_an_export(tmp_path):
  (tmp_path / "file").write_text("")
  for path, what in ((tmp_path / "file", "is a file"), (tmp_path / "none", "does not exist")):
    with pytest.raises(InputError, match=what):
      exported.load(path)


def test_exports_in_the_home_have_the_names_of_their_folders(directory, monkeypatch):
  monkeypatch.setenv("FAL_JAX_HOME", str(directory.parents[1]))
  shutil.copytree(directory, directory.with_name("free-68"))  # the package's own name
  shutil.copytree(directory, directory.with_name(".tiny.unfinished-1"))
  (directory.with_name("notes")).mkdir()

  assert list(fal_jax.models()) == ["free-68", "w300-68", "tiny"]
  assert fal_jax.models()["tiny"] == "29 drawn discs"
  assert named.load("tiny").notice == "discs only."
  assert named.load("free-68").config.crop.size == 128
  assert named.find("notes") is None and named.find(str(directory)).name == "tiny"


def test_a_damaged_export_in_the_home_disturbs_no_other(directory, monkeypatch):
  monkeypatch.setenv("FAL_JAX_HOME", str(directory.parents[1]))
  damage(directory, "export.json", b"{")

  assert fal_jax.models()["tiny"].startswith("cannot be used: ")
  assert named.load("free-68").name == "free-68"
  with pytest.raises(InputError, match=r"export\.json is damaged"):
    FaceAligner.from_pretrained("tiny")


@pytest.mark.parametrize("name", ["../tiny", "models/tiny", ".", "tiny/"])
def test_names_are_no_way_to_other_folders(directory, monkeypatch, name):
  monkeypatch.setenv("FAL_JAX_HOME", str(directory.parents[1]))
  monkeypatch.chdir("/")
  with pytest.raises(InputError, match="choose one of free-68, w300-68, tiny"):
    named.load(name)


def test_photographs_are_given_to_an_export_by_its_folder_or_its_name(directory, monkeypatch):
  monkeypatch.setenv("FAL_JAX_HOME", str(directory.parents[1]))
  options = Options(images=(), weights="tiny", out=directory.parent / "out", decode="argmax")
  for weights in ("tiny", str(directory)):
    aligner = network.load(dataclasses.replace(options, weights=weights))
    assert aligner.origin["name"] == "tiny" and aligner.setup.codec.decoding == "argmax"

  inside = dataclasses.replace(options, weights=str(directory), out=directory / "out")
  with pytest.raises(InputError, match="lies in the folder of the network"):
    network.load(inside)


def test_a_run_starts_from_an_export_by_its_name(directory, monkeypatch, capsys):
  monkeypatch.setenv("FAL_JAX_HOME", str(directory.parents[1]))
  fresh = {
    "params": {"a": {"kernel": np.zeros(2, np.float32)}},
    "batch_stats": {"a": {"var": np.ones(1, np.float32)}},
  }

  taken = restore.starting_variables(tiny_dataset.config("nowhere", init_from="tiny"), fresh)

  np.testing.assert_array_equal(taken["params"]["a"]["kernel"], [1, 2])
  assert "discs only." in capsys.readouterr().out


@pytest.mark.slow
def test_an_export_is_read_without_libraries_of_training_and_data(directory, tmp_path):
  heavy = ("orbax", "tensorflow_datasets", "grain", "optax", "scipy", "matplotlib", "onnx")
  program = f"""
import contextlib, io
from fal_jax.predict import FaceAligner

with contextlib.redirect_stdout(io.StringIO()) as printed:
  FaceAligner.from_exported({str(directory)!r})
assert printed.getvalue() == "discs only.\\n", printed.getvalue()
"""
  assert modules_after(program, tmp_path, names=heavy) == []


@pytest.mark.parametrize("name", ["~nobody-has-this-name/x", "x" * 300, "a/" * 3000])
def test_a_name_that_no_folder_can_have_is_a_sentence(name):
  assert not exported.is_export(name)
  with pytest.raises(InputError, match="name the folder that --mode=export wrote"):
    exported.load(name)
