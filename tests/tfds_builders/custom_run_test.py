"""From a folder of one's own images to points on them: prepare, train, evaluate, predict."""

import csv
import importlib
import json
import shutil

import custom_files as files
import numpy as np
import pytest
import tiny_dataset
from absl import flags
from ml_collections import config_flags

from fal_jax import (
  build,
  config_json,
  custom_markup,
  evaluate,
  flag_parser,
  landmarks,
  parallel,
  predict,
)
from fal_jax.doctor import run as doctor
from fal_jax.errors import InputError
from fal_jax.output.changes import check_resumable
from fal_jax.photos import run as photos
from fal_jax.photos.options import Options
from tfds_builders import prepare

pytestmark = pytest.mark.slow


def load(name, argument):
  return importlib.import_module(f"configs.{name}").get_config(argument)


def tiny(config, **changes):
  with config.unlocked():
    config.update_from_flattened_dict({**tiny_dataset.SMALL, "train.epochs": 2.0, **changes})
  return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A folder with a prepared dataset, its mark-up file and a run on it; the config; the metrics.

  One landmark of one face is not annotated.
  """
  tiny_dataset.folder(tmp_path_factory.getbasetemp())  # sets up the cache of compiled functions
  folder = tmp_path_factory.mktemp("custom")
  root = files.write_images(folder / "faces", range(20))
  table = files.rows(range(20))
  table[4][3:5] = "", ""
  files.write_table(root, table)

  assert prepare.main(["custom", f"--manual_dir={root}", f"--data_dir={folder / 'data'}"]) == 0

  config = tiny(load("custom", str(root / "markup.yaml")), **{"data.dir": str(folder / "data")})
  (root / "markup.yaml").rename(folder / "markup.yaml")
  (root / files.name(0)).rename(folder / "photo.png")
  shutil.rmtree(root)
  return folder, config, tiny_dataset.run_without_figures(config, folder / "run")["test"]


def test_a_config_says_what_the_mark_up_file_does(trained):
  _, config, summary = trained

  assert config.data.name == "custom/my_faces"
  assert config.data.markup == files.NUM
  assert config.eval.norm == "ic"
  assert summary["num_images"] == 2
  assert {"nme_ic", "nme_box", "nme_diag"} <= summary.keys()
  assert "nme_ip" not in summary


def test_a_run_needs_neither_mark_up_file_nor_images_any_more(trained, tmp_path, monkeypatch):
  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
  folder, _, summary = trained
  workdir = shutil.copytree(folder / "run", tmp_path / "run")

  # Evaluated by the config that the run has saved: the same numbers.
  saved = load("saved", str(workdir))

  assert config_json.to_json(saved) == json.loads((workdir / "config.json").read_text())
  assert evaluate.run(saved, workdir)["test"] == summary

  with (workdir / "eval" / "test_predictions.csv").open() as file:
    assert next(csv.reader(file)) == ["id", *files.HEADER[1:]]

  # Resumed by it, for one epoch more.
  before = tiny_dataset.last_digest(workdir)
  longer = tiny_dataset.run_without_figures(
    tiny(load("saved", str(workdir)), **{"train.epochs": 3.0}), workdir
  )["test"]

  assert tiny_dataset.last_digest(workdir) != before and longer != summary

  # On a photograph, by the checkpoint alone.
  aligner = predict.FaceAligner.from_checkpoint(workdir)
  markup = aligner.setup.markup
  assert markup.names == tuple(files.NAMES) and markup.edges == ((3, 4),)
  np.testing.assert_array_equal(markup.flip, [1, 0, 2, 4, 3])

  written = tmp_path / "predictions"
  photo = (str(folder / "photo.png"),)
  options = Options(photo, weights=str(workdir), out=written, whole_image=True)
  photos.run(options, command="")
  assert (written / "overlays" / "photo.png.jpg").is_file()
  assert (
    len((written / "predictions.csv").read_text().splitlines()[1].split(",")) == 1 + 3 * files.NUM
  )


def test_a_run_is_not_resumed_under_another_mark_up(trained, tmp_path):
  folder, config, _ = trained
  (tmp_path / "markup.yaml").write_text(files.MARKUP.replace(", [3, 4]]", "]"))
  other = tiny(load("custom", str(tmp_path / "markup.yaml")), **{"data.dir": config.data.dir})

  def saved_by(config):
    return {"config": config_json.to_json(config), "train_images": 11}

  with pytest.raises(
    InputError,
    match=r"holds a run with another config; use another --workdir.*\n  data\.own_markup: ",
  ):
    check_resumable(saved_by(config), saved_by(other), folder / "run")

  same = tiny(load("custom", str(folder / "markup.yaml")), **{"data.dir": config.data.dir})
  check_resumable(saved_by(config), saved_by(same), folder / "run")


def test_the_doctor_finds_pairs_that_do_not_fit_the_faces(trained, tmp_path):
  _, config, _ = trained
  (tmp_path / "markup.yaml").write_text(
    files.MARKUP.replace("[[right_eye, left_eye], [3, 4]]", "[[0, 3], [1, 4]]")
  )
  wrong = tiny(load("custom", str(tmp_path / "markup.yaml")), **{"data.dir": config.data.dir})
  complaint = "The flip permutation does not fit the mean shape at 4 landmarks"

  assert complaint in doctor.run(wrong, tmp_path / "wrong", command="")
  assert complaint not in doctor.run(config, tmp_path / "right", command="")


@pytest.fixture
def read_flags(monkeypatch):
  """The config that a command line makes, in the repository's folder."""
  monkeypatch.chdir(tiny_dataset.ROOT)

  def read_flags(*arguments):
    # There ml_collections looks for the keys that are set.
    monkeypatch.setattr("sys.argv", ["main", *arguments])
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=values)
    flag_parser.read(values, ["main", *arguments])
    return values.config

  return read_flags


