"""The thin layer over buckets: what is an address, what stays here, who owns a folder."""

import json
import os
import pathlib
import subprocess
import sys
import threading

import buckets
import pytest

from fal_jax.errors import InputError, Unreachable
from fal_jax.output import bucket, folders, metric_log, owner
from fal_jax.output.metric_log import MetricLog

RUN = f"gs://{buckets.NAME}/run"


@pytest.fixture(scope="module")
def served():
  with buckets.served() as there:
    yield there


@pytest.fixture
def there(served, tmp_path, monkeypatch):
  """An empty bucket, and no folder `gs:` in the current one at the end."""
  served.objects.clear()
  monkeypatch.chdir(tmp_path)
  yield served
  assert [path.name for path in tmp_path.iterdir() if ":" in path.name] == []


# ---- Addresses


def test_what_is_no_address_is_a_folder_as_before(tmp_path):
  assert folders.locate("~/run").is_absolute()
  assert folders.locate(tmp_path) == tmp_path


def test_an_address_keeps_its_slashes_and_parts(there):
  path = folders.locate(f"{RUN}/") / "eval" / "test.json"
  assert str(path) == f"{RUN}/eval/test.json"
  assert str(folders.resolve(RUN)) == RUN


def test_an_address_that_pathlib_has_seen_is_no_folder(there):
  with pytest.raises(InputError, match=r"--workdir=gs:/faces/run .* as text"):
    MetricLog(pathlib.Path(RUN), resume_step=0)


@pytest.mark.parametrize("address", ["s3://b/run", "http://x/run", "gs://", "GS://b/run"])
def test_other_addresses_are_refused_in_a_sentence(there, address):
  with pytest.raises(InputError, match=r"--init_from=.* is no address .* gs://BUCKET/FOLDER"):
    folders.locate(address, flag="--init_from")


def test_missing_packages_are_named_with_the_command(monkeypatch):
  monkeypatch.setattr(bucket, "_PACKAGES", ("no_such_package", "no_such.one"))
  with pytest.raises(InputError, match=r"no_such_package, no_such.one\): pip install 'fal_jax\["):
    folders.locate(RUN)


def test_what_stays_on_this_machine_says_how_to_copy_it(there):
  with pytest.raises(InputError, match=r"^--out=gs://.*gcloud storage cp --recursive"):
    folders.local("gs://b/out", flag="--out")


# ---- Writing


def test_a_file_is_one_object_and_leaves_no_other(there):
  folder = folders.make_dir(RUN, "eval")
  assert there.objects == {}
  folders.write_atomic(folder / "test.json", "{}")
  folders.write_atomic(folder / "test.json", b"{1}")
  assert {name: each.content for name, each in there.objects.items()} == {
    "run/eval/test.json": b"{1}"
  }
  folders.remove(folder)
  assert there.objects == {}


def test_a_bucket_that_cannot_be_written_to_is_named_with_the_reason(there, monkeypatch):
  monkeypatch.setattr(there, "writable", False)
  with pytest.raises(InputError, match=r"to --out=gs://faces/run \(.*: name another folder"):
    folders.make_dir(RUN, flag="--out")
  with pytest.raises(InputError, match=r"Nothing can be written to --workdir=gs://none/run \(.*"):
    folders.make_dir("gs://none/run")


def test_a_bucket_that_cannot_be_read_is_named_with_the_reason(there, monkeypatch):
  def forbid(_):
    raise OSError("Forbidden")

  path = folders.locate(RUN)
  monkeypatch.setattr(type(path), "exists", forbid)
  with pytest.raises(InputError, match=r"gs://faces/run cannot be read \(OSError: Forbidden\)"):
    folders.exists(path)


# ---- Failures


def of_client(module, text="Backend Error", **values):
  return type("Error", (Exception,), {"__module__": module, **values})(text)


@pytest.mark.parametrize(
  "error",
  [
    of_client("gcsfs.retry", code=503),
    of_client("gcsfs.retry", code="429"),
    of_client("aiohttp.client_exceptions"),
    of_client("google.auth.exceptions"),
    ValueError(
      "ABORTED: Error reading gs://b/x: CURL error Server returned nothing [curl_code='52']"
    ),
    ValueError("ABORTED: Error reading gs://b/x: Backend Error [http_response_code='503']"),
  ],
)
def test_a_network_or_service_that_fails_is_a_sentence_and_another_start_may_help(error):
  sentence = r"cannot be reached .*Err.* same command to resume"
  with pytest.raises(Unreachable, match=sentence) as said, bucket.failures_said():
    raise RuntimeError("checkpoint") from error
  assert said.value.exit_code == 75 and "\n" not in str(said.value)


