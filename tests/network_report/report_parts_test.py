"""--parts of --mode=network_report: one command for each, and curves of several in one figure."""

import json

import numpy as np
import pytest

from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.network_report import calibration, curve_figures, parts, robustness
from fal_jax.plots import figure
from fal_jax.robustness import factors
from fal_jax.scoring import confidence

FEW = ("rotation", "resolution")  # a panel takes a second to draw


def report(level: float, names=None, **changes) -> dict:
  """What measuring a network would give whose error is `level` and grows with every change.

  Of the factors of these names, by default of all.
  """

  def measure(condition):
    return {"nme_ic": 3 * level, "catastrophic_ic": 25.0}

  rule = CropRule(size=128, stored_size=208, face=110.0)
  own = {"nme_ic": level, "catastrophic_ic": 0.0}
  curves = factors.curves(
    lambda _, box, condition: condition, measure, (), own, box="landmarks", norm="ic", rule=rule
  )
  some = [curve for curve in curves if not names or curve["name"] in names]
  shared = {"dataset": "tiny", "split": "test", "num_images": 11, "norm": "ic", "box": "landmarks"}
  return {**shared, "factors": some, **changes}


def write(path, content):
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return str(path)


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    ({"parts": ["speed"]}, "Unknown --parts=speed of --mode=network_report; choose from robustn"),
    ({"parts": ["robustness"], "heatmaps": ["36"]}, "--parts and --heatmaps are two reports"),
    (
      {"parts": ["robustness", "calibration"], "runs": ["a.json"]},
      "--runs lays the curves of several networks together: give --parts=robustness alone.",
    ),
    ({"parts": ["robustness"], "runs": ["no.json"]}, "--runs: no.json cannot be read as JSON"),
  ],
)
def test_flags_that_do_not_fit_are_one_sentence(run_main, tmp_path, flags, sentence):
  code, _, err = run_main(mode="network_report", workdir=str(tmp_path), **flags)
  assert code == 2 and err.startswith(sentence) and err.count("\n") == 1


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("[1,", "cannot be read as JSON"),
    ([1], "is not a <split>_robustness.json"),
    ({"nme": 3}, "is not a <split>_robustness.json"),
    (report(2.0, FEW), "is not a <split>_robustness.json"),
    (report(2.0, box=None), "is not a <split>_robustness.json"),
    (report(float("nan")), "is not a <split>_robustness.json"),
    (report(0.0), "is not a <split>_robustness.json"),
    (report(2.0, factors=8 * [{"points": [{}]}]), "is not a <split>_robustness.json"),
    (report(2.0, box="detector"), r"b was measured with another box than a \(detector, not landm"),
    (report(2.0, num_images=12), "b was measured with another num_images than a"),
  ],
)
def test_what_cannot_stand_in_one_figure_is_refused(tmp_path, content, message):
  files = {"a": write(tmp_path / "a.json", report(2.0)), "b": write(tmp_path / "b.json", content)}
  with pytest.raises(InputError, match=message):
    robustness.lay_together(tmp_path, files, command="the command")


def test_curves_of_several_networks_are_one_table(tmp_path, monkeypatch):
  files = {
    name: write(tmp_path / f"{name}.json", report(n)) for n, name in ((2.0, "a"), (4.0, "b"))
  }
  drawn = []
  monkeypatch.setattr(robustness, "draw_robustness", lambda path, reports: drawn.append(path))

  (text,) = parts.run(None, tmp_path, ["robustness"], runs=files, views=4, command="the command")

  page = tmp_path / "network_report" / "robustness.md"
  assert "the command" in page.read_text()
  if figure.has_matplotlib():
    assert drawn == [page.with_suffix(".png")] and "](robustness.png)" in page.read_text()
  row = next(line for line in text.splitlines() if line.startswith("| rotation, degrees"))
  # The error triples within 10 degrees: it doubles half-way.
  assert [cell.strip() for cell in row.split("|")[2:-1]] == ["0", "-5 / 5", "-5 / 5"]


def test_curves_of_several_networks_are_one_figure(tmp_path):
  if not figure.has_matplotlib():
    pytest.skip(figure.NO_MATPLOTLIB)

  path = tmp_path / "robustness.svg"
  curve_figures.draw_robustness(path, {"one": report(2.0, FEW), "another": report(4.0, FEW)})

  svg = path.read_text()
  for words in ("one", "another", "11 faces of tiny, test", "degrees", "faces above", *FEW):
    assert words in svg, words


def test_reliability_and_risk_are_two_panels_with_all_confidences(tmp_path):
  if not figure.has_matplotlib():
    pytest.skip(figure.NO_MATPLOTLIB)
  rng = np.random.default_rng(0)
  error = rng.uniform(1, 5, (20, 4))
  results = {
    name: confidence.summarise(error + noise * rng.uniform(size=error.shape), error)
    for name, noise in (("score", 1.0), ("covariance", 5.0), ("views", 0.1))
  }
  found = {"dataset": "tiny", "split": "test", "num_images": 20, "norm": "ic", "views": 4}
  found["confidences"] = results

  curve_figures.draw_calibration(tmp_path / "calibration.svg", found, label="mine")

  svg = (tmp_path / "calibration.svg").read_text()
  for words in (
    "Confidences of mine: 20 faces",
    "disagreement of 4 views",
    "oracle",
    "random",
    "perfect",
    "most certain landmarks",
  ):
    assert words in svg, words
  table = calibration.table(found).splitlines()
  assert [line.split("|")[1].strip() for line in table[2:]] == ["score", "covariance", "views"]


@pytest.mark.slow
def test_one_command_measures_both_of_a_run(workdir, run_main, monkeypatch):
  few = {"ROTATIONS": (-30, 30), "SCALES": (0.7,), "SHIFTS": (20,), "BLURS": (4,), "SIDES": (16,)}
  few |= {"NOISES": (20,), "GAMMAS": (3,), "COVERS": (30,)}
  for name, values in few.items():
    monkeypatch.setattr(factors, name, values)
  flags = {"workdir": str(workdir), "mode": "network_report", "views": 2}

  code, out, err = run_main(parts=["robustness", "calibration"], **flags)

  assert code == 0, err
  evaluated = json.loads((workdir / "eval" / "test.json").read_text())
  folder = workdir / "network_report"
  written = json.loads((folder / "test_robustness.json").read_text())
  for factor in written["factors"]:
    own = next(p for p in factor["points"] if p["value"] == factor["none"])
    assert own["nme"] == pytest.approx(evaluated["nme_ic"], rel=1e-3)
  assert len({point["nme"] for f in written["factors"] for point in f["points"]}) == 10
  read = robustness.read(folder / "test_robustness.json")
  assert robustness.describe({workdir.name: read}) in out

  confidences = json.loads((folder / "test_calibration.json").read_text())
  assert confidences["confidences"].keys() == {"score", "covariance", "views"}
  assert confidences["num_images"] == evaluated["num_images"]
  assert calibration.table(confidences) in out
  assert confidences["minus_score"].keys() == {"covariance", "views"}
  assert "\n* views minus score, gain in points over the same faces: landmarks " in out

  code, _, err = run_main(parts=["calibration"], **{**flags, "views": 1})
  assert code == 0, err
  confidences = json.loads((folder / "test_calibration.json").read_text())
  assert confidences["confidences"].keys() == {"score", "covariance"}
  assert confidences["minus_score"].keys() == {"covariance"}
  assert confidences["nme"] == pytest.approx(evaluated["nme_ic"], rel=1e-3)
