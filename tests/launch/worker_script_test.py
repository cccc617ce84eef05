"""tpu_vm.sh and worker.sh from run to stop to run, on "hosts" that are folders of this machine."""

import os
import shutil
import subprocess
import time

import pytest
import tiny_dataset

# Copies to hosts and runs commands on them; a host is a folder, its home.
GCLOUD = """\
#!/usr/bin/env bash
set -eu
shift 3
hosts=(0 1)
for word in "$@"; do
  case $word in --command=*) command=${word#*=} ;; --worker=[0-9]*) hosts=("${word#*=}") ;; esac
done
for host in "${hosts[@]}"; do
  mkdir -p "$HOSTS/$host"
  case $1 in
    scp) cp "$2" "$HOSTS/$host/${3#*:}" ;;
    ssh) (cd "$HOSTS/$host" && HOME=$PWD bash -c "$command") ;;
  esac
done
"""
# Trains until it is told to stop; says what it was called with.
PYTHON = """\
#!/usr/bin/env bash
printf '%s\\n' "$@" "port $JAX_COORDINATOR_PORT" >>words
trap 'echo saved; exit 75' TERM
[ ! -e finish ] || exit 0
echo training
while :; do sleep 0.1; done
"""
NAMES = "--project=my-project --zone=us-west4-a --name=best"


@pytest.fixture
def call(tmp_path):
  """Calls tpu_vm.sh of a repository of its own; returns what it printed."""
  root = tmp_path / "a clone"
  shutil.copytree(tiny_dataset.ROOT / "launch", root / "launch")
  (root / ".gitignore").write_text(".cache/\nruns/\nwords\nfinish\n")
  tools = tmp_path / "tools"
  tools.mkdir()
  for name, text in {"gcloud": GCLOUD, "trainer": PYTHON}.items():
    (tools / name).write_text(text)
    (tools / name).chmod(0o755)
  environment = {
    **os.environ,
    "PATH": f"{tools}:{os.environ['PATH']}",
    "HOSTS": str(tmp_path / "hosts"),
    **{f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
  }

  def call(*words):
    done = subprocess.run(
      [str(root / "launch" / "tpu_vm.sh"), *words],
      env=environment,
      capture_output=True,
      text=True,
      check=False,
      timeout=100,
    )
    return done.returncode, done.stdout, done.stderr

  for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
    subprocess.run(["git", *words], cwd=root, env=environment, check=True)
  yield call
  call("stop", *NAMES.split())


def wait_for(call, state):
  """The lines of `status`, one a host, once all hosts are in a state."""
  deadline = time.monotonic() + 60
  while True:
    lines = [line for line in call("status", *NAMES.split())[1].splitlines() if ": " in line]
    if len(lines) == 2 and all(state in line for line in lines):
      return
    assert time.monotonic() < deadline, lines
    time.sleep(0.1)


@pytest.mark.slow
def test_all_hosts_start_save_on_stop_and_resume(call, tmp_path):
  hosts = [tmp_path / "hosts" / host / "fal_jax" for host in "01"]
  run = ["run", *NAMES.split(), "--type=v5litepod-16", "--python=trainer", "--config=configs/a.py"]
  run += ["--workdir=/shared/a b", "--config.optimizer.drop_epochs=(1, 2)"]

  code, printed, errors = call(*run)
  assert (code, errors) == (0, "")
  assert printed.count("started, see") == 2
  wait_for(call, "running: training")
  expected = ["-m", "fal_jax.main", "--config=configs/a.py", "--workdir=/shared/a b"]
  expected += ["--config.optimizer.drop_epochs=(1, 2)", "--coordinator=auto", "port 8476"]
  for host in hosts:
    assert (host / "words").read_text().splitlines() == expected

  code, _, errors = call(*run)
  assert code != 0
  assert "Already training here" in errors

  assert call("stop", *NAMES.split())[1].count("told to save and stop") == 2
  wait_for(call, "ended with 75: saved")

  for host in hosts:
    (host / "finish").touch()
  assert call(*run)[0] == 0
  wait_for(call, "ended with 0")
  for host in hosts:
    assert (host / "words").read_text().splitlines() == expected * 2
