"""What describes machines: Dockerfile, Kubernetes manifests, SkyPilot's task."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_dataset
import yaml

from fal_jax.distributed import group

LAUNCH = tiny_dataset.ROOT / "launch"
GOLDEN = Path(__file__).parent / "golden"
DOCKERFILE = (LAUNCH / "Dockerfile").read_text()


def manifest(path):
  """The JobSet, its job and its pod."""
  jobset = yaml.safe_load(path.read_text())
  job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
  return jobset, job, job["template"]["spec"]


def copied():
  """Pairs of what the Dockerfile copies and where to, relative to the image's folder."""
  for line in re.findall(r"^COPY (.*)$", DOCKERFILE, flags=re.MULTILINE):
    *sources, target = line.split()
    for source in sources:
      yield source, source if target == "./" else target


def test_the_image_holds_what_dockerignore_lets_in_and_no_more():
  lines = (tiny_dataset.ROOT / ".dockerignore").read_text().splitlines()
  rules = [line for line in lines if line and not line.startswith("#")]
  assert rules[0] == "*"
  assert {rule[1:] for rule in rules if rule[0] == "!"} == {source for source, _ in copied()}


def test_the_image_is_made_from_the_lock_of_its_python_and_runs_as_a_user():
  version = re.search(r"^ARG PYTHON=(.*)$", DOCKERFILE, flags=re.MULTILINE).group(1)
  assert (LAUNCH / "locks" / f"py{version.replace('.', '')}.txt").is_file()
  assert "--requirement" in DOCKERFILE
  assert re.findall(r"^USER (.*)$", DOCKERFILE, flags=re.MULTILINE) == ["1000"]


@pytest.mark.slow
def test_what_the_image_holds_is_enough_to_run(tmp_path):
  for source, target in copied():
    path = tiny_dataset.ROOT / source
    if path.is_dir():
      ignored = shutil.ignore_patterns("__pycache__")
      shutil.copytree(path, tmp_path / target, ignore=ignored)
    else:
      shutil.copy(path, tmp_path / target)
  code = """
import fal_jax, tfds_builders.prepare
from configs import w300_best
from fal_jax import train
from fal_jax.output import commit
print(fal_jax.__file__, commit.git_commit(), w300_best.get_config().data.name)
"""
  environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FAL_JAX_COMMIT": "0123abcd"}
  environment |= {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env={**environment, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)},
    capture_output=True,
    text=True,
    check=True,
    timeout=100,
  )
  assert done.stdout.split() == [str(tmp_path / "fal_jax" / "__init__.py"), "0123abcd", "w300"]


def test_the_manifest_for_tpus_is_that_of_xpk():
  ours, job, pod = manifest(LAUNCH / "jobset.yaml")
  theirs, their_job, their_pod = manifest(GOLDEN / "xpk_manifest.yaml")
  assert (ours["apiVersion"], ours["kind"]) == (theirs["apiVersion"], theirs["kind"])
  assert ours["metadata"]["annotations"] == theirs["metadata"]["annotations"]
  for key in ("ttlSecondsAfterFinished", "failurePolicy"):
    assert ours["spec"][key] == theirs["spec"][key]
  for key in ("parallelism", "completions", "backoffLimit"):
    assert job[key] == their_job[key]
  for key in (
    "restartPolicy",
    "nodeSelector",
    "tolerations",
    "hostNetwork",
    "dnsPolicy",
    "terminationGracePeriodSeconds",
  ):
    assert pod[key] == their_pod[key]
  (container,), (their_container,) = pod["containers"], their_pod["containers"]
  for key in ("resources", "securityContext"):
    assert container[key] == their_container[key]
  assert all(word.startswith("--") for word in container["args"])


def test_both_manifests_start_again_after_75_and_not_after_a_mistake():
  for name in ("jobset.yaml", "jobset_gpu.yaml"):
    _, job, pod = manifest(LAUNCH / name)
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["operator"] == "In"
    assert rule["onExitCodes"]["values"] == [1, 2, 3]
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert pod["terminationGracePeriodSeconds"] == 120


def test_the_manifest_for_gpus_names_the_processes():
  ours, job, pod = manifest(LAUNCH / "jobset_gpu.yaml")
  (container,) = pod["containers"]
  assert job["parallelism"] == job["completions"]
  assert job["completionMode"] == "Indexed"
  fields = {"jobset-name": "fal-jax", "replicatedjob-name": "slice-job", "completion-index": "1"}
  values = {}
  for variable in container["env"]:
    field = variable["valueFrom"]["fieldRef"]["fieldPath"]
    values[variable["name"]] = next(v for k, v in fields.items() if f"{k}']" in field)
  assert ours["metadata"]["name"] == fields["jobset-name"]
  assert ours["spec"]["replicatedJobs"][0]["name"] == fields["replicatedjob-name"]

  words = [
    re.sub(r"\$\((\w+)\)", lambda name: values[name.group(1)], word) for word in container["args"]
  ]
  options = dict(word.removeprefix("--").split("=", 1) for word in words)
  found = group.find(
    {},
    coordinator=options["coordinator"],
    process_index=int(options["process_index"]),
    process_count=int(options["process_count"]),
  )
  assert found.coordinator == "fal-jax-slice-job-0-0.fal-jax:7777"
  assert (found.index, found.count) == (1, job["parallelism"])


@pytest.mark.slow
def test_the_shell_of_xpk_hands_on_the_signal_and_the_exit_code(tmp_path):
  _, _, pod = manifest(GOLDEN / "xpk_manifest.yaml")
  (tmp_path / "python").write_text(
    "#!/usr/bin/env bash\ntrap 'exit 75' TERM\ntouch started\nwhile :; do sleep 0.1; done\n"
  )
  (tmp_path / "python").chmod(0o755)
  process = subprocess.Popen(
    pod["containers"][0]["command"],
    cwd=tmp_path,
    env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    stdout=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 60
  while not (tmp_path / "started").exists():
    assert time.monotonic() < deadline
    time.sleep(0.05)
  process.send_signal(signal.SIGTERM)
  printed, _ = process.communicate(timeout=60)
  assert process.returncode == 75
  assert "EXIT_CODE=75" in printed


@pytest.mark.parametrize("nodes", [1, 3])
def test_the_task_for_skypilot_names_the_processes(nodes, tmp_path):
  task = yaml.safe_load((LAUNCH / "sky.yaml").read_text())
  assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
  python = tmp_path / ".venv" / "bin" / "python"
  python.parent.mkdir(parents=True)
  python.write_text("#!/usr/bin/env bash\nprintf '%s\\n' \"$@\"\n")
  python.chmod(0o755)
  done = subprocess.run(
    ["bash", "-euc", task["run"]],
    cwd=tmp_path,
    env={
      "PATH": os.environ["PATH"],
      "SKYPILOT_NODE_IPS": "\n".join(f"10.0.0.{n}" for n in range(nodes)),
      "SKYPILOT_NODE_RANK": str(nodes - 1),
      "SKYPILOT_NUM_NODES": str(nodes),
    },
    capture_output=True,
    text=True,
    check=True,
  )
  words = done.stdout.splitlines()
  assert words[:2] == ["-m", "fal_jax.main"]
  options = dict(word.removeprefix("--").split("=", 1) for word in words[2:])
  found = group.find(
    {},
    coordinator=options["coordinator"],
    process_index=int(options["process_index"]),
    process_count=int(options["process_count"]),
  )
  if nodes == 1:
    assert found is None
  else:
    assert (found.index, found.count, found.coordinator) == (2, 3, "10.0.0.0:7777")
