"""The wait for points: that it is measured, in fresh processes, and what the report says of it."""

import subprocess
from pathlib import Path

import pytest

from fal_jax.bench import first_answer, table


@pytest.mark.heavy
def test_two_fresh_processes_answer_and_the_second_with_what_the_first_compiled(monkeypatch):
  kept = []

  def start(*args, env, **options):
    folder = Path(env["JAX_COMPILATION_CACHE_DIR"])
    kept.append(sorted(path.name for path in folder.glob("*-cache")))
    return popen(*args, env=env, **options)

  popen = subprocess.Popen
  monkeypatch.setattr(subprocess, "Popen", start)
  samples = first_answer.measure(rounds=1, echo=lambda line: None)

  assert kept[0] == [] != kept[1]
  assert samples.keys() == {"first", "second", "face", "photo"}
  assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in samples.values())


def test_a_process_that_fails_ends_the_bench(monkeypatch):
  monkeypatch.setattr(first_answer, "_photograph", lambda: "no such photograph.jpg")
  monkeypatch.setattr(first_answer.sys, "executable", "false")
  with pytest.raises(RuntimeError, match="ended with 1"):
    first_answer.measure(rounds=1, echo=lambda line: None)


def test_waits_stand_in_the_report_in_seconds_and_later_ones_in_milliseconds():
  samples = {"first": [5.0, 4.0, 9.0], "second": [2.0], "face": [0.011], "photo": [0.016]}
  page = table._predict(samples)
  assert "5 [4.5 7] s" in page and "2 [2 2] s" in page
  assert "11 [11 11] ms" in page and "16 [16 16] ms" in page
