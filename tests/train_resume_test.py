"""A run that stops resumes without a trace of the stop, and under its own config only."""

import contextlib
import io
import json
import os
import shutil
import signal
import time
import types

import numpy as np
import pytest
import tiny_dataset
from runs import before_step, idle, records, saved_steps
from tiny_dataset import last_digest

from fal_jax import checkpoint, config_json, data, evaluate, train
from fal_jax.errors import InputError, Interrupted
from fal_jax.output import stopping
from fal_jax.output.changes import Place, check_resumable, place

LAST = 12  # steps of a whole run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """Workdir of a run that nothing interrupted."""
  return tiny_dataset.trained(tmp_path_factory.getbasetemp())


# ---- Stopping


@pytest.fixture(scope="module")
def stopped(folder, tmp_path_factory):
  """Workdir of a run that SIGTERM stopped after step 3, and its last words."""
  workdir = tmp_path_factory.mktemp("stopped")
  around = before_step(3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
  with pytest.raises(Interrupted) as error:
    tiny_dataset.run_without_figures(tiny_dataset.config(folder), workdir, around_step=around)
  return workdir, str(error.value)


@pytest.fixture(scope="module")
def resumed(stopped, folder):
  """The same workdir after the run was started again; what was saved before, and what it prints."""
  workdir, _ = stopped
  saved = saved_steps(workdir)
  with contextlib.redirect_stdout(io.StringIO()) as printed:
    tiny_dataset.run_without_figures(tiny_dataset.config(folder), workdir)
  return workdir, saved, printed.getvalue()


@pytest.mark.slow
def test_a_stop_is_saved_and_says_how_to_resume(stopped, resumed):
  workdir, last_words = stopped
  _, saved, printed = resumed
  assert saved == [3]
  assert "Stopped at step 3 of 12 and saved" in last_words
  assert "run the same command to resume" in last_words
  assert f"Resuming from step 3 of 12 in {workdir}" in printed


@pytest.mark.slow
def test_a_stopped_run_ends_in_the_same_bits_as_an_uninterrupted_one(whole, resumed):
  assert last_digest(resumed[0]) == last_digest(whole)


@pytest.mark.slow
def test_a_stop_leaves_no_trace_in_the_log(whole, resumed):
  for name in ("loss", "learning_rate", "gradient_norm", "test/nme_ic"):
    assert records(resumed[0], name) == records(whole, name)


@pytest.mark.slow
def test_a_stop_during_an_evaluation_is_saved_at_once_and_the_evaluation_made_up_for(
  whole, folder, tmp_path, monkeypatch
):
  predict_split, evaluations = evaluate.predict_split, []

  def interrupted(*args, **options):
    evaluations.append(args)
    if len(evaluations) == 1:
      os.kill(os.getpid(), signal.SIGINT)
    return predict_split(*args, **options)

  monkeypatch.setattr(evaluate, "predict_split", interrupted)

  config = tiny_dataset.config(folder, eval__every_epochs=1.0)
  with pytest.raises(Interrupted, match="Stopped at step 2 of 12 and saved"):
    tiny_dataset.run_without_figures(config, tmp_path)
  assert saved_steps(tmp_path) == [2]
  assert records(tmp_path, "test/nme_ic") == {}

  around = before_step(2, lambda _: os.kill(os.getpid(), signal.SIGTERM))  # of this start
  with pytest.raises(Interrupted, match="Stopped at step 4 of 12 and saved"):
    tiny_dataset.run_without_figures(config, tmp_path, around_step=around)
  assert list(records(tmp_path, "test/nme_ic")) == [2, 3]
  assert records(tmp_path).items() <= records(whole).items()


def test_signals_act_as_before_after_a_run(whole):
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_stops_immediately_unless_it_is_an_echo_of_the_first(monkeypatch):
  waits = []

  def echo(seconds):
    """As where a launcher signals a process and its parent, which passes it on."""
    waits.append(seconds)
    for number in (signal.SIGINT, signal.SIGTERM):
      os.kill(os.getpid(), number)

  monkeypatch.setattr(stopping, "time", types.SimpleNamespace(sleep=echo))
  with pytest.raises(KeyboardInterrupt), stopping.stop_on_signal() as requested:
    os.kill(os.getpid(), signal.SIGINT)
    assert requested.is_set()
    assert waits == [stopping.ECHO]
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
  assert len(waits) == 1
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- What may change between two starts


@pytest.fixture(scope="module")
def copy(whole, tmp_path_factory):
  """A finished run that tests may start again."""
  workdir = tmp_path_factory.mktemp("copy") / "run"
  return shutil.copytree(whole, workdir)


def test_a_run_does_not_resume_under_another_codec_and_nothing_is_changed(copy, folder):
  before = (copy / "config.json").read_text()

  with pytest.raises(InputError, match=r"another config.*\n  codec\.sigma: 1\.5 there, 2\.0 here$"):
    tiny_dataset.run_without_figures(tiny_dataset.config(folder, codec__sigma=2.0), copy)
  assert saved_steps(copy) == [10, LAST]
  assert (copy / "config.json").read_text() == before


def saved_by(folder, **changes):
  """What a checkpoint tells of its run besides the weights."""
  config = tiny_dataset.config(folder, **changes)
  return {"config": config_json.to_json(config), "train_images": 12}


@pytest.mark.parametrize(
  ("key", "value", "line"),
  [
    ("optimizer__learning_rate", 1e-3, "optimizer.learning_rate: 0.01 there, 0.001 here"),
    ("augment__scale", (0.9, 1.15), "augment.scale: [0.85, 1.15] there, [0.9, 1.15] here"),
    ("seed", 1, "seed: 0 there, 1 here"),
    ("train__batch_size", 16, "train.batch_size: 8 there, 16 here"),
    ("data__train_split", "fit+val", "data.train_split: train there, fit+val here"),
  ],
)
def test_a_difference_that_affects_the_weights_is_named(folder, tmp_path, key, value, line):
  saved, now = saved_by(folder), saved_by(folder, **{key: value})

  with pytest.raises(InputError) as error:
    check_resumable(saved, now, tmp_path)

  assert str(error.value).endswith(f"or revert these keys:\n  {line}")


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("data__dir", "elsewhere"),
    ("eval__norm", "box"),
    ("eval__splits", ("train",)),
    ("checkpoint__keep", 7),
    ("log__every_steps", 7),
    ("train__epochs", 9.0),
  ],
)
def test_what_does_not_affect_the_weights_may_change(folder, tmp_path, key, value):
  saved, now = saved_by(folder), saved_by(folder, **{key: value})
  assert saved != now
  check_resumable(saved, now, tmp_path)


