"""--mode=score: predictions of other methods get closed-form results, joined by id."""

import csv
import functools
import json

import numpy as np
import pytest
import tiny_dataset
from command_line import run_main
from landmark_tables import IDS, SHIFT, N, make_faces, write, write_csv

from fal_jax import data, evaluate, metrics, parallel, score
from fal_jax.errors import InputError
from fal_jax.scoring import cross_markup, reports
from fal_jax.scoring.truth import Options


@pytest.fixture
def truth(tmp_path):
  return write_csv(tmp_path / "truth.csv", make_faces())


@pytest.fixture
def scored(tmp_path, truth, monkeypatch):
  """The summary of predictions; without figures, which take most of the time."""
  monkeypatch.setattr(reports, "draw", lambda *_, **__: None)

  def scored(pred, name="mine.csv", ids=IDS, **options):
    path = write(tmp_path / name, pred, ids)
    return score.run(tmp_path / "run", path, Options(**{"truth": truth, **options}))[1]

  return scored


@pytest.mark.parametrize("name", ["mine.csv", "mine.json", "list.json", "mine.npz"])
def test_a_shift_of_known_length_gives_its_closed_form_in_every_format(scored, name):
  box = 100 * 5 / np.sqrt(100 * 160)

  summary = scored(make_faces() + SHIFT, name)

  assert summary["num_images"] == N
  assert summary["warnings"] == []
  assert summary["nme_ic"] == pytest.approx(100 * 5 / 40, abs=1e-9)
  assert summary["nme_box"] == pytest.approx(box, abs=1e-9)
  assert summary["nme_diag"] == pytest.approx(100 * 5 / np.hypot(100, 160), abs=1e-9)
  assert (summary["auc_ic_10"], summary["fr_ic_10"]) == (0, 100)
  assert summary["auc_box_7"] == pytest.approx(100 * (1 - box / 7), abs=1e-9)
  assert summary["fr_box_7"] == 0

  percentiles = dict.fromkeys(metrics.PERCENTILES, box)
  assert summary["percentiles"]["box"] == pytest.approx(percentiles, abs=1e-9)
  assert summary["intervals"]["nme_ic"] == pytest.approx([12.5, 12.5], abs=1e-9)
  assert summary["landmarks"] == pytest.approx([12.5] * 68, abs=1e-9)
  assert list(summary["regions"].values()) == pytest.approx([12.5] * 7, abs=1e-9)


def test_errors_of_several_sizes_give_the_results_computed_by_hand(scored):
  """Shifts of 0, 2, ..., 12 px are 0, 5, ..., 30 % of the 40 px between the eyes."""
  pred = make_faces() + np.arange(N)[:, None, None] * [0.0, 2.0]

  summary = scored(pred)

  assert summary["nme_ic"] == pytest.approx(15, abs=1e-9)
  assert summary["auc_ic_10"] == pytest.approx(100 * (1 + 0.5) / 7, abs=1e-9)
  assert summary["fr_ic_10"] == pytest.approx(100 * 4 / 7, abs=1e-9)  # 10 % is not a failure
  percentiles = {"median": 15, "p90": 27, "p95": 28.5, "max": 30}
  assert summary["percentiles"]["ic"] == pytest.approx(percentiles, abs=1e-9)
  assert summary["auc_variants"]["auc_ic_10"]["mdm"] == pytest.approx(100 * 2 / 7, abs=1e-9)


def test_faces_are_joined_by_id_whatever_their_order(scored):
  order = np.random.default_rng(1).permutation(N)

  summary = scored(make_faces()[order] + SHIFT, ids=[IDS[row] for row in order])

  assert summary["nme_ic"] == pytest.approx(12.5, abs=1e-9)
  assert summary["provenance"]["joined_by"] == "id"


@pytest.mark.parametrize("name", ["mine.npy", "mine.npz"])
def test_bare_arrays_are_joined_by_order_only_if_asked(tmp_path, truth, name):
  path, pred = tmp_path / name, make_faces() + SHIFT
  if path.suffix == ".npy":
    np.save(path, pred)
  else:
    np.savez(path, landmarks=pred)

  with pytest.raises(InputError, match=f"{name} has no ids: add them, or --assume_order"):
    score.run(tmp_path, path, Options(truth=truth))
  summary = score.run(tmp_path, path, Options(truth=truth, assume_order=True))[1]

  assert summary["nme_ic"] == pytest.approx(12.5, abs=1e-9)
  assert summary["provenance"]["joined_by"] == "order"


