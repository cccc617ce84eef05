"""The figure of a table: a line per row over all seeds, and never a reason to stop."""

import dataclasses

import numpy as np
import pytest
from landmark_tables import N, make_faces, write_csv
from ml_collections import ConfigDict

from fal_jax.ablation.curves import ErrorCurves
from fal_jax.errors import InputError
from fal_jax.plots import curves, figure
from fal_jax.scoring import landmark_files
from fal_jax.scoring import truth as truths

PERCENT = 2.5  # of the 40 px between the eyes, per px


@pytest.fixture
def truth(tmp_path, monkeypatch):
  """The faces of a dataset "truth.csv", and how often it is read."""
  path = write_csv(tmp_path / "truth.csv", make_faces())
  faces = truths.read(truths.Options(truth=path))
  reads = []
  monkeypatch.setattr(truths, "read_dataset", lambda config: (reads.append(config), faces)[1])
  return reads


@pytest.fixture
def drawn(monkeypatch):
  """What `draw_ced` was called with, in order."""
  calls = []

  def draw_ced(path, errors, **options):
    calls.append((path.name, {label: nme.tolist() for label, nme in errors.items()}, options))

  monkeypatch.setattr(curves, "draw_ced", draw_ced)
  return calls


def predictions(folder, **pixels):
  """Files of predictions that are shifted by so many px, name -> path."""
  return {
    name: write_csv(folder / f"{name}.csv", make_faces() + np.array([0.0, shift]))
    for name, shift in pixels.items()
  }


def test_a_row_s_line_has_the_faces_of_all_its_seeds(tmp_path, truth, drawn):
  files = predictions(tmp_path, a0=1, a1=3, b0=2)
  rows = {"A": [files["a0"], files["a1"]], "B": [files["b0"]], "C": []}

  assert ErrorCurves(tmp_path / "t_ced.png", ConfigDict(), metric="nme_ic").draw(rows)

  ((name, errors, options),) = drawn
  assert name == "t_ced.png"
  assert options == {"norm": "ic", "max_error": 10}
  assert list(errors) == ["A", "B"]
  assert errors["A"] == pytest.approx([PERCENT] * N + [3 * PERCENT] * N)
  assert errors["B"] == pytest.approx([2 * PERCENT] * N)


def test_the_normaliser_is_that_of_the_table_s_metric(tmp_path, truth, drawn):
  files = predictions(tmp_path, a=1)

  ErrorCurves(tmp_path / "t.png", ConfigDict(), metric="auc_box_7").draw({"A": [files["a"]]})

  ((_, errors, options),) = drawn
  assert options == {"norm": "box", "max_error": 7}
  assert errors["A"] == pytest.approx([100 / np.sqrt(100 * 160)] * N)


def test_each_file_and_the_dataset_are_read_once(tmp_path, truth, drawn, monkeypatch):
  files, reads, read = predictions(tmp_path, a=1, b=2), [], landmark_files.read
  monkeypatch.setattr(landmark_files, "read", lambda path: (reads.append(path.stem), read(path))[1])
  error_curves = ErrorCurves(tmp_path / "t.png", ConfigDict(), metric="nme_ic")

  assert not error_curves.draw({"A": [], "B": []})
  error_curves.draw({"A": [files["a"]], "B": []})
  error_curves.draw({"A": [files["a"]], "B": [files["b"]]})

  assert reads == ["a", "b"]
  assert len(truth) == 1
  assert [list(errors) for _, errors, _ in drawn] == [["A"], ["A", "B"]]


@pytest.mark.parametrize(
  ("metric", "expected"), [("nme_ic", PERCENT), ("fr_ic_8", 0), ("auc_ic_10", 75)]
)
def test_what_a_face_adds_is_that_of_the_table_s_metric(tmp_path, truth, metric, expected):
  files = predictions(tmp_path, a=1)
  error_curves = ErrorCurves(tmp_path / "t.png", ConfigDict(), metric=metric)

  np.testing.assert_allclose(error_curves.contributions(files["a"]), [expected] * N)
  assert error_curves.videos is None


def test_faces_of_videos_have_the_names_of_these(tmp_path, monkeypatch):
  names = [f"video{k}" for k in range(N)]
  path = write_csv(tmp_path / "truth.csv", make_faces())
  faces = truths.read(truths.Options(truth=path))
  with_videos = dataclasses.replace(faces, faces=dataclasses.replace(faces.faces, videos=names))
  monkeypatch.setattr(truths, "read_dataset", lambda config: with_videos)
  error_curves = ErrorCurves(tmp_path / "t.png", ConfigDict(), metric="nme_ic")

  error_curves.contributions(predictions(tmp_path, a=1)["a"])

  assert error_curves.videos == names


def test_without_the_dataset_nothing_is_known_of_single_faces_and_that_is_said_once(
  tmp_path, monkeypatch, caplog
):
  def not_prepared(_):
    raise InputError("The dataset 'wflw' is not prepared")

  monkeypatch.setattr(truths, "read_dataset", not_prepared)
  files = predictions(tmp_path, a=1)
  error_curves = ErrorCurves(tmp_path / "t.png", ConfigDict(), metric="nme_ic")

  assert error_curves.contributions(files["a"]) is None
  assert error_curves.contributions(files["a"]) is None
  assert not error_curves.draw({"A": [files["a"]]})
  assert caplog.messages == ["No intervals over faces: The dataset 'wflw' is not prepared"]


@pytest.mark.parametrize("missing", ["matplotlib", "dataset"])
def test_what_prevents_the_figure_is_said_once(tmp_path, monkeypatch, caplog, missing):
  def not_prepared(_):
    raise InputError("The dataset 'wflw' is not prepared")

  if missing == "matplotlib":
    monkeypatch.setattr(figure, "has_matplotlib", lambda: False)
  monkeypatch.setattr(truths, "read_dataset", not_prepared)
  files = predictions(tmp_path, a=1)
  error_curves = ErrorCurves(tmp_path / "t.png", ConfigDict(), metric="nme_ic")

  for _ in range(2):
    assert not error_curves.draw({"A": [files["a"]]})

  reason = {"matplotlib": figure.NO_MATPLOTLIB, "dataset": "The dataset 'wflw' is not prepared"}
  assert caplog.messages == [f"No curves drawn: {reason[missing]}"]
