"""launch/slurm.sbatch as Slurm runs it: a copy elsewhere, with stand-ins for Slurm's commands."""

import os
import shutil
import signal
import subprocess
import time

import pytest
import tiny_dataset

TOOLS = {
  "srun": 'printf "%s\\n" "$@" >"$LEFT/words"; until [ -e "$UNTIL" ]; do sleep 0.02; done; '
  'exit "$ENDS"',
  "squeue": 'echo "$STATE"',
  "scontrol": 'echo "$@" >"$LEFT/requeued"',
}


@pytest.fixture
def job(tmp_path):
  """The command of a job, and its environment variables."""
  tools = tmp_path / "tools"
  tools.mkdir()
  for name, text in TOOLS.items():
    (tools / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
    (tools / name).chmod(0o755)
  script = shutil.copy(tiny_dataset.ROOT / "launch" / "slurm.sbatch", tmp_path / "slurm_script")
  environment = {
    **os.environ,
    "PATH": f"{tools}:{os.environ['PATH']}",
    "LEFT": str(tmp_path),
    "STATE": "RUNNING",
    "UNTIL": str(tools),  # which is there
    "SLURM_JOB_ID": "7",
    "SLURM_CPUS_PER_TASK": "4",
    "SLURM_SUBMIT_DIR": str(tiny_dataset.ROOT),
  }
  return [str(script), "--python=python3.12", "--config=c.py", "--workdir=runs/a b"], environment


@pytest.mark.parametrize(
  ("ends", "changes", "requeued"),
  [
    (0, {}, False),
    (1, {}, False),
    (2, {}, False),
    (3, {}, False),
    (75, {}, True),
    (75, {"SLURM_RESTART_COUNT": "19"}, True),
    (75, {"SLURM_RESTART_COUNT": "20"}, False),
    (75, {"STATE": "COMPLETING"}, False),  # cancelled
  ],
)
def test_a_job_queues_again_after_75_alone(ends, changes, requeued, job, tmp_path):
  command, environment = job
  done = subprocess.run(
    command, env={**environment, **changes, "ENDS": str(ends)}, check=False, capture_output=True
  )
  assert done.returncode == ends, done.stderr
  words = (tmp_path / "words").read_text().splitlines()
  assert words[-5:] == ["python3.12", "-m", "fal_jax.main", "--config=c.py", "--workdir=runs/a b"]
  assert {"--ntasks-per-node=1", "--cpus-per-task=4"} <= set(words)
  assert (tmp_path / "requeued").exists() == requeued
  if requeued:
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"


def test_a_cancelled_job_waits_for_its_processes_and_does_not_queue_again(job, tmp_path):
  command, environment = job
  process = subprocess.Popen(
    command,
    env={**environment, "ENDS": "75", "UNTIL": str(tmp_path / "signalled")},
    stdout=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 60
  while not (tmp_path / "words").exists():
    assert time.monotonic() < deadline
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  (tmp_path / "signalled").touch()
  printed, _ = process.communicate(timeout=60)
  assert process.returncode == 75
  assert "not queued again" in printed
  assert not (tmp_path / "requeued").exists()


def test_a_job_from_another_folder_is_refused(job, tmp_path):
  command, environment = job
  done = subprocess.run(
    command,
    env={**environment, "SLURM_SUBMIT_DIR": str(tmp_path)},
    check=False,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  assert "Submit it from the repository's folder" in done.stderr


def test_options_for_slurm_stand_before_the_first_command():
  lines = (tiny_dataset.ROOT / "launch" / "slurm.sbatch").read_text().splitlines()
  options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
  first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
  assert len(options) >= 9
  assert max(options) < first
  assert {"#SBATCH --signal=TERM@120", "#SBATCH --requeue", "#SBATCH --ntasks-per-node=1"} <= set(
    lines
  )