@pytest.mark.parametrize("name", ["custom", "custom_small"])
def test_keys_are_set_on_the_command_line_as_for_every_config(tmp_path, read_flags, name):
  (tmp_path / "markup.yaml").write_text(files.MARKUP)
  config = read_flags(
    f"--config=configs/{name}.py:{tmp_path / 'markup.yaml'}",
    "--config.data.dir=d",
    "--config.eval.norm=box",
  )

  assert (config.data.dir, config.eval.norm, config.data.name) == ("d", "box", "custom/my_faces")
  assert build.markup(config).names == tuple(files.NAMES)


def test_keys_of_a_saved_config_are_set_too(tmp_path, read_flags):
  (tmp_path / "config.json").write_text(
    tiny_dataset.config(tmp_path, eval__splits=("a", "b")).to_json_best_effort()
  )
  config = read_flags(
    f"--config=configs/saved.py:{tmp_path}", "--config.eval.splits=('c',)", "--config.data.dir=d"
  )
  assert config.eval.splits == ("c",) and config.data.dir == "d" and config.model.features == 8


@pytest.mark.parametrize(
  ("argument", "named"),
  [
    (
      "custom.py",
      "No mark-up file is named: it goes after a colon, "
      "e.g. --config=configs/custom.py:my_faces/markup.yaml",
    ),
    ("custom_small.py", "No mark-up file is named"),
    (
      "custom.py:none.yaml",
      "none.yaml cannot be read: No such file or directory; name the YAML file of your mark-up",
    ),
    ("custom.py:pyproject.toml", "pyproject.toml, line 2: not plain YAML"),
    ("saved.py", "No run is named: its folder goes after a colon"),
    ("saved.py:nowhere", "nowhere/config.json cannot be read"),
  ],
)
def test_mistakes_after_the_colon_are_one_sentence(read_flags, argument, named):
  with pytest.raises(InputError) as caught:
    read_flags(f"--config=configs/{argument}")
  assert named in str(caught.value)
  assert len(str(caught.value).splitlines()) == 1
  assert len(str(caught.value)) < 400


def test_a_mark_up_file_may_choose_a_built_in_mark_up(tmp_path):
  (tmp_path / "markup.yaml").write_text("name: mine\norigin: 0\nmarkup: 39\n")
  config = load("custom", str(tmp_path / "markup.yaml"))
  assert (config.data.markup, config.data.own_markup, config.eval.norm) == (39, None, "box")
  assert build.markup(config) is landmarks.MARKUPS[39]


def test_without_eyes_the_box_is_the_normaliser(tmp_path):
  (tmp_path / "markup.yaml").write_text("name: dots\norigin: 0\nlandmarks: 4\nmirror: []\n")
  config = load("custom", str(tmp_path / "markup.yaml"))
  assert config.eval.norm == "box" and custom_markup.from_json(config.data.own_markup).num == 4
