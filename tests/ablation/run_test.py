"""Ablations: equal trainings are done once, each row is read by its own decoder.

Nothing finished is done again or used wrongly.
"""

import contextlib
import io
import json
import os
import shutil
import signal
from collections.abc import Callable

import pytest
import tiny_dataset
from ablation_rows import FAST, ROWS, TABLE, rows_of
from ml_collections import ConfigDict

from fal_jax import evaluate, parallel, train
from fal_jax.ablation import measures
from fal_jax.ablation import run as ablation
from fal_jax.consistency import agreement
from fal_jax.errors import Diverged, InputError, Interrupted
from fal_jax.plots import curves

pytestmark = pytest.mark.heavy

_train_functions: dict[str, Callable] = {}


class Observed:
  """Runs ablations, and records what was trained and evaluated.

  Figures are empty files. Compiled steps are shared, over seeds too: the order of the images and
  the first weights differ by seed, the views do not.
  """

  def __init__(self, folder, monkeypatch):
    self.folder = folder
    self.trained, self.evaluated = [], []
    self.before_train = self.before_evaluate = lambda _: None

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
    monkeypatch.setattr(curves, "draw_ced", lambda path, *_, **__: path.touch())
    for module, name in tiny_dataset.FIGURES:
      monkeypatch.setattr(module, name, lambda *_, **__: None)
    monkeypatch.setattr(parallel, "make_train_step", make_train_step)
    monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
    monkeypatch.setattr(train, "train_and_evaluate", train_and_evaluate)
    monkeypatch.setattr(evaluate, "run", evaluate_run)

  def __call__(self, workdir, changes=ROWS, *, seeds=2, name="table", also=(), **common):
    self.trained.clear()
    self.evaluated.clear()
    rows = rows_of(self.folder, changes, **common)
    table = ConfigDict({**TABLE.to_dict(), "also": also})
    return list(ablation.run(table, rows, workdir, name=name, seeds=seeds, command="it"))


@pytest.fixture
def run(folder, monkeypatch):
  return Observed(folder, monkeypatch)


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
  """Folder of a finished ablation, what was done for it in order, and what it printed."""
  workdir = tmp_path_factory.mktemp("whole")
  with pytest.MonkeyPatch.context() as monkeypatch:
    run = Observed(folder, monkeypatch)
    lines = run(workdir)
  return workdir, list(run.trained), list(run.evaluated), lines


def values(workdir, name="table"):
  """row -> seed -> result."""
  table = json.loads((workdir / f"{name}.json").read_text())
  return {row["row"]: row["values"] for row in table["rows"]}


def times(workdir):
  """When each file but the tables was written."""
  return {
    path: path.stat().st_mtime_ns
    for path in workdir.rglob("*")
    if path.is_file() and not path.stem.startswith("table")
  }


def test_each_training_is_done_once_and_each_row_evaluated(whole):
  _, trained, evaluated, _ = whole

  assert trained == ["rounded/seed0", "plain/seed0", "rounded/seed1", "plain/seed1"]
  assert evaluated == [f"{row}/seed{seed}" for seed in (0, 1) for row in ROWS]


def test_results_are_those_of_an_evaluation_with_the_row_s_own_decoder(whole, folder, tmp_path):
  workdir, *_ = whole
  results = values(workdir)

  for name, training in (("plain", "plain"), ("wide", "plain"), ("rounded", "rounded")):
    for seed in (0, 1):
      config = tiny_dataset.config(folder, **{**FAST, **ROWS[name], "seed": seed})
      run = workdir / "trainings" / training / f"seed{seed}"
      summary = evaluate.run(config, run, directory=tmp_path)["test"]
      assert results[name][str(seed)] == pytest.approx(summary["nme_ic"])

  assert len({result for row in results.values() for result in row.values()}) == 6


def test_each_row_keeps_its_own_results_and_a_training_is_an_ordinary_run(whole):
  workdir, *_ = whole

  for name, window in (("plain", 5), ("wide", 7)):
    folder = workdir / "rows" / name / "seed1"
    provenance = json.loads((folder / "test.json").read_text())["provenance"]
    assert provenance["codec"]["window"] == window
    assert provenance["seed"] == 1
    assert (folder / "test_predictions.csv").is_file()

  for name in ("config.json", "metrics.jsonl", "checkpoints/3", "eval/test.json"):
    assert (workdir / "trainings" / "plain" / "seed0" / name).exists()
  assert not (workdir / "trainings" / "wide").exists()


