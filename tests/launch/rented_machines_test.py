"""tpu_vm.sh, xpk.sh and slurm.sbatch: what they would do, that they do that, what they refuse.

The tools that they call are stand-ins. golden/ holds options after "$ " and what the script prints
with these and --dry_run. The xpk commands in xpk.txt were given to xpk 1.16.0 with its --dry-run,
which accepted them; the one with gs:// was added later and has other words in its --command alone.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import tiny_dataset

LAUNCH = tiny_dataset.ROOT / "launch"
GOLDEN = Path(__file__).parent / "golden"
SCRIPTS = {"tpu_vm.sh": "tpu_vm.txt", "xpk.sh": "xpk.txt", "slurm.sbatch": "slurm.txt"}
# Writes down how it is called, one word a line.
TOOL = """\
#!/usr/bin/env bash
[ "$*" != "rev-parse HEAD" ] || { echo 0123abcd; exit; }
[ "$*" != "status --porcelain" ] || exit 0
printf '%s\\n' "${0##*/}" "$@" "" >>"$CALLS"
"""
TPU = "--project=my-project --zone=us-west4-a --name=best"
CLUSTER = "--project=my-project --zone=us-west4-a --cluster=my-cluster"


def cases(script):
  """Pairs of a command line's words and what it prints, from the golden file of a script."""
  text = (GOLDEN / SCRIPTS[script]).read_text()
  for case in text.removeprefix("$ ").split("\n$ "):
    line, _, printed = case.partition("\n")
    yield shlex.split(line), printed.rstrip("\n")


@pytest.fixture
def environment(tmp_path):
  """Environment variables in which the tools that rent machines are stand-ins."""
  tools = tmp_path / "tools"
  tools.mkdir()
  for name in ("gcloud", "xpk", "kubectl", "docker", "git"):
    (tools / name).write_text(TOOL)
    (tools / name).chmod(0o755)
  return {
    **os.environ,
    "PATH": f"{tools}:{os.environ['PATH']}",
    "CALLS": str(tmp_path / "calls"),
  }


def run(script, *words, **options):
  return subprocess.run(
    [str(LAUNCH / script), *words],
    capture_output=True,
    text=True,
    check=False,
    stdin=subprocess.DEVNULL,
    timeout=100,
    **options,
  )


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_prints_what_is_written_down(script, environment):
  for words, expected in cases(script):
    done = run(script, *words, "--dry_run", env=environment)
    assert (done.returncode, done.stdout.rstrip("\n"), done.stderr) == (0, expected, ""), words
  assert not Path(environment["CALLS"]).exists()


@pytest.mark.parametrize("script", ["tpu_vm.sh", "xpk.sh"])
def test_the_printed_commands_are_those_of_a_real_run(script, environment, tmp_path):
  calls = Path(environment["CALLS"])
  for words, printed in cases(script):
    calls.unlink(missing_ok=True)
    done = run(script, *words, "--yes", env=environment)
    assert (done.returncode, done.stderr) == (0, ""), words
    real = calls.read_text()

    calls.unlink()
    subprocess.run(
      ["bash", "-e"], input=printed, text=True, env=environment, check=True, cwd=tmp_path
    )
    assert calls.read_text() == real


@pytest.mark.parametrize("script", ["tpu_vm.sh", "xpk.sh"])
def test_nothing_that_costs_money_is_done_without_agreement(script, environment):
  asked = [
    (words, printed)
    for words, printed in cases(script)
    if words[0] in ("create", "cluster", "image", "delete", "delete_cluster")
  ]
  assert asked
  for words, printed in asked:
    done = run(script, *words, env=environment)
    assert done.returncode == 2
    assert "Nothing was done" in done.stderr
    plan = [line for line in printed.splitlines() if line.startswith("#")]
    assert done.stdout.splitlines() == plan
    assert "money" in done.stdout or "lost" in done.stdout or "all that runs" in done.stdout
  assert not Path(environment["CALLS"]).exists()


