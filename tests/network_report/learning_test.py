"""--runs: every checkpoint of several runs, measured alike and drawn together."""

import json

import pytest

from fal_jax import build, evaluate, restore
from fal_jax.consistency import agreement
from fal_jax.errors import InputError
from fal_jax.network_report import figure as figures
from fal_jax.network_report import learning
from fal_jax.plots import figure


def test_runs_have_the_labels_that_they_are_given_or_their_folder_s_names():
  texts = ["two views=runs/a", " alone = runs/b=c ", "runs/d"]
  assert learning.parse(texts) == {"two views": "runs/a", "alone": "runs/b=c", "d": "runs/d"}
  with pytest.raises(InputError, match="two are called 'a'"):
    learning.parse(["a=x", "runs/a"])


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    ({"face": "a.jpg"}, "--face=a.jpg is the face whose --heatmaps are drawn"),
    ({"runs": ["a", "b"], "weights": "free-68"}, "--runs and --weights are two reports"),
    ({"runs": ["a", "b"], "heatmaps": ["36"]}, "--runs and --heatmaps are two reports"),
  ],
)
def test_flags_of_different_reports_are_not_mixed(run_main, tmp_path, flags, sentence):
  code, _, err = run_main(mode="network_report", workdir=str(tmp_path), **flags)
  assert code == 2 and err.startswith(sentence) and err.count("\n") == 1


@pytest.mark.slow
def test_the_last_point_is_what_the_newest_checkpoint_gives(workdir, run_main, tmp_path):
  runs = [f"one={workdir}", f"same={workdir}"]

  code, out, err = run_main(
    mode="network_report", workdir=str(tmp_path / "out"), runs=runs, views=2
  )

  assert code == 0, err
  report = json.loads((tmp_path / "out" / "network_report" / "learning_curve.json").read_text())
  points = report["runs"]["one"]["points"]
  assert [point["step"] for point in points] == [10, 12]
  assert report["runs"]["same"]["points"] == points
  evaluated = json.loads((workdir / "eval" / "test.json").read_text())
  assert points[-1]["nme"] == pytest.approx(evaluated["nme_ic"], rel=1e-3)
  opened = evaluate.open_run(None, workdir)
  seen = agreement.in_views(opened.setup, opened.sources["test"], opened.variables, num_views=2)
  spreads = agreement.spreads(seen)
  assert points[-1]["agreement"] == pytest.approx(spreads.mean(), rel=1e-3)
  assert f"nme_ic {points[0]['nme']:.3f} %" in out

  code, _, err = run_main(mode="network_report", workdir=str(tmp_path), runs=runs, views=1)
  assert code == 2
  assert err == "--views=1: views are compared with each other; give 2 or more.\n"


@pytest.mark.slow
def test_runs_that_saw_other_views_are_not_compared(workdir):
  first = build.setup(restore.saved_config(workdir))
  other = restore.saved_config(workdir).unlock()
  other.augment.rotation = 10.0

  learning.check_comparable(first, first, label="same")
  with pytest.raises(InputError, match=r"other has another config\.augment than the first run"):
    learning.check_comparable(first, build.setup(other), label="other")


def test_the_figure_names_the_runs_and_their_last_values(tmp_path):
  if not figure.has_matplotlib():
    pytest.skip(figure.NO_MATPLOTLIB)

  def run(nme):
    points = [{"step": s, "nme": nme + 10 / s, "agreement": 2.0} for s in (1, 5, 10)]
    return {"points": points, "provenance": {"seed": 7}}

  report = {
    "norm": "ic",
    "dataset": "tiny",
    "split": "test",
    "num_images": 11,
    "views": {"number": 4, "rotation": 30.0, "scale": (0.85, 1.15)},
    "runs": {"Eq. 6": run(3.0), "alone": run(4.0)},
  }
  path = tmp_path / "learning.png"

  figures.draw_learning(path, report, command="the command")

  svg = path.with_suffix(".svg").read_text()
  for words in ("Eq. 6", "error 5.00 %", "spread 2.00 %", "training step", "seed 7", "the command"):
    assert words in svg, words