def test_the_table_names_what_it_was_made_from(whole):
  workdir, *_ = whole

  table = json.loads((workdir / "table.json").read_text())

  assert (table["dataset"], table["split"]) == ("tiny_faces", "test")
  assert (table["base"], table["command"]) == ("tiny", "it")
  assert [row["seeds"] for row in table["rows"]] == [2, 2, 2]
  assert table["seeds"] == [0, 1]
  assert f"{values(workdir)['wide']['1']:.3f}" in (workdir / "table.md").read_text()


def test_the_error_curves_of_the_rows_are_beside_the_table(whole):
  workdir, *_ = whole

  assert (workdir / "table_ced.png").is_file()
  assert json.loads((workdir / "table.json").read_text())["figure"] == "table_ced.png"
  assert "](table_ced.png)" in (workdir / "table.md").read_text()


def test_each_result_has_a_line_on_the_screen_and_the_table_is_the_last(whole):
  workdir, _, _, lines = whole

  assert len(lines) == 7
  assert lines[0].startswith("[1/6] rounded, seed 0: nme_ic ")
  assert " left" in lines[0]
  assert lines[5].startswith("[6/6] wide, seed 1: nme_ic ")
  assert " left" not in lines[5]
  assert lines[6].startswith((workdir / "table.md").read_text())


@pytest.fixture
def copy(whole, tmp_path):
  shutil.copytree(whole[0], tmp_path / "copy")
  return tmp_path / "copy"


def test_a_finished_ablation_started_again_does_nothing(run, copy):
  before, page = times(copy), (copy / "table.md").read_text()

  assert run(copy)[0] == "6 of 6 results already exist"

  assert not run.trained
  assert not run.evaluated
  assert times(copy) == before
  assert (copy / "table.md").read_text() == page


def test_more_seeds_cost_only_the_new_ones(run, copy):
  run(copy, seeds=3)

  assert run.trained == ["rounded/seed2", "plain/seed2"]
  assert len(run.evaluated) == 3


def test_an_evaluation_that_was_cut_off_is_done_again_with_the_same_result(run, copy):
  """What kill -9 leaves: the config is written last, and shows that all of the rest is there."""
  before = values(copy)
  (copy / "rows" / "wide" / "seed1" / "config.json").unlink()
  (copy / "rows" / "wide" / "seed1" / "test.json").write_text("{")

  run(copy)

  assert run.trained == ["plain/seed1"]
  assert run.evaluated == ["wide/seed1"]
  assert values(copy) == before


def test_further_columns_are_measured_on_what_is_there(run, copy, monkeypatch):
  monkeypatch.setattr(measures, "VIEWS", 2)
  changes = {name: ROWS[name] for name in ("rounded", "plain")}

  also = ("agreement", "shared_error", "shift_spread", "nme_box")
  run(copy, changes, seeds=1, also=also, name="table_c")

  assert not run.trained
  assert not run.evaluated
  table = json.loads((copy / "table_c.json").read_text())
  assert all(row["also"].keys() == set(also) for row in table["rows"])

  row = rows_of(run.folder, changes)[0]
  with contextlib.redirect_stdout(io.StringIO()):
    opened = evaluate.open_run(row.config, copy / "trainings" / "rounded" / "seed0")
  seen = agreement.in_views(opened.setup, opened.sources["test"], opened.variables, num_views=2)
  shown = {name: table["rows"][0]["also"][name]["values"]["0"] for name in also}
  assert shown["agreement"] == pytest.approx(agreement.spreads(seen).mean())
  assert shown["shared_error"] == pytest.approx(agreement.shared_errors(seen).mean())
  assert 0 < shown["shift_spread"] != shown["agreement"]
  summary = json.loads((copy / "rows" / "rounded" / "seed0" / "test.json").read_text())
  assert shown["nme_box"] == summary["nme_box"]

  before = times(copy)
  run(copy, changes, seeds=1, also=also, name="table_c")
  assert times(copy) == before


def test_jitter_of_faces_without_videos_is_refused_with_what_to_do(run, copy):
  with pytest.raises(
    InputError, match=r"has no videos, so no jitter: leave jitter out of --table\.also"
  ):
    run(copy, also=("jitter",))