def test_a_truth_without_ids_is_joined_by_order_only_if_asked(tmp_path, scored):
  path = tmp_path / "no_ids.npz"
  np.savez(path, landmarks=make_faces())

  with pytest.raises(InputError, match=r"no_ids.npz has no ids"):
    scored(make_faces(), truth=path)

  assert scored(make_faces(), truth=path, assume_order=True)["nme_ic"] == 0


def test_ids_are_used_even_if_the_order_may_be_assumed(scored):
  assert scored(make_faces()[::-1], ids=IDS[::-1], assume_order=True)["nme_ic"] == 0


def test_predictions_that_count_from_one_are_warned_of_and_fixed_by_origin(scored):
  (warning,) = scored(make_faces() + 1)["warnings"]
  fixed = scored(make_faces() + 1, origin=1)

  assert "(+1.00, +1.00) px" in warning
  assert "--origin=1" in warning
  assert fixed["nme_ic"] == pytest.approx(0, abs=1e-9)
  assert fixed["warnings"] == []
  assert fixed["provenance"]["origin"] == 1


def test_what_is_not_annotated_need_not_be_predicted_and_costs_nothing(tmp_path, scored):
  true, pred = make_faces(), make_faces() + SHIFT
  true[:, 5] = np.nan
  pred[:, 5] = np.nan
  write(tmp_path / "part.npz", true)

  summary = scored(pred, truth=tmp_path / "part.npz")

  assert summary["nme_ic"] == pytest.approx(12.5, abs=1e-9)
  assert summary["landmarks"][5] is None


def test_subsets_visibility_and_boxes_of_the_truth_have_results_of_their_own(tmp_path, scored):
  visible = np.ones((N, 68), bool)
  visible[:, :17] = False
  np.savez(
    tmp_path / "rich.npz",
    landmarks=make_faces(),
    names=np.array(IDS),
    visible=visible,
    subsets=np.array(["blur", "blur largepose", "", "largepose", "", "", ""]),
    box=np.tile([0.0, 0.0, 300.0, 400.0], (N, 1)),
  )
  pred = make_faces()
  pred[[0, 1]] += [0.0, 4.0]  # 10 % of the eyes
  pred[:, :17] += [8.0, 0.0]

  summary = scored(pred, truth=tmp_path / "rich.npz")

  subsets = summary["subsets"]
  assert {name: subset["num_images"] for name, subset in subsets.items()} == {
    "blur": 2,
    "largepose": 2,
  }
  shifted_twice = (np.hypot(8, 4) * 17 + 4 * 51) / 68 / 40 * 100
  shifted_once = 8 * 17 / 68 / 40 * 100
  assert subsets["blur"]["nme_ic"] == pytest.approx(shifted_twice, abs=1e-9)
  mean = (shifted_twice + shifted_once) / 2
  assert subsets["largepose"]["nme_ic"] == pytest.approx(mean, abs=1e-9)

  visibility = summary["visibility"]
  occluded = 100 / 40 * (2 * np.hypot(8, 4) + 5 * 8) / N
  assert visibility["visible"] == pytest.approx(10 * 2 / N, abs=1e-9)
  assert visibility["occluded"] == pytest.approx(occluded, abs=1e-9)
  assert visibility["occluded_percent"] == pytest.approx(25)

  diag, box = summary["nme_ic"] * 40 / 500, summary["nme_ic"] * 40 / np.sqrt(300 * 400)
  assert summary["nme_diag_dataset"] == pytest.approx(diag, abs=1e-9)
  assert summary["nme_box_dataset"] == pytest.approx(box, abs=1e-9)


def test_98_landmarks_are_mapped_to_68_only_when_asked(tmp_path, scored):
  wflw = make_faces(98)
  write_csv(tmp_path / "as68.csv", cross_markup.map_98_to_68(wflw))

  hint = "has 98 landmarks per face, as68.csv has 68: add --map_98_to_68"
  with pytest.raises(InputError, match=hint):
    scored(wflw, truth=tmp_path / "as68.csv")
  summary = scored(wflw + SHIFT, truth=tmp_path / "as68.csv", map_98_to_68=True)

  assert summary["nme_ic"] == pytest.approx(12.5, abs=1e-9)
  assert summary["warnings"] == [score.MAPPING_CAVEAT]
  assert summary["provenance"]["map_98_to_68"]
  with pytest.raises(InputError, match="needs predictions of 98 landmarks"):
    scored(make_faces(), map_98_to_68=True)