def test_a_change_that_was_asked_for_is_told_and_all_others_are_still_refused(folder, tmp_path):
  saved = saved_by(folder)
  now = saved_by(folder, train__batch_size=16, log__every_steps=7)
  names = ["train.batch_size", "optimizer.learning_rate", "log.every_steps"]
  changed = check_resumable(saved, now, tmp_path, allow_changed=names)
  assert changed == {"train.batch_size": [8, 16]}

  now = saved_by(folder, train__batch_size=16, codec__sigma=2.0)
  with pytest.raises(InputError, match=r"keys:\n  codec\.sigma: 1\.5 there, 2\.0 here$"):
    check_resumable(saved, now, tmp_path, allow_changed=names)


@pytest.mark.parametrize(
  ("key", "sentence"),
  [
    ("train.batchsize", "is not a key of the config: see configs/default.py"),
    ("train", "is not a key of the config"),
    ("model.features", "a run keeps this key, on which the shape of its state"),
    ("data.mix", "use another --workdir, with --config.init_from"),
  ],
)
def test_what_cannot_be_allowed_to_change_is_refused_at_once(folder, tmp_path, key, sentence):
  names = ["train.batch_size", key]
  with pytest.raises(InputError, match=f"^--allow_changed={key}.*{sentence}"):
    train.train_and_evaluate(tiny_dataset.config(folder), tmp_path, allow_changed=names)
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_batch_size_changes_on_request_and_every_image_still_comes_once_per_epoch(
  folder, tmp_path, capsys
):
  """Two epochs in three steps of 8, then two in one step of 24; the step itself learns nothing."""
  batches = []

  def run(allow_changed=(), **changes):
    config = tiny_dataset.config(folder, optimizer__drop_epochs=(3.0,), **changes)
    idle(config, tmp_path, on_batch=batches.append, allow_changed=allow_changed)

  run(train__epochs=2.0)
  larger = {"train__epochs": 4.0, "train__batch_size": 24}
  with pytest.raises(InputError, match=r"--allow_changed=KEY.*\n  train.batch_size: 8 there, 24"):
    run(**larger)
  assert saved_steps(tmp_path) == [3]

  run(["train.batch_size"], **larger)
  assert "From here on config.train.batch_size is 24, it was 8" in capsys.readouterr().out
  run(["train.batch_size"], **larger)  # the same line again, and without its flag
  run(**larger)
  assert "From here on" not in capsys.readouterr().out

  assert saved_steps(tmp_path) == [3, 4]
  shown = np.concatenate([batch["index"].ravel() for batch in batches])
  for epochs in (24, 48):
    assert np.bincount(shown[:epochs]).tolist() == [epochs // 12] * tiny_dataset.TRAIN
  changes = [{"step": 3, "keys": {"train.batch_size": [8, 24]}}]
  assert json.loads((tmp_path / "changes.json").read_text()) == changes
  assert records(tmp_path, "rate")[4] == pytest.approx(1e-2)  # the drop is in that step's middle


def test_a_place_counts_epochs_over_all_batch_sizes():
  changes = [{"step": 3, "keys": {"train.batch_size": [8, 24]}}]  # of 12 images
  options = {"batch_size": 24, "steps_per_epoch": 0.5}
  assert place(changes, 3, **options, epochs=4.0) == Place(3, 4, -48, -2.0)
  assert place(changes, 5, **options, epochs=4.0).total_steps == 5  # it went further once
  assert place([], 0, batch_size=8, steps_per_epoch=1.5, epochs=8.0) == Place(0, 12, 0, 0.0)


def test_a_run_saved_before_a_key_existed_resumes_under_what_was_done_then(folder, tmp_path):
  saved = saved_by(folder)
  del saved["config"]["siamese"]["frame"]

  check_resumable(saved, saved_by(folder, siamese__frame="crop"), tmp_path)
  with pytest.raises(InputError, match=r"\n  siamese\.frame: crop there, view here$"):
    check_resumable(saved, saved_by(folder, siamese__frame="view"), tmp_path)


def test_a_run_does_not_resume_under_a_config_that_lacks_one_of_its_keys(folder, tmp_path):
  saved, now = saved_by(folder), saved_by(folder)
  del now["config"]["model"]["name"]

  with pytest.raises(InputError, match=r"\n  model\.name: fan there, None here$"):
    check_resumable(saved, now, tmp_path)


def test_a_run_does_not_resume_with_another_network(copy, folder):
  shapes = r"network: params/\S+ has shape .* in the checkpoint and .* in this config"
  with pytest.raises(InputError, match=shapes):
    tiny_dataset.run_without_figures(tiny_dataset.config(folder, model__features=16), copy)


def test_a_run_does_not_resume_with_another_number_of_images(copy, folder, monkeypatch):
  open_split = data.open_split

  def open_part(name, split, **options):
    return open_split(name, f"{split}[:9]", **options)

  monkeypatch.setattr(data, "open_split", open_part)
  with pytest.raises(InputError, match=r"'tiny_faces', split .*, has 9 faces and had 12"):
    tiny_dataset.run_without_figures(tiny_dataset.config(folder), copy)


def test_a_second_run_in_the_same_folder_is_refused(copy, folder):
  first = checkpoint.Checkpoints(copy)
  with pytest.raises(InputError, match="Another process is training in"):
    tiny_dataset.run_without_figures(tiny_dataset.config(folder), copy)
  first.close()


def test_a_finished_run_started_again_only_evaluates_with_fewer_epochs_too(copy, folder):
  before, log = last_digest(copy), copy / "metrics.jsonl"
  whole = log.read_text()
  log.write_text(whole[:100])  # what a disk has lost is written again, and nothing twice

  tiny_dataset.run_without_figures(tiny_dataset.config(folder, train__epochs=4.0), copy)

  assert last_digest(copy) == before
  assert log.read_text() == whole
  assert saved_steps(copy) == [10, LAST]
  assert json.loads((copy / "eval" / "test.json").read_text())["provenance"]["step"] == LAST
  assert list(records(copy)) == list(range(1, LAST + 1))


@pytest.mark.slow
def test_a_stop_in_the_last_evaluation_is_made_up_for(copy, folder, monkeypatch):
  log = (copy / "metrics.jsonl").read_text()
  predict_split = evaluate.predict_split

  def interrupted(*args, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    return predict_split(*args, **options)

  config = tiny_dataset.config(folder)
  with monkeypatch.context() as patched:
    patched.setattr(evaluate, "predict_split", interrupted)
    with pytest.raises(Interrupted, match=r"in the evaluation after the last step, 12, .* same"):
      tiny_dataset.run_without_figures(config, copy)

  (copy / "eval" / "test.json").unlink()
  tiny_dataset.run_without_figures(config, copy)
  assert (copy / "eval" / "test.json").exists()
  assert (copy / "metrics.jsonl").read_text() == log


@pytest.mark.slow
def test_a_finished_run_resumes_under_more_epochs_and_other_intervals(copy, folder):
  longer = tiny_dataset.config(
    folder, train__epochs=10.0, log__every_steps=2, checkpoint__every_steps=7
  )

  tiny_dataset.run_without_figures(longer, copy)

  assert saved_steps(copy) == [14, 15]
  assert list(records(copy)) == [*range(1, LAST + 1), 14, 15]
