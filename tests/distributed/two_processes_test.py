"""Two processes train as one: their numbers, their files, and every way in which one can end."""

import json
import os
import shutil
import signal

import numpy as np
import process_groups
import pytest
import soak
import tiny_dataset
from process_groups import END_WITHIN, started
from runs import records, saved_steps

pytestmark = pytest.mark.heavy
STEPS = 36


@pytest.fixture(scope="module")
def config(folder):
  return soak.soaked(folder, steps=STEPS)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
  """Workdir of an uninterrupted run of two processes, and what they said."""
  workdir = tmp_path_factory.mktemp("two") / "whole"
  with started(config, workdir) as run:
    assert run.codes() == [0, 0], run.text(0) + run.text(1)
    return workdir, run.text(0), run.text(1)


@pytest.fixture(scope="module")
def alone(folder, config, tmp_path_factory):
  """Workdirs of the same run in one process, to its end and to two thirds."""
  workdir = tmp_path_factory.mktemp("one") / "whole"
  tiny_dataset.run(soak.soaked(folder, steps=STEPS * 2 // 3), workdir)
  shutil.copytree(workdir, part := workdir.with_name("part"))
  tiny_dataset.run(config, workdir)
  return workdir, part


def close_to(workdir, other):
  """Asserts that two runs are the same but for rounding, which training amplifies."""
  ours, theirs = records(workdir), records(other)
  assert ours.keys() == theirs.keys()
  assert ours[1] == pytest.approx(theirs[1], rel=1e-5)
  np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=0.05)


def test_two_processes_train_and_evaluate_like_one_and_one_of_them_writes(whole, alone):
  (workdir, first, second), (single, _) = whole, alone
  close_to(workdir, single)
  assert saved_steps(workdir) == saved_steps(single)

  def result(folder):
    return json.loads((folder / "eval" / "test.json").read_text())

  assert result(workdir)["num_images"] == tiny_dataset.TEST
  assert result(workdir)["nme_ic"] == pytest.approx(result(single)["nme_ic"], rel=0.05)

  def names(folder):
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in paths if path.parts[0] not in ("checkpoints", "tensorboard")}

  assert names(workdir) == names(single)
  assert len(list((workdir / "tensorboard").iterdir())) == 1
  assert "nme_ic" in first and "nme_ic" not in second


def test_one_process_goes_on_where_two_stopped_and_two_where_one_did(whole, alone, ended, config):
  _, part = ended
  tiny_dataset.run(config, part)
  close_to(part, whole[0])
  with started(config, alone[1]) as run:
    assert run.codes() == [0, 0], run.text(0)
    assert f"Resuming from step {STEPS * 2 // 3} of {STEPS}" in run.text(0)
  close_to(alone[1], whole[0])


@pytest.fixture(scope="module")
def ended(config, tmp_path_factory):
  """Workdir of a run whose processes have met everything, and a copy from the middle of it.

  One run for all, each time resumed: a start takes many times longer than the steps.
  """
  workdir = tmp_path_factory.mktemp("ended") / "run"
  signal_to_one(config, workdir)
  for victim in range(2):
    standstill_of_one(config, workdir, victim)
  shutil.copytree(workdir, part := workdir.with_name("part"))
  kill_before_the_first_step(config, workdir)
  # More of them: ./launch/soak.sh --processes=2. Of this seed, it is process 0.
  problems = soak.kill(
    config, workdir, kills=1, seed=1, processes=2, signals=[signal.SIGKILL], most_steps=5
  )
  problems += soak.run_to_the_end(config, workdir, processes=2)
  assert problems == []
  return workdir, part


def last_saved(workdir):
  """Step of the newest checkpoint; one that was being written at a sudden end is none."""
  names = (path.name for path in (workdir / "checkpoints").iterdir())
  return max(int(name) for name in names if name.isdigit())


def signal_to_one(config, workdir):
  """As clusters send it: to the command, to its child, and to the command once more by srun."""
  with started(config, workdir) as run:
    run.wait_for(0, "step  3/36")
    pids = run.processes[1].pid, run.trains(1)
    for pid in pids * 2:
      os.kill(pid, signal.SIGTERM)
    assert run.codes(END_WITHIN) == [75, 75], run.text(0) + run.text(1)
    assert "Stopped at step" in run.text(0)
    assert "Traceback" not in run.text(0) + run.text(1)
  assert 3 <= last_saved(workdir) < STEPS


def standstill_of_one(config, workdir, victim):
  """As of a machine that is suspended: what the others await never comes, and nothing is closed."""
  resumed = last_saved(workdir)
  with started(config, workdir, flags=["--silence_timeout=10"]) as run:
    run.wait_for(0, f"step {resumed + 2:2d}/36")
    assert f"Resuming from step {resumed} of 36" in run.text(0)
    os.kill(run.trains(victim), signal.SIGSTOP)
    other = 1 - victim
    assert run.processes[other].wait(timeout=END_WITHIN) == 75, run.text(other)
    os.kill(run.trains(victim), signal.SIGCONT)
    assert run.processes[victim].wait(timeout=END_WITHIN) == 75, run.text(victim)
    for index in range(2):
      assert "Traceback" not in run.text(index)
      assert "the same command resumes" in run.text(index)


def kill_before_the_first_step(config, workdir):
  """While it compiles: the other one is not in a collective that could fail."""
  with started(config, workdir, flags=["--silence_timeout=10"]) as run:
    run.wait_for(0, "Training on")
    os.kill(run.trains(1), signal.SIGKILL)
    assert run.codes(END_WITHIN) == [75, 75], run.text(0) + run.text(1)
    for index in range(2):
      assert "Traceback" not in run.text(index)
      assert "the same command resumes" in run.text(index)


def test_two_kills_a_signal_and_two_standstills_leave_no_difference(whole, ended):
  assert soak.differences(whole[0], ended[0]) == []


def test_a_mistake_of_one_ends_all_with_its_sentence(config, tmp_path):
  flags = ["--config.data.train_split=nowhere_at_all"]
  with started(config, tmp_path / "run", flags=flags) as run:
    assert run.codes(END_WITHIN + process_groups.PATIENCE) == [2, 2]
    for index in range(2):
      assert "has no split 'nowhere_at_all'" in run.text(index)
      assert "Traceback" not in run.text(index)


def test_processes_that_never_come_are_a_sentence(config, tmp_path):
  flags = ["--coordinator=localhost:61234", "--process_index=1", "--process_count=2"]
  flags += ["--start_timeout=5"]
  with started(config, tmp_path / "run", count=1, flags=flags) as run:
    assert run.codes() == [2], run.text(0)
    assert "did not come together" in run.text(0)