def test_a_profile_is_scored_by_its_box(tmp_path):
  true = np.random.default_rng(0).uniform(0, 100, (N, 39, 2))
  pred_path = write_csv(tmp_path / "p.csv", true + SHIFT)
  true_path = write_csv(tmp_path / "t.csv", true)

  _, summary = score.run(tmp_path, pred_path, Options(truth=true_path))

  assert summary["protocol"]["norm"] == "box"
  assert "nme_ic" not in summary
  expected = (500 / metrics.norms(true, 39)["box"]).mean()
  assert summary["nme_box"] == pytest.approx(expected, abs=1e-9)


def test_the_files_hold_the_results_the_errors_of_faces_and_figures(tmp_path, truth):
  pred = make_faces() + np.arange(N)[:, None, None] * [0.0, 2.0]
  path = write_csv(tmp_path / "mine.csv", pred)

  _, summary = score.run(tmp_path / "run", path, Options(truth=truth))

  folder = tmp_path / "run" / "score"
  figures = [f"mine_{name}.{kind}" for name in ("ced", "landmarks") for kind in ("png", "svg")]
  names = {"mine.json", "mine_errors.csv", *figures}
  assert {path.name for path in folder.iterdir()} == names
  assert json.loads((folder / "mine.json").read_text()) == summary
  with (folder / "mine_errors.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["id"] for row in rows] == IDS
  assert [float(row["nme_ic"]) for row in rows] == [0, 5, 10, 15, 20, 25, 30]
  keys = {"predictions_sha256", "truth_sha256", "joined_by", "fal_jax", "git_commit"}
  assert summary["provenance"].keys() >= keys


@pytest.fixture
def command_line(capsys):
  """Exit code, stdout and stderr of `main --mode=score`."""
  return functools.partial(run_main, capsys, mode="score")


@pytest.mark.slow
def test_the_command_line_prints_the_table_and_needs_no_config(command_line, tmp_path, truth):
  pred = write_csv(tmp_path / "mine.csv", make_faces() + SHIFT)

  code, out, err = command_line(
    workdir=str(tmp_path), predictions=[str(pred)], truth=str(truth), markup=68
  )

  assert code == 0
  assert not err
  title, metrics_line, *_ = out.splitlines()
  assert title == "mine.csv on truth.csv: 7 images, 0 without a valid normaliser"
  assert metrics_line.startswith("  nme_ic 12.50      auc_ic_10 0.00")
  assert "95 % interval over faces: nme_ic 12.50 to 12.50" in out
  assert "by region: jaw 12.50" in out


@pytest.mark.slow
def test_our_own_predictions_get_the_results_of_our_evaluation(
  command_line, folder, workdir, monkeypatch
):
  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
  config = tiny_dataset.config(folder)
  evaluated = evaluate.run(config, workdir)["test"]
  predictions = [str(workdir / "eval" / "test_predictions.csv")]

  code, out, err = command_line(workdir=str(workdir), predictions=predictions, config=config)

  assert code == 0, err
  assert out.startswith("test_predictions.csv on tiny_faces, test: 11 images")
  summary = json.loads((workdir / "score" / "test_predictions.json").read_text())
  for name, value in evaluated.items():
    if isinstance(value, float):
      assert summary[name] == pytest.approx(value, abs=0.2 if "auc" in name else 0.01)

  # The file holds thousandths of a pixel.
  source = data.open_split(
    "tiny_faces", "test", data_dir=str(folder), num_landmarks=tiny_dataset.MARKUP
  )
  true = np.stack([record["landmarks"] for record in source]).astype(float)
  norm = metrics.norms(true, tiny_dataset.MARKUP)["ic"]
  rounding = (100 * 0.0005 * np.sqrt(2) / norm).mean()
  assert abs(summary["nme_ic"] - evaluated["nme_ic"]) <= rounding
