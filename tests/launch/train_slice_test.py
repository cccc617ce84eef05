"""launch/train_gpu.sh and train_tpu.sh: slices of a training, with a fake one in its place."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tiny_dataset

LAUNCH = tiny_dataset.ROOT / "launch"
# An interpreter that computes on what $ON says and trains as $DO says. It leaves the words that it
# was called with, its number, and what a training leaves.
FAKE = """\
#!/usr/bin/env bash
if [ "$1" = -c ]; then
  echo "a warning" >&2
  echo "${ON:-cpu 1 cpu}"
  exit
fi
printf '%s\\n' "$@" >"$LEFT/words"
mkdir -p "$LEFT/run"
save() {
  cd "$LEFT/run" || exit
  mkdir -p eval "checkpoints/$1/state" checkpoints/9.tmp
  echo "$1" | tee config.json eval/val.json "checkpoints/$1/state/x" >/dev/null
}
case $DO in
  finish) save 100 ;;
  refuse) echo "no such dataset"; exit 2 ;;
  diverge) save 20; exit 3 ;;
  crash) save 20; kill -KILL $$ ;;
  import) ;;  # listens to nothing yet
  train) trap 'save 30; echo saved; exit 75' TERM ;;
  evaluate) trap 'trap - TERM; echo going on' TERM ;;
esac
[ "$DO" != finish ] || exit 0
echo $$ >"$LEFT/number"
echo "training"
while :; do sleep 0.1; done
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
  """The script's call, for `subprocess`; further options are appended to it."""
  (tmp_path / "python").write_text(FAKE)
  (tmp_path / "python").chmod(0o755)
  monkeypatch.setenv("LEFT", str(tmp_path))
  monkeypatch.setenv("FAL_JAX_ACCELERATOR", "cpu")
  script = [str(LAUNCH / "train_gpu.sh"), f"--python={tmp_path / 'python'}"]
  return [*script, "--config=configs/demo.py", f"--workdir={tmp_path / 'run'}"]


def run(command, **environment):
  done = subprocess.run(
    command,
    env={**os.environ, **environment},
    capture_output=True,
    text=True,
    check=False,
    timeout=100,
  )
  return done.returncode, done.stdout, done.stderr


def wait_for(condition):
  deadline = time.monotonic() + 60
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.05)


