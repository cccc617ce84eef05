"""--mode=score with several files: one table and one figure, and no file over another's."""

import functools
import json

import drawings
import numpy as np
import pytest
from command_line import run_main
from landmark_tables import IDS, N, make_faces, write, write_csv

from fal_jax import score
from fal_jax.errors import InputError
from fal_jax.plots import curves, figure
from fal_jax.scoring import reports
from fal_jax.scoring.truth import Options

# Shifts of 0, 2, ..., 12 px are 0, 5, ..., 30 % of the 40 px between the eyes.
RISING = np.arange(N)[:, None, None] * [0.0, 2.0]
# One face as the last of these, six as the fourth.
LEVEL = np.array([12.0, *[6.0] * 6])[:, None, None] * [0.0, 1.0]


@pytest.fixture
def files(tmp_path):
  """Truth, and two predictions of it in different formats and orders."""
  write_csv(tmp_path / "truth.csv", make_faces())
  write_csv(tmp_path / "rising.csv", make_faces() + RISING)
  write(tmp_path / "level.json", (make_faces() + LEVEL)[::-1], IDS[::-1])
  return tmp_path


@pytest.fixture
def command_line(capsys, files):
  """Exit code, stdout and stderr of `main --mode=score` with that truth."""
  flags = {"mode": "score", "workdir": str(files / "run"), "truth": str(files / "truth.csv")}
  return functools.partial(run_main, capsys, **flags)


@pytest.fixture
def no_figures(monkeypatch):
  monkeypatch.setattr(figure, "has_matplotlib", lambda: False)


def written(folder, name):
  return json.loads((folder / "run" / "score" / f"{name}.json").read_text())


def test_the_comparison_holds_what_is_computed_by_hand(command_line, files, no_figures):
  predictions = [f"linear={files / 'rising.csv'}", str(files / "level.json")]

  code, out, err = command_line(predictions=predictions)

  assert code == 0, err
  first, second = written(files, "comparison")["rows"]
  differences = second.pop("differences")
  assert differences["nme_ic"]["mean"] == pytest.approx((30 + 6 * 15) / 7 - 15)
  assert differences["nme_ic"]["faces"] == differences["auc_ic_10"]["faces"] == N
  assert "7 faces are too few for a verdict" in second.pop("verdict")
  assert first == pytest.approx(
    {
      "label": "linear",
      "nme_ic": 15,
      "auc_ic_10": 100 * 1.5 / 7,
      "fr_ic_10": 100 * 4 / 7,
      "catastrophic_ic": 100 * 2 / 7,
    }
  )
  # Better on the last three, which the first has at 20, 25 and 30 %, equal on one, worse on three.
  assert second == pytest.approx(
    {
      "label": "level",
      "nme_ic": (30 + 6 * 15) / 7,
      "auc_ic_10": 0,
      "fr_ic_10": 100,
      "catastrophic_ic": 100 / 7,
      "percent_improved": 100 * 3 / 7,
    }
  )

  title, _, head, _, *rows = out.splitlines()[:6]
  assert title == "truth.csv"
  assert [cell.strip() for cell in head.strip("|").split("|")] == [
    *("predictions", "nme_ic", "auc_ic_10", "fr_ic_10", "catastrophic_ic"),
    "better than linear, % of faces",
  ]
  assert [row.split() for row in rows] == [
    ["|", "linear", "|", "15.00", "|", "21.43", "|", "57.14", "|", "28.57", "|", "|"],
    ["|", "level", "|", "17.14", "|", "0.00", "|", "100.00", "|", "14.29", "|", "42.9", "|"],
  ]
  page = (files / "run" / "score" / "comparison.md").read_text()
  assert out.startswith(page.removeprefix("# "))


def test_each_file_s_results_are_those_it_has_alone(command_line, files, no_figures):
  code, _, err = command_line(predictions=[str(files / "rising.csv"), str(files / "level.json")])
  assert code == 0, err
  folder = files / "run" / "score"

  for name in ("rising.csv", "level.json"):
    alone = files / "alone"
    score.run(alone, files / name, Options(truth=files / "truth.csv"))
    for suffix in (".json", "_errors.csv"):
      file = name.split(".")[0] + suffix
      assert (folder / file).read_text() == (alone / "score" / file).read_text(), file