@pytest.mark.parametrize(
  "error",
  [
    of_client("gcsfs.retry", code=401),
    OSError("Forbidden: https://storage.googleapis.com/x\nno access"),
    ValueError("PERMISSION_DENIED: Error writing gs://b/x [http_response_code='403']"),
  ],
)
def test_a_bucket_that_refuses_is_for_the_user_to_see_to(error):
  with pytest.raises(InputError, match="has refused") as said, bucket.failures_said():
    raise error
  assert said.value.exit_code == 2


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyError("run"), FileNotFoundError("x")])
def test_what_is_no_failure_of_a_bucket_is_raised_as_it_is(error):
  with pytest.raises(type(error)), bucket.failures_said():
    raise error


# ---- The log


def lines(there):
  return there.objects[f"run/{metric_log.NAME}"].content.splitlines()


def test_a_log_is_copied_before_checkpoints_and_now_and_then(there):
  seconds = [0.0]
  with MetricLog(RUN, resume_step=0, clock=lambda: seconds[0]) as log:
    log.write(1, {"loss": 1.0})
    assert there.objects == {}
    seconds[0] = metric_log.COPY_EVERY
    log.write(2, {"loss": 2.0})
    assert len(lines(there)) == 2
    log.write(3, {"loss": 3.0})
    assert len(lines(there)) == 2
    log.save()
    assert len(lines(there)) == 3
    log.write(4, {"loss": 4.0})
  assert [record["step"] for record in metric_log.read(RUN)] == [1, 2, 3, 4]

  with MetricLog(RUN, resume_step=2) as log:
    log.write(3, {"loss": 3.0})
  assert [record["step"] for record in metric_log.read(RUN)] == [1, 2, 3]
  assert sum("tfevents" in name for name in there.objects) in (1, 2)  # named by the second


# ---- Owners


def test_a_run_that_is_alive_keeps_its_folder_to_itself(there):
  first = owner.Object(folders.locate(RUN), beat=0.05, patience=5)
  said = []
  with pytest.raises(InputError, match=r"Another process is training in gs://faces/run, process"):
    owner.Object(folders.locate(RUN), beat=0.05, patience=5, say=said.append)
  assert "belongs to process" in said[0]
  first.check()
  first.release()
  first.release()
  assert there.objects == {}


def test_a_run_that_was_killed_is_followed_after_its_last_sign_of_life(there):
  left = {"run": "a", "host": "lost", "pid": 7, "beat": 3, "time": "then"}
  there.write(f"run/{owner.NAME}", json.dumps(left).encode())
  said = []
  second = owner.Object(folders.locate(RUN), beat=0.05, patience=0.2, say=said.append)
  assert "process 7 on lost (last sign of life then)" in said[0]
  assert "taken over" in said[1]
  second.release()
  assert there.objects == {}


def test_a_run_that_was_killed_on_this_machine_is_followed_at_once(there):
  ended = subprocess.Popen([sys.executable, "-c", ""])
  left = {"run": "a", "host": "here", "pid": ended.pid, **owner._identity(ended.pid)}
  ended.wait()
  there.write(f"run/{owner.NAME}", json.dumps(left).encode())
  said = []
  owner.Object(folders.locate(RUN), beat=0.05, patience=60, say=said.append).release()
  assert len(said) == 1 and "has ended without leaving" in said[0]

  there.write(f"run/{owner.NAME}", json.dumps(left).encode())
  owner.forget_dead(folders.locate(RUN))
  assert there.objects == {}


@pytest.mark.parametrize(
  "change", [{}, {"numbered_by": "another machine"}, {"numbered_by": None, "pid": 2**30}]
)
def test_a_run_that_may_be_alive_keeps_its_folder(there, change):
  alive = {"run": "a", "pid": os.getpid(), **owner._identity(os.getpid()), **change}
  there.write(f"run/{owner.NAME}", json.dumps(alive).encode())
  owner.forget_dead(folders.locate(RUN))
  assert f"run/{owner.NAME}" in there.objects


def test_a_number_that_another_process_has_now_is_not_the_owner(there):
  left = {"run": "a", "pid": os.getpid(), **owner._identity(os.getpid()), "started": "1"}
  there.write(f"run/{owner.NAME}", json.dumps(left).encode())
  owner.forget_dead(folders.locate(RUN))
  assert there.objects == {}


def test_a_run_that_ends_meanwhile_is_followed_at_once(there):
  there.write(f"run/{owner.NAME}", b'{"run": "a"}')
  ends = threading.Timer(0.1, there.remove, [f"run/{owner.NAME}"])
  ends.start()
  said = []
  owner.Object(folders.locate(RUN), beat=0.03, patience=60, say=said.append).release()
  assert len(said) == 1


def test_a_run_that_was_taken_for_dead_stops_and_leaves_the_folder_alone(there):
  first = owner.Object(folders.locate(RUN), beat=60, patience=0.2)
  other = json.dumps({"run": "b", "host": "new", "pid": 8, "time": "now"}).encode()
  there.write(f"run/{owner.NAME}", other)
  with pytest.raises(InputError, match=r"taken over .* process 8 on new .* stops without saving"):
    first.check()
  first.release()
  assert there.objects[f"run/{owner.NAME}"].content == other
