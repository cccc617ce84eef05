"""The parent of each process: what it passes on, and how it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny_dataset

from fal_jax.distributed import supervisor
from fal_jax.distributed.group import Group

GROUP = Group("Slurm", 1, 2)


def supervised(code, lines):
  argv = [sys.executable, "-u", "-c", code]
  return supervisor.run(GROUP, argv, environ=os.environ, echo=lines.append)


@pytest.mark.parametrize("code", [0, 2, 3, 75, 1])
def test_an_exit_code_is_passed_on(code):
  assert supervised(f"raise SystemExit({code})", []) == code


def test_a_process_that_gives_up_before_all_are_there_says_what_to_look_for():
  lines = []
  assert supervised("import os; os.abort()", lines) == 2
  assert "started by Slurm did not come together: see that every one was started" in lines[-1]


@pytest.mark.parametrize("how", ["KILL", "ABRT", "SEGV"])
def test_a_process_that_is_torn_down_is_interrupted(how):
  lines = []
  code = "import os, signal; from fal_jax.distributed import supervisor; "
  code += f"supervisor.announce(os.environ); os.kill(os.getpid(), signal.SIG{how})"
  assert supervised(code, lines) == 75
  assert lines == [
    "process 1: ended, or lost the others, without saving; the same command resumes from the last "
    "checkpoint."
  ]


def test_notes_of_the_runtime_are_left_out_and_everything_else_is_shown():
  note = "W1126 13:51:47.747052 19070 preemption_sync_manager.cc:147] Failed to retrieve"
  page = [
    "F1126 13:50:40.657462 13152 client.h:80] Terminating process because the JAX distributed",
    "RPC: /xla.coordination.CoordinationService/PollForError",
    "*** Check failure stack trace: ***",
    "    @     0x7f5aae040634  absl::lts_20260107::log_internal::LogMessage::SendToLog()",
  ]
  shown = [
    "I1126 13:50:40.657462 13152 train.py:64] 2 cpu devices",
    "Traceback (most recent call last):",
    "  File x",
    "process 1: process 0 stopped: the disk is full",
  ]
  text = "\n".join([shown[0], "[Gloo] Rank 0 is connected", note, *page, *shown[1:]])
  lines = []
  assert supervised(f"import sys; sys.stderr.write({text!r} + chr(10))", lines) == 0
  assert lines == shown


@pytest.fixture
def interrupted(monkeypatch, tmp_path):
  """Runs a child that gets signals through its parent; returns its exit code and the lines."""
  ready, sent = tmp_path / "ready", tmp_path / "sent"

  def run(handler, signals, *, echo):
    monkeypatch.setattr(supervisor, "ECHO", echo)
    lines = []
    code = "import pathlib, signal, time; "
    code += f"ready, sent = pathlib.Path({str(ready)!r}), pathlib.Path({str(sent)!r}); "
    code += f"signal.signal(signal.SIGTERM, {handler}); ready.touch(); time.sleep(100)"

    def send():
      wait_for(ready.exists)
      for number in signals:
        os.kill(os.getpid(), number)
        wait_for(lambda: lines)  # of the first; signals on their way at once would be one
      sent.touch()

    thread = threading.Thread(target=send)
    thread.start()
    exit_code = supervised(code, lines)
    thread.join()
    return exit_code, lines

  return run


def wait_for(condition):
  until = time.monotonic() + 60
  while not condition():
    assert time.monotonic() < until
    time.sleep(0.01)


def test_ctrl_c_becomes_the_signal_that_the_processes_tell_each_other(interrupted):
  code, lines = interrupted("lambda *_: exit(75)", [signal.SIGINT], echo=60)
  assert code == 75
  assert lines == ["process 1: SIGINT: all processes save after a common step; again: stop"]


def test_a_second_signal_ends_a_process_that_does_not_answer(interrupted):
  code, lines = interrupted("signal.SIG_IGN", [signal.SIGTERM, signal.SIGTERM], echo=0)
  assert code == 75
  assert "was stopped at once without saving" in lines[-1]


def test_the_same_signal_through_two_ways_is_one_signal(interrupted):
  saves = "lambda *_: ([time.sleep(0.01) for _ in iter(sent.exists, True)], exit(75))"
  signals = [signal.SIGTERM, signal.SIGTERM, signal.SIGINT]
  code, lines = interrupted(saves, signals, echo=60)
  assert code == 75
  assert lines == ["process 1: SIGTERM: all processes save after a common step; again: stop"]


def test_a_child_does_not_outlive_its_parent():
  child = "from fal_jax.distributed import supervisor as s; import time; s.end_with_parent(); "
  child += "import os; print(os.getpid(), flush=True); time.sleep(100)"
  parent = (
    "import os, sys; from fal_jax.distributed import supervisor; "
    "from fal_jax.distributed.group import Group; "
    f"supervisor.run(Group('x', 0, 2), [sys.executable, '-c', {child!r}], environ=os.environ)"
  )
  with subprocess.Popen(
    [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, cwd=tiny_dataset.ROOT
  ) as started:
    assert started.stdout is not None
    pid = int(started.stdout.readline())
    started.kill()

  status = Path(f"/proc/{pid}/stat")
  until = time.monotonic() + 30
  while status.exists() and " Z " not in status.read_text():  # a zombie has ended, too
    assert time.monotonic() < until
    time.sleep(0.05)