def test_one_figure_has_a_line_per_file_beside_the_figures_of_each(files, monkeypatch):
  drawn = {}
  monkeypatch.setattr(reports, "draw", lambda directory, name, *_, **__: drawn.update({name: None}))
  monkeypatch.setattr(
    curves, "draw_ced", lambda path, nme, **options: drawn.update({path.name: (nme, options)})
  )
  predictions = {"a": files / "rising.csv", "b": files / "level.json"}

  score.compare(files / "run", predictions, Options(truth=files / "truth.csv"))

  assert list(drawn) == ["a", "b", "comparison_ced.png"]
  nme, options = drawn["comparison_ced.png"]
  assert options == {"norm": "ic", "max_error": 10}
  assert list(nme) == ["a", "b"]
  np.testing.assert_allclose(nme["a"], [0, 5, 10, 15, 20, 25, 30], atol=1e-9)
  np.testing.assert_allclose(nme["b"], [30, *[15] * 6], atol=1e-9)


@pytest.mark.slow
def test_the_curves_of_all_files_are_in_one_figure(files):
  better = write_csv(files / "better.csv", make_faces() + RISING / 2)

  score.compare(
    files / "run", {"a": files / "rising.csv", "b": better}, Options(truth=files / "truth.csv")
  )

  names = {path.name for path in (files / "run" / "score").glob("*.png")}
  assert names == {
    *(f"{label}_{kind}.png" for label in "ab" for kind in ("ced", "landmarks")),
    "comparison_ced.png",
  }
  pixels = drawings.read_rgb(files / "run" / "score" / "comparison_ced.png")
  for colour in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0)):
    assert drawings.where(pixels, colour, 10).any()


def test_without_matplotlib_there_is_one_warning_and_the_rest_is_written(files, no_figures, caplog):
  predictions = {"a": files / "rising.csv", "b": files / "level.json"}

  score.compare(files / "run", predictions, Options(truth=files / "truth.csv"))

  assert caplog.text.count("No curves drawn: matplotlib is not installed") == 1
  assert sorted(path.name for path in (files / "run" / "score").iterdir()) == [
    *("a.json", "a_errors.csv", "b.json", "b_errors.csv", "comparison.json", "comparison.md"),
  ]


def test_what_is_doubtful_about_one_file_is_said_with_its_label(command_line, files, no_figures):
  write_csv(files / "one.csv", make_faces() + 1)

  code, out, _ = command_line(predictions=[str(files / "rising.csv"), f"x={files / 'one.csv'}"])

  assert code == 0
  (line,) = [line for line in out.splitlines() if "WARNING" in line]
  assert line.startswith("* WARNING: x: The predictions are offset by a median of (+1.00, +1.00)")


def test_a_mistake_in_the_last_file_comes_up_before_anything_is_written(command_line, files):
  write_csv(files / "short.csv", make_faces()[:3], IDS[:3])

  code, out, err = command_line(predictions=[str(files / "rising.csv"), str(files / "short.csv")])

  assert (code, out) == (2, "")
  assert "short.csv: 4 of 7 faces have no prediction" in err
  assert not (files / "run").exists()


def test_labels_are_names_of_files_unless_given(tmp_path):
  odd = tmp_path / "lr=0.1"
  odd.mkdir()
  (odd / "a=b.csv").touch()
  texts = ["runs/one/test.csv", "two=runs/two/test.csv", str(odd / "a=b.csv"), "c=d=e.csv"]

  assert score.label_files(texts) == {
    "test": "runs/one/test.csv",
    "two": "runs/two/test.csv",
    "a=b": str(odd / "a=b.csv"),
    "c": "d=e.csv",
  }
  assert score.label_files(["comparison.csv"]) == {"comparison": "comparison.csv"}


@pytest.mark.parametrize(
  ("texts", "named"),
  [
    (["a/test.csv", "b/test.csv"], "a/test.csv and b/test.csv would both be called test"),
    (["a.csv", "=b.csv"], "'=b.csv' cannot be called ''"),
    (["a.csv", ""], "'' cannot be called ''"),
    (["a.csv", "comparison.csv"], "'comparison.csv' cannot be called 'comparison'"),
  ],
)
def test_files_that_would_overwrite_each_other_are_refused(texts, named):
  with pytest.raises(InputError, match=named) as refused:
    score.label_files(texts)
  assert "\n" not in str(refused.value)


def test_faces_without_any_normaliser_cannot_be_compared(tmp_path):
  points = np.tile(make_faces()[:, :1], (1, 68, 1))  # each face is one spot
  truth = write_csv(tmp_path / "truth.csv", points)

  with pytest.raises(InputError, match="No annotated face has the normaliser"):
    score.compare(tmp_path, {"a": truth, "b": truth}, Options(truth=truth))
