"""Where a run goes on beside where it began: what of it decides rounding is compared and named."""

import os
from pathlib import Path

import pytest
import tiny_dataset

from fal_jax import config_json
from fal_jax.output import changes, machine, provenance

HERE = {"versions": {"jax": "0.10.2"}, "machine": {"platform": "cpu", "cores": 2}}


def test_nothing_is_said_where_nothing_differs():
  assert provenance.other_rounding(HERE, HERE) == []


def test_other_software_and_another_machine_are_named_with_both_values():
  there = {"versions": {"jax": "0.9.0"}, "machine": {"platform": "cpu", "cores": 4}}
  assert provenance.other_rounding(there, HERE) == [
    "cores 4 there, 2 here",
    "jax 0.9.0 there, 0.10.2 here",
  ]


def test_what_the_other_platform_has_not_is_not_compared():
  there = {"versions": {"jax": "0.10.2"}, "machine": {"platform": "gpu", "device": "H100"}}
  assert provenance.other_rounding(there, HERE) == ["platform gpu there, cpu here"]


def test_a_release_that_did_not_ask_for_the_machine_is_compared_by_software_alone():
  assert provenance.other_rounding({"versions": {"jax": "0.10.2"}}, HERE) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can be asked for it")
def test_cores_are_those_that_the_process_may_use():
  allowed = os.sched_getaffinity(0)
  assert machine.rounding()["cores"] == len(allowed)
  os.sched_setaffinity(0, [min(allowed)])
  try:
    assert machine.rounding()["cores"] == 1
  finally:
    os.sched_setaffinity(0, allowed)


def test_a_run_that_goes_on_elsewhere_says_so(capsys):
  config = config_json.to_json(tiny_dataset.config(Path("nowhere")))
  origin = {"datasets": [], "markup": {"num": 68}, **HERE}
  there = {**origin, "machine": {"platform": "cpu", "cores": 4}}
  now = {"config": config, "train_images": 8, "origin": origin}

  changes.check_resumable({**now, "origin": there}, now, Path("run"))

  (line,) = capsys.readouterr().out.splitlines()
  assert line.startswith("Note: ") and line.endswith("cores 4 there, 2 here")