RUN = "--config=configs/demo.py --workdir=/shared/run"


@pytest.mark.parametrize(
  ("line", "named"),
  [
    ("tpu_vm.sh", "Say what to do"),
    ("tpu_vm.sh rent", "got 'rent'"),
    ("tpu_vm.sh create", "No --project"),
    ("tpu_vm.sh create --project=p", "No --zone"),
    ("tpu_vm.sh delete --project=p --zone=z", "No --name"),
    ("tpu_vm.sh status --project=My_Project --zone=z --name=n", "--project=My_Project is not"),
    (f"tpu_vm.sh create {TPU}", "--type="),
    (f"tpu_vm.sh create {TPU} --type=tpu7x-8", "--type=tpu7x-8 is none of"),
    (f"tpu_vm.sh create {TPU} --type=v4-8 --valid_until=6h", "--valid_until is for --queued"),
    (f"tpu_vm.sh create {TPU} --type=v4-8 --cheap", "does not know '--cheap'"),
    (f"tpu_vm.sh run {TPU} --type=v4-8 --workdir=r", "No --config"),
    (f"tpu_vm.sh run {TPU} --type=v4-8 --config=c", "No --workdir"),
    (f"tpu_vm.sh run {TPU} --type=v4-16 --config=c --workdir=runs/a", "several hosts"),
    (f"tpu_vm.sh run {TPU} --type=v4-16 --config=c --workdir=s3://b/a", "s3://b/a is no address"),
    (f"tpu_vm.sh run {TPU} --type=v4-16 --config=c --workdir=gs://b", "gs://b is no address"),
    (f"tpu_vm.sh run {TPU} --type=v4-8 {RUN} --config.hub_token=x", "--config.hub_token looks"),
    ("xpk.sh", "Say what to do"),
    ("xpk.sh run --project=p --zone=z", "No --cluster"),
    (f"xpk.sh status {CLUSTER}", "No --name"),
    ("xpk.sh image", "No --image"),
    (f"xpk.sh cluster {CLUSTER} --type=h100-80gb-8", "GPUs: jobset_gpu.yaml"),
    (f"xpk.sh cluster {CLUSTER} --type=v4-8 --slices=0", "--slices must be"),
    (f"xpk.sh run {CLUSTER} --name=n --type=v4-8 {RUN}", "No --image"),
    (f"xpk.sh run {CLUSTER} --name=n --type=v4-8 --image=i --config=c", "No --workdir"),
    (f"xpk.sh run {CLUSTER} --name=n --type=v4-8 --image=i --config=c --workdir=r", "from /"),
    (f"xpk.sh run {CLUSTER} --name=n --type=v4-8 --image=i {RUN} --password=x", "--password looks"),
    ("slurm.sbatch --workdir=r", "No --config"),
    ("slurm.sbatch --config=c", "No --workdir"),
    ("slurm.sbatch --config=c --workdir=s3://b/r", "is no address"),
    ("slurm.sbatch --config=c --workdir=r API_KEY", "Unknown word 'API_KEY'"),
    ("slurm.sbatch --config=c --workdir=r --api_key=1", "looks like a secret"),
    ("slurm.sbatch --config=c --workdir=r", "Submit it"),
  ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_done(line, named, environment):
  done = run(*line.split(), env={k: v for k, v in environment.items() if k != "SLURM_JOB_ID"})
  assert done.returncode == 2
  assert named in done.stderr
  assert done.stderr.count("\n") == 1
  assert not Path(environment["CALLS"]).exists()


def test_a_tool_that_is_missing_is_named(environment, tmp_path):
  folder = tmp_path / "few"
  folder.mkdir()
  for name in ("bash", "dirname", "git"):
    (folder / name).symlink_to(shutil.which(name))
  few = {**environment, "PATH": str(folder)}
  done = run("tpu_vm.sh", "delete", *TPU.split(), "--yes", env=few)
  assert done.returncode == 2
  assert "gcloud is not installed" in done.stderr