def test_another_table_uses_equal_trainings_whatever_they_are_called(run, copy):
  run(copy, {"dark": {"codec__decode": "dark"}, "plain": {}}, name="table_b")

  assert run.evaluated == ["dark/seed0", "dark/seed1"]
  assert set(run.trained) == {"plain/seed0", "plain/seed1"}
  assert values(copy, "table_b")["plain"] == values(copy)["plain"]


@pytest.mark.parametrize(
  ("common", "answer"),
  [
    (
      {"codec__sigma": 2.0},
      r"rows/rounded/seed0 was made with another config \(codec.sigma is 1.5 there and 2.0 here\)",
    ),
    ({"train__epochs": 4.0}, "train.epochs is 2.0 there and 4.0 here"),
  ],
)
def test_results_of_another_config_are_neither_used_nor_touched(run, copy, common, answer):
  before, page = times(copy), (copy / "table.md").read_text()

  with pytest.raises(InputError, match=answer) as refused:
    run(copy, **common)

  assert "use another --workdir" in str(refused.value)
  assert "\n" not in str(refused.value)
  assert times(copy) == before
  assert (copy / "table.md").read_text() == page


def test_a_training_of_another_config_is_refused_before_it_is_needed(run, copy):
  """Its evaluation was deleted, so that only the training shows it."""
  changes = {**ROWS, "plain": {"codec__sigma": 2.0}, "wide": {}}
  for name in ("plain", "wide"):
    os.rename(copy / "rows" / name, copy / name)

  with pytest.raises(InputError, match="trainings/plain/seed0 was made with another config"):
    run(copy, changes)


def test_what_changes_no_result_may_change(run, copy):
  run(copy, log__every_steps=3, eval__batch_size=16, data__cache="host", checkpoint__keep=1)

  assert not run.trained
  assert not run.evaluated


def test_another_split_is_evaluated(run, copy):
  run(copy, eval__splits=("train",))

  assert len(run.evaluated) == 6
  assert json.loads((copy / "table.json").read_text())["split"] == "train"


def send(signal_number, *, at):
  """Sends a signal at one call."""
  calls = []

  def act(_):
    calls.append(1)
    if len(calls) == at:
      os.kill(os.getpid(), signal_number)

  return act


def test_a_signal_in_a_training_saves_it_and_the_same_command_resumes(
  run, whole, tmp_path, monkeypatch
):
  make = parallel.make_train_step
  hit = send(signal.SIGTERM, at=5)  # the second of the second training's three steps

  def interrupted(recipe):
    step = make(recipe)
    return lambda state, batch: (hit(state), step(state, batch))[1]

  with (
    monkeypatch.context() as patch,
    pytest.raises(Interrupted, match="run the same command"),
  ):
    patch.setattr(parallel, "make_train_step", interrupted)
    run(tmp_path)

  expected = values(whole[0])
  assert run.evaluated == ["rounded/seed0"]
  page = (tmp_path / "table.md").read_text()
  assert "Incomplete: 5 of 6 results" in page
  assert f"{expected['rounded']['0']:.3f}" in page

  assert run(tmp_path)[0] == "1 of 6 results already exist"
  assert run.trained == ["plain/seed0", "rounded/seed1", "plain/seed1"]
  assert values(tmp_path) == expected


def test_a_signal_in_an_evaluation_is_acted_on_before_the_next_training(run, tmp_path):
  run.before_evaluate = send(signal.SIGINT, at=1)

  with pytest.raises(Interrupted, match="Stopped after 1 of 6 results; run the same command"):
    run(tmp_path)

  assert run.evaluated == ["rounded/seed0"]
  assert list(values(tmp_path)["rounded"]) == ["0"]
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_that_diverges_leaves_blanks_and_the_others_are_done(run, tmp_path):
  def diverge(workdir):
    if workdir.parent.name == "plain":
      raise Diverged(f"{workdir.name} became NaN")

  run.before_train = diverge
  with pytest.raises(Diverged, match=r"^seed0 became NaN\nseed1 became NaN$"):
    run(tmp_path)

  assert run.evaluated == ["rounded/seed0", "rounded/seed1"]
  counts = {row: len(results) for row, results in values(tmp_path).items()}
  assert counts == {"rounded": 2, "plain": 0, "wide": 0}
