"""Ablations: equal trainings are done once, each row is read by its own decoder, and nothing
finished is done or used wrongly.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable

import pytest
import tiny_dataset
from ml_collections import ConfigDict

from fal_jax import evaluate, parallel, train
from fal_jax.ablation import run as ablation
from fal_jax.ablation.run import Row
from fal_jax.errors import InputError

pytestmark = pytest.mark.slow

FAST = {"train__epochs": 2.0, "checkpoint__every_steps": 2, "eval__every_epochs": 100.0}  # 3 steps
TABLE = ConfigDict(
  {"title": "T", "base": "tiny", "metric": "nme_ic", "paper": "", "against": "previous", "rows": ()}
)
ROWS = {"rounded": {"codec__encode": "rounded"}, "plain": {}, "wide": {"codec__window": 7}}


def rows_of(folder, changes=ROWS, **common):
  return [
    Row(name, name.upper(), None, tiny_dataset.config(folder, **{**FAST, **common, **change}))
    for name, change in changes.items()
  ]


def trainings(folder, tmp_path, changes, *, seeds=1, **common):
  """row/seed -> run folder, below trainings/."""
  jobs = ablation.plan(rows_of(folder, changes, **common), tmp_path, seeds=seeds)
  return {
    str(job.result.relative_to(tmp_path / "rows")): str(
      job.training.relative_to(tmp_path / "trainings")
    )
    for job in jobs
  }


_train_functions: dict[str, Callable] = {}


class Observed:
  """Runs ablations, and keeps what was trained and evaluated.

  No pictures are drawn. Compiled steps are shared, over seeds too: the order of the images and the
  first weights differ by seed, the views do not.
  """

  def __init__(self, folder, monkeypatch):
    self.folder, self.trained, self.evaluated = folder, [], []
    self.before_train, self.before_evaluate = (lambda _: None), (lambda _: None)

    def train_and_evaluate(config, workdir, **options):
      self.before_train(workdir)
      self.key = repr((config.head, config.codec, config.siamese))
      self.trained.append(str(workdir.relative_to(workdir.parents[1])))
      return train_it(config, workdir, **options)

    def evaluate_run(config, workdir, *, directory):
      self.before_evaluate(directory)
      self.evaluated.append(str(directory.relative_to(directory.parents[1])))
      return evaluate_it(config, workdir, directory=directory)

    def make_train_step(recipe):
      if self.key not in _train_functions:
        _train_functions[self.key] = make(recipe)
      return _train_functions[self.key]

    make = parallel.make_train_step
    train_it, evaluate_it = train.train_and_evaluate, evaluate.run
    monkeypatch.setattr(evaluate, "_draw", lambda *_, **__: None)
    monkeypatch.setattr(train, "draw_curves", lambda *_, **__: None)
    monkeypatch.setattr(parallel, "make_train_step", make_train_step)
    monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
    monkeypatch.setattr(train, "train_and_evaluate", train_and_evaluate)
    monkeypatch.setattr(evaluate, "run", evaluate_run)

  def __call__(self, workdir, changes=ROWS, *, seeds=2, name="table", **common):
    self.trained.clear()
    self.evaluated.clear()
    lines = ablation.run(
      TABLE, rows_of(self.folder, changes, **common), workdir, name=name, seeds=seeds, command="it"
    )
    return list(lines)


@pytest.fixture
def run(folder, monkeypatch):
  return Observed(folder, monkeypatch)


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
  """Folder of a finished ablation, what was done for it in order, and what it said."""
  workdir = tmp_path_factory.mktemp("whole")
  with pytest.MonkeyPatch.context() as monkeypatch:
    run = Observed(folder, monkeypatch)
    lines = run(workdir)
  return workdir, list(run.trained), list(run.evaluated), lines


def values(workdir, name="table"):
  return {
    row["row"]: row["values"] for row in json.loads((workdir / f"{name}.json").read_text())["rows"]
  }


def times(workdir):
  return {
    path: path.stat().st_mtime_ns
    for path in workdir.rglob("*")
    if path.is_file() and not path.stem.startswith("table")
  }


def test_rows_share_a_training_if_only_their_decoders_differ(folder, tmp_path):
  changes = {
    "a": {},
    "b": {"codec__decode": "dark"},
    "c": {"codec__window": 3, "codec__temperature": 5.0},
    "same": {},
  }
  assert trainings(folder, tmp_path, changes, seeds=2) == {
    f"{row}/seed{n}": f"a/seed{n}" for row in changes for n in (0, 1)
  }


@pytest.mark.parametrize(
  "change",
  [
    {"codec__encode": "rounded"},
    {"siamese__num_views": 1},
    {"codec__sigma": 2.0},
    {"train__epochs": 3.0},
    {"siamese__reduce": "sum"},
    {"siamese__view_loss": 1.0},
    {"augment__rotation": 5.0},
  ],
)
def test_rows_that_learn_something_else_share_none(folder, tmp_path, change):
  assert trainings(folder, tmp_path, {"a": {}, "b": change}) == {
    "a/seed0": "a/seed0",
    "b/seed0": "b/seed0",
  }


def test_a_head_that_learns_through_its_decoder_shares_none(folder, tmp_path):
  change = {"head": "global_softargmax", "codec__decode": "global_softargmax"}
  found = trainings(
    folder, tmp_path, {"a": change, "b": {**change, "codec__temperature": 3.0}, "c": change}
  )
  assert found == {"a/seed0": "a/seed0", "b/seed0": "b/seed0", "c/seed0": "a/seed0"}


def test_seeds_count_up_from_that_of_the_config(folder, tmp_path):
  jobs = ablation.plan(rows_of(folder, {"a": {}}, seed=7), tmp_path, seeds=3)
  assert (
    [job.config.seed for job in jobs] == [job.training_config.seed for job in jobs] == [7, 8, 9]
  )
  assert [job.training.name for job in jobs] == ["seed7", "seed8", "seed9"]


def test_each_training_is_done_once_and_each_row_evaluated(whole):
  _, trained, evaluated, _ = whole
  assert trained == ["rounded/seed0", "plain/seed0", "rounded/seed1", "plain/seed1"]
  assert evaluated == [f"{row}/seed{seed}" for seed in (0, 1) for row in ROWS]


def test_the_numbers_are_those_of_an_evaluation_with_the_rows_own_decoder(whole, folder, tmp_path):
  workdir, *_ = whole
  for name, training in (("plain", "plain"), ("wide", "plain"), ("rounded", "rounded")):
    for seed in (0, 1):
      config = tiny_dataset.config(folder, **{**FAST, **ROWS[name], "seed": seed})
      summary = evaluate.run(
        config, workdir / "trainings" / training / f"seed{seed}", directory=tmp_path
      )["test"]
      assert values(workdir)[name][str(seed)] == pytest.approx(summary["nme_ic"])
  assert len({number for row in values(workdir).values() for number in row.values()}) == 6


def test_each_row_keeps_its_own_results_and_a_training_is_an_ordinary_run(whole):
  workdir, *_ = whole
  for name, window in (("plain", 5), ("wide", 7)):
    written = json.loads((workdir / "rows" / name / "seed1" / "test.json").read_text())
    assert written["provenance"]["codec"]["window"] == window and written["provenance"]["seed"] == 1
    assert (workdir / "rows" / name / "seed1" / "test_predictions.csv").is_file()
  for name in ("config.json", "metrics.jsonl", "checkpoints/3", "eval/test.json"):
    assert (workdir / "trainings" / "plain" / "seed0" / name).exists()
  assert not (workdir / "trainings" / "wide").exists()


def test_the_table_names_what_it_was_made_from_and_each_number_has_a_line(whole):
  workdir, _, _, lines = whole
  written = json.loads((workdir / "table.json").read_text())
  assert (written["dataset"], written["split"], written["base"], written["command"]) == (
    "tiny_faces",
    "test",
    "tiny",
    "it",
  )
  assert [row["seeds"] for row in written["rows"]] == [2, 2, 2] and written["seeds"] == [0, 1]
  assert f"{values(workdir)['wide']['1']:.3f}" in (workdir / "table.md").read_text()
  assert (
    len(lines) == 7
    and lines[0].startswith("[1/6] rounded, seed 0: nme_ic ")
    and " left" in lines[0]
  )
  assert lines[5].startswith("[6/6] wide, seed 1: nme_ic ") and " left" not in lines[5]
  assert lines[6].startswith((workdir / "table.md").read_text())


@pytest.fixture
def copy(whole, tmp_path):
  shutil.copytree(whole[0], tmp_path / "copy")
  return tmp_path / "copy"


def test_a_finished_ablation_started_again_does_nothing(run, copy):
  before, page = times(copy), (copy / "table.md").read_text()
  assert run(copy)[0] == "6 of 6 numbers are there already"
  assert (
    not run.trained
    and not run.evaluated
    and times(copy) == before
    and (copy / "table.md").read_text() == page
  )


def test_more_seeds_cost_only_the_new_ones(run, copy):
  run(copy, seeds=3)
  assert run.trained == ["rounded/seed2", "plain/seed2"] and len(run.evaluated) == 3


def test_an_evaluation_that_was_cut_off_is_done_again_with_the_same_number(run, copy):
  """What kill -9 leaves: the config is written last, and tells that all of the rest is there."""
  before = values(copy)
  (copy / "rows" / "wide" / "seed1" / "config.json").unlink()
  (copy / "rows" / "wide" / "seed1" / "test.json").write_text("{")
  run(copy)
  assert (
    run.trained == ["plain/seed1"] and run.evaluated == ["wide/seed1"] and values(copy) == before
  )


def test_another_table_uses_the_trainings_that_are_there_whatever_they_are_called(run, copy):
  run(copy, {"dark": {"codec__decode": "dark"}, "plain": {}}, name="table_b")
  assert run.evaluated == ["dark/seed0", "dark/seed1"] and set(run.trained) == {
    "plain/seed0",
    "plain/seed1",
  }
  assert values(copy, "table_b")["plain"] == values(copy)["plain"]


@pytest.mark.parametrize(
  ("common", "named"),
  [
    (
      {"codec__sigma": 2.0},
      r"rows/rounded/seed0 was made with another config \(codec.sigma is 1.5 there and 2.0 here\)",
    ),
    ({"train__epochs": 4.0}, "train.epochs is 2.0 there and 4.0 here"),
  ],
)
def test_numbers_of_another_config_are_neither_used_nor_touched(run, copy, common, named):
  before, page = times(copy), (copy / "table.md").read_text()
  with pytest.raises(InputError, match=named) as refused:
    run(copy, **common)
  assert "use another --workdir" in str(refused.value) and "\n" not in str(refused.value)
  assert times(copy) == before and (copy / "table.md").read_text() == page


def test_a_training_of_another_config_is_refused_before_it_is_needed(run, copy):
  """Its evaluation was deleted, so that only the training tells."""
  changes = {**ROWS, "plain": {"codec__sigma": 2.0}, "wide": {}}
  for name in ("plain", "wide"):
    os.rename(copy / "rows" / name, copy / name)
  with pytest.raises(InputError, match="trainings/plain/seed0 was made with another config"):
    run(copy, changes)


def test_what_changes_no_number_may_change(run, copy, folder):
  run(copy, log__every_steps=3, eval__batch_size=16, data__cache="host", checkpoint__keep=1)
  assert not run.trained and not run.evaluated
  run(copy, eval__splits=("train",))
  assert (
    len(run.evaluated) == 6 and json.loads((copy / "table.json").read_text())["split"] == "train"
  )


def send(signal_number, *, at):
  """Sends a signal at one call."""
  calls = []

  def act(_):
    calls.append(1)
    if len(calls) == at:
      os.kill(os.getpid(), signal_number)

  return act


def test_a_signal_in_a_training_saves_it_and_the_same_command_ends_in_the_same_numbers(
  run, whole, tmp_path, monkeypatch
):
  make, hit = (
    parallel.make_train_step,
    send(signal.SIGTERM, at=5),
  )  # the second of the second training's three steps

  def interrupted(recipe):
    step = make(recipe)
    return lambda state, batch: (hit(state), step(state, batch))[1]

  with (
    monkeypatch.context() as patch,
    pytest.raises(train.Interrupted, match="run the same command"),
  ):
    patch.setattr(parallel, "make_train_step", interrupted)
    run(tmp_path)
  assert run.evaluated == ["rounded/seed0"]
  page = (tmp_path / "table.md").read_text()
  assert (
    "Not finished: 5 of 6 numbers" in page and f"{values(whole[0])['rounded']['0']:.3f}" in page
  )
  assert run(tmp_path)[0] == "1 of 6 numbers are there already"
  assert run.trained == ["plain/seed0", "rounded/seed1", "plain/seed1"]
  assert values(tmp_path) == values(whole[0])


def test_a_signal_in_an_evaluation_is_acted_on_before_the_next_training(run, tmp_path):
  run.before_evaluate = send(signal.SIGINT, at=1)
  with pytest.raises(train.Interrupted, match="Stopped after 1 of 6 numbers; run the same command"):
    run(tmp_path)
  assert run.evaluated == ["rounded/seed0"] and list(values(tmp_path)["rounded"]) == ["0"]
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_that_diverges_leaves_blanks_and_the_others_are_done(run, tmp_path):
  def diverge(workdir):
    if workdir.parent.name == "plain":
      raise train.Diverged(f"{workdir.name} became NaN")

  run.before_train = diverge
  with pytest.raises(train.Diverged, match=r"^seed0 became NaN\nseed1 became NaN$"):
    run(tmp_path)
  assert run.evaluated == ["rounded/seed0", "rounded/seed1"]
  assert {row: len(numbers) for row, numbers in values(tmp_path).items()} == {
    "rounded": 2,
    "plain": 0,
    "wide": 0,
  }


@pytest.mark.parametrize(("key", "value"), [("metric", "nme_xx"), ("against", "second")])
def test_a_table_that_cannot_be_is_refused_before_training(folder, tmp_path, key, value):
  table = ConfigDict({**TABLE.to_dict(), key: value})
  with pytest.raises(InputError, match=f"{value}'; choose one of"):
    list(ablation.run(table, rows_of(folder), tmp_path / "w", name="t", seeds=1, command="it"))
  assert not (tmp_path / "w").exists()


def test_a_metric_that_the_faces_do_not_have_is_refused_with_what_to_do(folder, tmp_path):
  with pytest.raises(InputError, match=r"choose another --table\.metric"):
    ablation._value(
      {"nme_box": 1.0}, "nme_ic", ablation.plan(rows_of(folder), tmp_path, seeds=1)[0]
    )