@pytest.fixture
def start(command, tmp_path, monkeypatch):
  """Starts the script, waits for the fake training, and returns both as (process, number)."""
  started = []

  def start(do, *options):
    monkeypatch.setenv("DO", do)
    process = subprocess.Popen(
      [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    started.append(process)
    wait_for((tmp_path / "number").exists)
    wait_for((tmp_path / "number").read_text)
    return process, int((tmp_path / "number").read_text())

  yield start
  for process in started:
    process.kill()
    process.communicate()


def is_running(number):
  try:
    return ") Z" not in Path(f"/proc/{number}/stat").read_text()
  except FileNotFoundError:
    return False


def is_watched(number):
  """Whether something waits for the time to be up."""
  command = f"launch/watch.sh\0{number}\0".encode()
  for file in Path("/proc").glob("[0-9]*/cmdline"):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
      if command in file.read_bytes():
        return True
  return False


# ---- Refused


@pytest.mark.parametrize(
  ("change", "named"),
  [
    (["--wrkdir=x"], "Unknown option '--wrkdir=x'"),
    (["--workdir", "x"], "Unknown option '--workdir'"),
    (["train"], "Unknown option 'train'"),
    (["--config="], "Unknown option '--config='"),
    (["--minutes=0"], "--minutes must be a positive number, got '0'"),
    (["--minutes=-3"], "--minutes must be a positive number, got '-3'"),
    (["--minutes=ten"], "--minutes must be a positive number, got 'ten'"),
    (["--bench"], "--bench installs what it measures"),
    (["--bring=/proc/x"], "--bring=/proc/x is not a folder that can be made"),
  ],
)
def test_a_wrong_option_is_refused_before_anything_starts(command, tmp_path, change, named):
  code, out, err = run([*command, *change])

  assert (code, out) == (2, "") and named in err and len(err.splitlines()) == 1
  assert sorted(path.name for path in tmp_path.iterdir()) == ["python"]


@pytest.mark.parametrize("missing", ["config", "workdir"])
def test_config_and_workdir_are_needed(command, missing):
  code, _, err = run([word for word in command if not word.startswith(f"--{missing}")])
  assert code == 2 and f"No --{missing} given" in err and len(err.splitlines()) == 1


def test_the_workdir_is_not_what_is_brought_back(command, tmp_path):
  (tmp_path / "run").mkdir()
  code, _, err = run([*command, f"--bring={tmp_path}/run/"])
  assert code == 2 and "--bring and --workdir are the same folder" in err


@pytest.mark.parametrize(
  ("script", "kind", "on", "named"),
  [
    ("train_gpu.sh", "cuda12", "cpu 1 cpu", "JAX finds no GPU here; it says 'cpu 1 cpu'"),
    ("train_tpu.sh", "tpu", "cpu 1 cpu", "JAX finds no TPU here; it says 'cpu 1 cpu'"),
    ("train_gpu.sh", "tpu", "tpu 4 TPU v4", "accelerator is tpu: use launch/train_tpu.sh"),
    ("train_tpu.sh", "cuda13", "gpu 1 H100", "accelerator is cuda13: use launch/train_gpu.sh"),
  ],
)
def test_without_its_accelerator_a_script_refuses(command, script, kind, on, named):
  command = [str(LAUNCH / script), *command[1:]]
  code, out, err = run(command, FAL_JAX_ACCELERATOR=kind, ON=on)
  assert (code, out) == (2, "") and named in err and len(err.splitlines()) == 1


def test_a_machine_without_accelerator_is_refused(command, tmp_path):
  if list(Path("/dev").glob("accel*")) or list(Path("/dev").glob("vfio/[0-9]*")):
    pytest.skip("this machine has a TPU")
  no_driver = tmp_path / "bin" / "nvidia-smi"
  no_driver.parent.mkdir()
  no_driver.write_text("#!/bin/sh\nexit 9\n")
  no_driver.chmod(0o755)
  path = f"{no_driver.parent}:{os.environ['PATH']}"

  code, out, err = run(command, FAL_JAX_ACCELERATOR="", PATH=path)

  assert (code, out) == (2, "") and "No GPU or TPU found" in err and len(err.splitlines()) == 1


# ---- Trained


def test_what_a_driver_says_after_the_devices_is_no_answer(command):
  said = "W0000 a driver speaks\ngpu 1 NVIDIA H100\nE0000 the context is destroyed"
  code, out, err = run(command, FAL_JAX_ACCELERATOR="cuda13", ON=said, DO="finish")
  assert (code, err) == (0, "") and "Training on gpu 1 NVIDIA H100\n" in out


@pytest.mark.parametrize(
  ("script", "kind", "on"),
  [("train_gpu.sh", "cuda13", "gpu 1 NVIDIA H100"), ("train_tpu.sh", "tpu", "tpu 8 TPU v5 lite")],
)
def test_a_finished_run_is_brought_back_whole(command, tmp_path, script, kind, on):
  brought, options = tmp_path / "brought", ["--config.seed=3", "--config.data.cache=none"]
  command = [str(LAUNCH / script), *command[1:], f"--bring={brought}", *options]

  code, out, err = run(command, FAL_JAX_ACCELERATOR=kind, ON=on, DO="finish")

  assert (code, err) == (0, "") and f"Training on {on}\n" in out
  words = (tmp_path / "words").read_text().split()
  assert words == [
    "-m",
    "fal_jax.main",
    "--config=configs/demo.py",
    f"--workdir={tmp_path / 'run'}",
    "--config.data.cache=device",
    *options,
  ]
  files = {str(path.relative_to(brought)) for path in brought.rglob("*") if path.is_file()}
  assert files == {"config.json", "eval/val.json", "checkpoints/100/state/x", "training.log"}


@pytest.mark.parametrize(
  ("do", "expected", "is_brought"),
  [("refuse", 2, False), ("diverge", 3, True), ("crash", 137, True)],
)
def test_how_the_training_ends_is_how_the_script_ends(command, tmp_path, do, expected, is_brought):
  brought = tmp_path / "brought"
  code, out, err = run([*command, f"--bring={brought}"], DO=do)

  assert code == expected and (not err or (do == "crash" and "Killed" in err))
  assert do != "refuse" or "no such dataset\n" in out
  assert any(brought.iterdir()) == is_brought


@pytest.mark.slow  # the time
def test_when_the_time_is_up_the_training_saves_and_is_brought_back(command, tmp_path):
  brought = tmp_path / "brought"
  (brought / "checkpoints" / "20").mkdir(parents=True)
  (brought / "checkpoints" / "notes").mkdir()
  (brought / "checkpoints" / "30").mkdir()  # of another run

  code, out, err = run([*command, "--minutes=0.1", f"--bring={brought}"], DO="train")

  assert (code, err) == (75, "") and "training\nsaved\n" in out
  assert sorted(path.name for path in (brought / "checkpoints").iterdir()) == ["30", "notes"]
  assert (brought / "checkpoints" / "30" / "state" / "x").read_text() == "30\n"
  assert "saved" in (brought / "training.log").read_text()
  assert not is_running(int((tmp_path / "number").read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_passed_on_and_the_training_saves(start, tmp_path, number):
  script, training = start("train", f"--bring={tmp_path / 'brought'}")

  script.send_signal(number)

  out, _ = script.communicate(timeout=60)
  assert script.returncode == 75 and "saved" in out
  assert (tmp_path / "brought" / "checkpoints" / "30").is_dir()
  assert not is_running(training)


def test_the_second_signal_stops_what_goes_on_after_the_first(start, tmp_path):
  script, training = start("evaluate")
  wait_for(lambda: is_watched(training))
  script.terminate()
  wait_for(lambda: "going on" in (tmp_path / "run.log").read_text())
  wait_for(lambda: not is_watched(training))  # the end of the time is not that second signal
  assert is_running(training)

  script.terminate()

  assert script.wait(60) == 128 + signal.SIGTERM
  assert not is_running(training)


def test_a_signal_before_the_training_listens_loses_nothing(start):
  script, training = start("import")
  script.terminate()
  out, _ = script.communicate(timeout=60)
  assert script.returncode == 75 and "Stopped before the first step" in out
  assert not is_running(training)


def test_a_killed_script_leaves_no_training_behind(start, tmp_path):
  script, training = start("train")
  wait_for(lambda: is_watched(training))
  os.kill(script.pid, signal.SIGKILL)  # nobody waits for it: it stays as a zombie
  wait_for(lambda: not is_running(training))
  assert (tmp_path / "run" / "checkpoints" / "30").is_dir()


# ---- Measured first

BENCH = """\
#!/usr/bin/env bash
mkdir -p "$1"
echo "$FAL_JAX_ACCELERATOR $2" >"$1/float32.json"
[ "$DO" != wait ] || { echo measuring; sleep 60; }
"""


@pytest.fixture
def with_bench(command, tmp_path):
  """The call in a copy with an environment and a bench of its own."""
  copy = tmp_path / "copy"
  shutil.copytree(LAUNCH, copy / "launch", ignore=shutil.ignore_patterns("*.png", "*.jpg"))
  (copy / "launch" / "environment.sh").write_text("make_environment() { :; }\n")
  (copy / "launch" / "bench_gpu.sh").write_text(BENCH)
  (copy / ".venv" / "bin").mkdir(parents=True)
  (tmp_path / "python").rename(copy / ".venv" / "bin" / "python")
  return [str(copy / "launch" / "train_gpu.sh"), *command[2:], f"--bring={tmp_path / 'brought'}"]


def test_the_bench_comes_before_the_training_and_is_brought_back(with_bench, tmp_path):
  code, _, err = run([*with_bench, "--bench=forward,step"], DO="finish")

  assert (code, err) == (0, "")
  measured = (tmp_path / "brought" / "bench_gpu" / "float32.json").read_text()
  assert measured == "cpu --parts=forward,step\n"
  assert (tmp_path / "brought" / "checkpoints" / "100").is_dir()


def test_a_bench_that_is_stopped_is_not_followed_by_a_training(with_bench, tmp_path):
  environment = {**os.environ, "DO": "wait"}
  with subprocess.Popen(
    [*with_bench, "--bench"], env=environment, stdout=subprocess.PIPE
  ) as script:
    wait_for((tmp_path / "run.log").exists)
    wait_for(lambda: "measuring" in (tmp_path / "run.log").read_text())
    script.terminate()
    assert script.wait(60) == 75

  assert not (tmp_path / "words").exists()
  assert (tmp_path / "brought" / "bench_gpu" / "float32.json").is_file()
