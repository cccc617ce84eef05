"""Ablations: which rows share a training, and which table is refused before any."""

import pytest
from ablation_rows import TABLE, rows_of
from ml_collections import ConfigDict

from fal_jax.ablation import measures
from fal_jax.ablation import run as ablation
from fal_jax.errors import InputError

pytestmark = pytest.mark.slow


def trainings(folder, tmp_path, changes, *, seeds=1, **common):
  """row/seed -> run folder, below trainings/."""
  jobs = ablation.plan(rows_of(folder, changes, **common), tmp_path, seeds=seeds)
  return {
    str(job.result.relative_to(tmp_path / "rows")): str(
      job.training.relative_to(tmp_path / "trainings")
    )
    for job in jobs
  }


def test_rows_share_a_training_if_only_their_decoders_differ(folder, tmp_path):
  changes = {
    "a": {},
    "b": {"codec__decode": "dark"},
    "c": {"codec__window": 3, "codec__temperature": 5.0},
    "same": {},
  }

  shared = trainings(folder, tmp_path, changes, seeds=2)

  assert shared == {f"{row}/seed{n}": f"a/seed{n}" for row in changes for n in (0, 1)}


@pytest.mark.parametrize(
  "change",
  [
    {"codec__encode": "rounded"},
    {"siamese__num_views": 1},
    {"codec__sigma": 2.0},
    {"train__epochs": 3.0},
    {"siamese__reduce": "mean"},
    {"siamese__target_scale": 1.0},
    {"siamese__window_loss": 1.0},
    {"augment__colour_mode": "channel_gain"},
    {"siamese__view_loss": 1.0},
    {"siamese__frame": "view"},
    {"augment__rotation": 5.0},
  ],
)
def test_rows_that_learn_something_else_share_none(folder, tmp_path, change):
  own = trainings(folder, tmp_path, {"a": {}, "b": change})

  assert own == {"a/seed0": "a/seed0", "b/seed0": "b/seed0"}


def test_a_head_that_learns_through_its_decoder_shares_none(folder, tmp_path):
  change = {"head": "global_softargmax", "codec__decode": "global_softargmax"}
  changes = {"a": change, "b": {**change, "codec__temperature": 3.0}, "c": change}

  own = trainings(folder, tmp_path, changes)

  assert own == {"a/seed0": "a/seed0", "b/seed0": "b/seed0", "c/seed0": "a/seed0"}


def test_seeds_count_up_from_that_of_the_config(folder, tmp_path):
  jobs = ablation.plan(rows_of(folder, {"a": {}}, seed=7), tmp_path, seeds=3)

  assert [job.config.seed for job in jobs] == [7, 8, 9]
  assert [job.training_config.seed for job in jobs] == [7, 8, 9]
  assert [job.training.name for job in jobs] == ["seed7", "seed8", "seed9"]


@pytest.mark.parametrize(
  ("key", "value", "answer"),
  [
    ("metric", "nme_xx", "nme_xx'; choose one of"),
    ("against", "second", "second'; choose one of"),
    ("also", ("jitter", "speed"), "'speed'; choose among .*jitter, agreement, shared_error"),
  ],
)
def test_a_table_that_cannot_be_is_refused_before_training(folder, tmp_path, key, value, answer):
  table = ConfigDict({**TABLE.to_dict(), key: value})

  with pytest.raises(InputError, match=answer):
    list(ablation.run(table, rows_of(folder), tmp_path / "w", name="t", seeds=1, command="it"))

  assert not (tmp_path / "w").exists()


def test_a_metric_that_the_faces_do_not_have_is_refused_with_what_to_do():
  with pytest.raises(InputError, match=r"mine has no face .*: choose another --table\.metric"):
    ablation.metric_of({"nme_box": 1.0}, "nme_ic", dataset="mine")


SUMMARY = {
  "nme_ic": 5.0,
  "percentiles": {"ic": {"median": 4.5}},
  "boxes": {"detector": {"nme_ic": 6.0}, "dataset": None},
  "stress": {
    "gamma 2": {"nme_ic": 7.0, "catastrophic_ic": 0.0},
    "red": {"nme_ic": 9.0, "catastrophic_ic": 1.0},
  },
  "jitter": {"mean": 0.5},
}


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("median", 4.5),
    ("detector_box", 6.0),
    ("stress", 8.0),
    ("catastrophic_stress", 0.5),
    ("jitter", 0.5),
  ],
)
def test_parts_of_an_evaluation_can_be_columns_and_what_is_not_there_is_said(name, expected):
  assert measures.of_summary(SUMMARY, name, norm="ic", dataset="mine") == expected
  with pytest.raises(InputError, match=f"^mine .*: leave {name} out of --table.also"):
    measures.of_summary({"nme_ic": 5.0}, name, norm="ic", dataset="mine")
