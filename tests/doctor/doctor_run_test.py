"""--mode=doctor on the command line: page, JSON, summary, and mistakes in one sentence."""

import json
import sys

import pytest
import tiny_dataset
from absl import flags
from absl.testing import flagsaver
from doctor_records import record

from fal_jax import main
from tfds_builders.common.schema import FaceDatasetBuilder


@pytest.fixture
def doctor(capsys):
  """Runs `main` in this process; returns its exit code and what it printed."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])

  def doctor(**values):
    with flagsaver.flagsaver(mode="doctor", **values):
      code = main.main([])
    printed = capsys.readouterr()
    return code, printed.out, printed.err

  return doctor


def test_the_command_writes_page_and_json_and_prints_a_summary_without_matplotlib(
  doctor, folder, tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, "matplotlib", None)

  code, out, err = doctor(workdir=str(tmp_path / "w"), config=tiny_dataset.config(folder))

  assert (code, err) == (0, "")
  assert out.startswith("tiny_faces/1.0.0: train 12, test 11, nowhere 1 faces\n")
  assert "0 errors" in out
  written = json.loads((tmp_path / "w" / "doctor" / "tiny_faces.json").read_text())
  assert written["splits"]["train"]["faces"] == 12
  assert written["splits"]["nowhere"]["flags"]["box_missing"] == 1
  assert {"findings", "overlaps", "shape", "metadata"} <= written.keys()
  assert (tmp_path / "w" / "doctor" / "tiny_faces.html").read_text().startswith("<!doctype html>")


class PlantedFaces(FaceDatasetBuilder, skip_registration=True):
  """A dataset with an image in two splits."""

  NUM_LANDMARKS = tiny_dataset.MARKUP

  def _split_generators(self, dl_manager):
    return {
      "train": self._generate_examples(range(8)),
      "test": self._generate_examples(range(7, 12)),
    }

  def _generate_examples(self, seeds):
    for seed in seeds:
      yield str(seed), record(seed)


def test_defects_survive_being_written_to_files_and_read_back(doctor, tmp_path):
  PlantedFaces(data_dir=tmp_path).download_and_prepare(download_dir=tmp_path / "downloads")
  config = tiny_dataset.config(tmp_path, data__name="planted_faces")

  code, out, _ = doctor(workdir=str(tmp_path / "w"), config=config)

  assert code == 0
  assert "error    train and test share 1 face" in out
  assert "1 error," in out


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"data__name": "wflw"}, "tfds_builders.prepare wflw"),
    ({"data__name": ""}, "config.data.name is empty"),
    ({"data__markup": 68}, "--config.data.markup=29"),
    ({"data__markup": 5}, "no mark-up has 5 landmarks"),
    ({"data__box": "tight"}, "dataset, landmarks"),
    ({"codec__window": 4}, "codec.window must be odd"),
  ],
)
def test_mistakes_exit_with_two_and_one_sentence_and_write_nothing(
  doctor, folder, tmp_path, changes, named
):
  config = tiny_dataset.config(folder, **changes)

  code, out, err = doctor(workdir=str(tmp_path / "w"), config=config)

  assert (code, out) == (2, "")
  assert named in err
  assert len(err.splitlines()) == 1
  assert not (tmp_path / "w").exists()


def test_a_workdir_that_is_a_file_is_refused(doctor, folder, tmp_path):
  (tmp_path / "file").write_text("kept")

  code, _, err = doctor(workdir=str(tmp_path / "file"), config=tiny_dataset.config(folder))

  assert code == 2
  assert "Nothing can be written to --workdir=" in err
  assert len(err.splitlines()) == 1
