"""A run whose data and folder are in a bucket is the run that it is on a disk, file by file."""

import contextlib
import io
import itertools
import json
import os
import re
import signal
import time
from unittest import mock

import buckets
import outages
import pytest
import tiny_dataset
from absl import flags
from runs import before_step, idle, records, saved_steps
from tiny_dataset import last_digest

from fal_jax import checkpoint, data, restore
from fal_jax.distributed import processes
from fal_jax.errors import InputError, Interrupted, Unreachable
from fal_jax.output import bucket, owner
from fal_jax.predict import FaceAligner

RUN, DATA = f"gs://{buckets.NAME}/run", f"gs://{buckets.NAME}/data"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """Workdir of a run on a disk that nothing interrupted."""
  return tiny_dataset.trained(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def there(folder):
  """A bucket that holds the dataset."""
  with buckets.served() as bucket:
    bucket.upload(folder, "data")
    yield bucket


class Killed(Exception):
  """Ends a run in this process as a kill would: what it still writes is taken back."""


@pytest.fixture(scope="module")
def finished(there, tmp_path_factory):
  """What a run in the bucket left that was stopped at step 3, resumed, killed before step 8, and
  resumed; and what it printed at last."""
  config = tiny_dataset.config(DATA)
  with pytest.raises(Interrupted, match="Stopped at step 3 of 12 and saved in gs://faces/run"):
    stop = before_step(3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    tiny_dataset.run_without_figures(config, RUN, around_step=stop)
  assert f"run/{owner.NAME}" not in there.objects

  left = {}

  def kill(_):
    left.update(there.objects)
    raise Killed

  with pytest.raises(Killed):
    tiny_dataset.run_without_figures(config, RUN, around_step=before_step(5, kill))
  there.objects.clear()
  there.objects.update(left)
  assert f"run/{owner.NAME}" in left

  impatient = mock.patch.multiple(owner, BEAT=0.05, PATIENCE=0.2)
  with contextlib.redirect_stdout(io.StringIO()) as printed, impatient:
    tiny_dataset.run(config, RUN)
  return there.download("run", tmp_path_factory.mktemp("finished")), printed.getvalue()


def names(workdir):
  """Files of a run: without those of checkpoints, where orbax has its own for buckets."""
  files = {path.relative_to(workdir).as_posix() for path in workdir.rglob("*") if path.is_file()}
  files = {re.sub(r"tfevents.*", "tfevents", name) for name in files}
  return {name for name in files if not name.startswith("checkpoints/")}


def content(path):
  """All of a file; of results without the commit, which may change while the tests run."""
  if path.suffix != ".json":
    return path.read_bytes()
  results = json.loads(path.read_text())
  del results["provenance"]["git_commit"]
  return results


@pytest.mark.heavy
def test_stopped_and_killed_in_a_bucket_it_leaves_what_a_whole_run_leaves(finished, whole):
  run, printed = finished
  assert "No sign of life" in printed
  assert re.search(r"Resuming from step [35] of 12 in gs://faces/run", printed)
  assert last_digest(run) == last_digest(whole)
  assert saved_steps(run) == saved_steps(whole)
  assert names(run) == names(whole)
  for name in ("loss", "learning_rate", "gradient_norm", "test/nme_ic"):
    assert records(run, name) == records(whole, name)
  for name in names(whole) - {"config.json", "metrics.jsonl", "tensorboard/events.out.tfevents"}:
    assert content(run / name) == content(whole / name), name
  settings = json.loads((run / "config.json").read_text())
  assert settings["data"].pop("dir") == DATA
  expected = json.loads((whole / "config.json").read_text())
  del expected["data"]["dir"]
  assert settings == expected


@pytest.mark.heavy
def test_a_network_is_evaluated_and_used_where_it_lies(finished, there, whole, run_main, tmp_path):
  there.remove("run/eval/test.json")
  code, _, errors = run_main(workdir=RUN, mode="eval")
  assert (code, errors) == (0, "")
  again = there.download("run", tmp_path)
  assert content(again / "eval/test.json") == content(whole / "eval/test.json")
  assert restore.saved_config(RUN).data.dir == DATA
  assert FaceAligner.from_checkpoint(RUN).origin == {"workdir": RUN, "step": 12}


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["503", "cut"])
def test_an_outage_in_mid_run_is_a_sentence_and_the_run_resumes(there, capfd, folder, kind):
  """Data on the disk, so that it is the run's own folder that does not answer."""
  run = f"gs://{buckets.NAME}/outage_{kind}"
  config = tiny_dataset.config(folder)
  with contextlib.ExitStack() as on_exit:
    batches = itertools.count(1)

    def act(_):
      if next(batches) == 8:
        done = f"outage_{kind}/checkpoints/5/commit_success.txt"
        while done not in there.objects:
          time.sleep(0.01)
        on_exit.enter_context(outages.outage(there, kind))

    if not flags.FLAGS.is_parsed():
      flags.FLAGS(["main"])
    code = processes.exit_code("train", lambda: idle(config, run, on_batch=act))
  errors = capfd.readouterr().err
  assert code == 75
  assert errors.count("cannot be reached any more") == 1 and "Traceback" not in errors

  restored = checkpoint.Checkpoints._restore

  def restored_in_outage(self, *args):
    with outages.outage(there, kind):
      return restored(self, *args)

  outage = mock.patch.object(checkpoint.Checkpoints, "_restore", restored_in_outage)
  with outage, pytest.raises(Unreachable):  # the checkpoint is not taken for damaged
    idle(config, run)

  idle(config, run)
  assert f"Resuming from step 5 of 12 in {run}" in capfd.readouterr().out


def test_records_that_never_come_are_a_sentence(there, monkeypatch):
  """array_record goes on asking for ever, also when the bucket answers again."""
  split = data.open_split(
    tiny_dataset.NAME, "train", data_dir=DATA, num_landmarks=tiny_dataset.MARKUP
  )
  assert split[0]["landmarks"].shape == (tiny_dataset.MARKUP, 2)
  monkeypatch.setattr(bucket, "ANSWER_WITHIN", 1.0)
  with outages.outage(there, "503"):
    for read in (lambda: split[5], lambda: split.serialized(5, 7)):
      with pytest.raises(Unreachable, match=r"gs://faces/data/\S+ has not answered for 1 s: noth"):
        read()


def test_what_is_not_in_the_bucket_is_said_in_a_sentence(there):
  with pytest.raises(InputError, match="There is no run in gs://faces/none"):
    restore.saved_config("gs://faces/none")
  config = tiny_dataset.config("gs://faces/none")
  with pytest.raises(
    InputError, match=r"no dataset 'tiny_faces' in gs://faces/none.*cp --recursive"
  ):
    tiny_dataset.run_without_figures(config, RUN)


@pytest.mark.parametrize(
  ("mode", "flags"),
  [
    ("predict", {"images": ["a.jpg"], "out": "gs://faces/out"}),
    ("export", {"weights": "free-68", "out": "gs://faces/out"}),
    ("export", {"weights": "free-68", "web": "gs://faces/out"}),
    ("eval", {"workdir": "s3://faces/run"}),
    ("export", {"weights": "s3://faces/run", "out": "out"}),
  ],
)
def test_what_cannot_be_an_address_is_refused_and_no_folder_is_made(
  run_main, mode, flags, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  code, _, errors = run_main(mode=mode, **flags)
  assert code == 2
  assert "faces/" in errors and errors.count("\n") == 1
  assert list(tmp_path.iterdir()) == []
