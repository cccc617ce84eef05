"""--mode=network_report: one pass gives what many evaluations give, beside them."""

import dataclasses
import json
from unittest import mock

import numpy as np
import pytest
import tiny_dataset

from fal_jax import evaluate, parallel
from fal_jax.consistency import agreement
from fal_jax.network_report import run as network_report

pytestmark = pytest.mark.slow

KEYS = {"decoders": "decode", "windows": "window", "temperatures": "temperature"}  # what varies


@pytest.fixture(scope="module")
def before(workdir):
  """The files of the run's own evaluation."""
  return {path: path.read_bytes() for path in (workdir / "eval").iterdir()}


@pytest.fixture(scope="module")
def text(workdir, before):
  """What a report, which is then in the workdir, says on the screen."""
  (text,) = network_report.run(None, workdir, views=3, command="the command")
  return text


@pytest.fixture(scope="module")
def report(workdir, text):
  return written(workdir)


def written(workdir):
  return json.loads((workdir / "network_report" / "test.json").read_text())


def test_each_row_is_what_an_evaluation_with_that_setting_gives(report, workdir, folder, tmp_path):
  rows = {name: {row[key]: row for row in report[name]} for name, key in KEYS.items()}

  for changes, row in (
    ({}, report["own"]),
    ({"codec__window": 7}, rows["windows"][7]),
    ({"codec__temperature": 20.0}, rows["temperatures"][20.0]),
    ({"codec__decode": "calibrated"}, rows["decoders"]["calibrated"]),
  ):
    config = tiny_dataset.config(folder, **changes)
    predict = mock.patch.object(parallel, "make_predict", tiny_dataset.make_predict)
    with predict, tiny_dataset.without_figures():
      summary = evaluate.run(config, workdir, directory=tmp_path)["test"]
    for name in ("nme_ic", "auc_ic_10", "fr_ic_10"):
      assert row[name] == pytest.approx(summary[name], abs=1e-4), (changes, name)

  assert rows["windows"][1]["nme_ic"] == pytest.approx(rows["decoders"]["argmax"]["nme_ic"])
  assert len({row["nme_ic"] for row in report["decoders"]}) == len(report["decoders"])


def test_the_report_is_beside_the_evaluation_which_it_leaves_alone(workdir, text, report, before):
  assert {path: path.read_bytes() for path in before} == before
  names = ["test.json", "test.md", "test.png", "test.svg"]
  assert sorted(path.name for path in (workdir / "network_report").iterdir()) == names
  page = (workdir / "network_report" / "test.md").read_text()
  assert page.startswith(f"# {text.partition('Report: ')[0].strip()}")
  assert "](test.png)" in page
  assert "```\nthe command\n```" in page

  assert (report["num_images"], report["norm"]) == (tiny_dataset.TEST, "ic")
  assert report["provenance"]["step"] == 12
  assert f"agreement_ic {report['agreement_ic']:.3f} %" in text
  assert f"an error of {report['shared_error_ic']:.3f} %, which all views share" in text
  assert report["views"]["number"] == 3
  assert report["views"]["rotation"] == 30.0


def test_the_share_of_faces_is_relative_to_the_run_s_own_setting(report):
  own = [row for name in KEYS for row in report[name] if "percent_improved" not in row]
  assert own == [report["own"]] * 3
  for row in report["decoders"]:
    if row not in own:
      assert 0 <= row["percent_improved"] <= 100
      counted = row["percent_improved"] * tiny_dataset.TEST / 100
      assert counted == pytest.approx(round(counted))


def test_agreement_depends_neither_on_the_batch_size_nor_on_annotations(report, workdir, folder):
  opened = evaluate.open_run(None, workdir)
  source = opened.sources["test"]

  def seen(source, batch_size=8):
    config = tiny_dataset.config(folder, eval__batch_size=batch_size)
    setup = dataclasses.replace(opened.setup, config=config)
    return agreement.in_views(setup, source, opened.variables, num_views=3)

  def spreads(source, **options):
    return agreement.spreads(seen(source, **options))

  expected = spreads(source)
  assert expected.shape == (tiny_dataset.TEST,)
  assert np.mean(expected) == pytest.approx(report["agreement_ic"])
  shared = agreement.shared_errors(seen(source))
  assert np.mean(shared) == pytest.approx(report["shared_error_ic"])

  np.testing.assert_allclose(spreads(source, batch_size=24), expected, rtol=1e-3)

  # All landmarks but those of the normaliser and of the box, which the crop is made from.
  hidden = []
  for record in source:
    landmarks = record["landmarks"].copy()
    box = record["box_landmarks"]
    keep = np.isin(np.arange(tiny_dataset.MARKUP), tiny_dataset.EYES)
    landmarks[~keep] = np.nan
    hidden.append({**record, "landmarks": landmarks, "box_landmarks": box})
  np.testing.assert_allclose(spreads(hidden), expected, rtol=1e-6)


def test_on_the_command_line_it_needs_no_config_and_refuses_in_a_sentence(run_main, workdir):
  flags = {"workdir": str(workdir), "mode": "network_report"}

  code, out, err = run_main("--config.codec.decode=dark", views=0, **flags)

  assert code == 0, err
  assert "codec.decode: trained with local_softargmax, now dark" in out
  report = written(workdir)
  assert report["own"]["decode"] == "dark"
  assert not [name for name in report if name.startswith("agreement")]
  assert "agreement" not in (workdir / "network_report" / "test.md").read_text()

  code, _, err = run_main(views=1, **flags)
  assert code == 2
  assert err == "--views=1: a single view has nothing to agree with; give 2 or more, or 0.\n"
