"""launch.costs: sizes are those of the run's network, every row is measured, mistakes are told."""

import json
import sys

import jax
import numpy as np
import pytest
import tiny_dataset

from fal_jax import build, flag_parser, restore
from launch import costs


@pytest.fixture
def results(tmp_path, workdir):
  """A table of two rows that share the tiny run, and one that is not trained yet."""
  for name in ("a", "b"):
    folder = tmp_path / "trainings" / name
    folder.mkdir(parents=True)
    (folder / "seed0").symlink_to(workdir)
  row = {"seeds": 1, "mean": 5.0, "values": {"0": 5.0}}
  rows = [
    {**row, "row": "b", "label": "second of the folder", "training": "b"},
    {**row, "row": "c", "label": "not trained", "training": "c", "values": {}},
    {**row, "row": "a", "label": "the same", "training": "a", "mean": 6.0},
  ]
  path = tmp_path / "family.json"
  path.write_text(json.dumps({"metric": "nme_ic", "rows": rows}))
  return path


def run(monkeypatch, path, *flags):
  monkeypatch.setattr(sys, "argv", ["costs", f"--results={path}", *flags])
  return flag_parser.exit_code(costs.main)


@pytest.mark.slow
def test_every_trained_row_has_its_sizes_and_its_time(results, monkeypatch, capsys, workdir):
  assert run(monkeypatch, results, "--rounds=2", "--calls=1") == 0

  content = json.loads(results.with_name("family_costs.json").read_text())
  assert [(row["row"], row["mean"]) for row in content["rows"]] == [("b", 5.0), ("a", 6.0)]
  for row in content["rows"]:
    assert 0 < row["cpu_ms"] <= row["cpu_ms_median"] <= row["cpu_ms_highest"]
  assert content["rows"][0]["relative"] == 1
  table = results.with_name("family_costs.md").read_text()
  assert table in capsys.readouterr().out and "second of the folder" in table
  for suffix in ("png", "svg"):
    assert results.with_name(f"family_costs.{suffix}").stat().st_size > 5000

  config = restore.saved_config(workdir)
  variables, _ = restore.restore_variables(build.setup(config), workdir)
  weights = [np.size(leaf) for leaf in jax.tree.leaves(variables["params"])]
  row = content["rows"][0]
  assert (row["input"], row["features"]) == (config.crop.size, config.model.features)
  assert row["parameters"] == sum(weights)
  assert 2e-6 * sum(weights) <= row["float16_mb"] + 0.0006 < row["onnx_mb"]


@pytest.mark.slow
def test_the_function_of_a_row_reads_a_face(workdir):
  _, call = costs.measure(workdir)
  landmarks = call(2)
  assert landmarks.shape == (1, tiny_dataset.MARKUP, 2) and np.isfinite(landmarks).all()


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    (None, "is not a table"),
    ("[]", "is not a table"),
    ('{"rows": 3}', "is not a table"),
    ('{"metric": "nme_ic", "rows": [{"values": {}}]}', "has no results yet"),
  ],
)
def test_what_is_no_table_is_told_in_a_sentence(tmp_path, monkeypatch, capsys, text, expected):
  path = tmp_path / "table.json"
  if text is not None:
    path.write_text(text)
  assert run(monkeypatch, path) == 2
  printed = capsys.readouterr().err
  assert expected in printed and len(printed.splitlines()) == 1
