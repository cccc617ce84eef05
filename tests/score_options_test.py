"""--mode=score: other mark-ups and thresholds, faces not found, the mean shape, ids that differ."""

import csv
import functools
import json

import numpy as np
import pytest
import tiny_dataset
from command_line import run_main
from landmark_tables import IDS, SHIFT, N, make_faces, write, write_csv

from fal_jax import score
from fal_jax.errors import InputError
from fal_jax.plots import figure
from fal_jax.scoring import mean_shape
from fal_jax.scoring import truth as truths
from fal_jax.scoring.truth import Options

MARKUP = """
name: mine
origin: 1
landmarks: [right_eye, left_eye, nose, right_mouth, left_mouth]
mirror: [[right_eye, left_eye], [right_mouth, left_mouth]]
outer_eyes: [right_eye, left_eye]
"""
FIVE = np.array([[80.0, 100], [120, 100], [100, 120], [85, 140], [115, 140]])


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
  monkeypatch.setattr(figure, "has_matplotlib", lambda: False)


@pytest.fixture
def command_line(capsys, tmp_path):
  """Exit code, stdout and stderr of `main --mode=score` with the truth of 68 landmarks."""
  truth = write_csv(tmp_path / "truth.csv", make_faces())
  flags = {"mode": "score", "workdir": str(tmp_path / "run"), "truth": str(truth)}
  return functools.partial(run_main, capsys, **flags)


def summary(folder, name="mine"):
  return json.loads((folder / "run" / "score" / f"{name}.json").read_text())


def test_inner_points_have_a_table_with_nme_ic_of_their_own(tmp_path):
  truth = write(tmp_path / "truth.npz", make_faces(51))
  pred = write(tmp_path / "mine.npz", make_faces(51) + SHIFT)

  _, result = score.run(tmp_path, pred, Options(truth=truth))

  assert result["nme_ic"] == pytest.approx(12.5)
  assert result["warnings"] == []


@pytest.mark.parametrize(("of_truth", "of_pred"), [(68, 68), (68, 51), (51, 68), (51, 51)])
def test_68_landmarks_are_compared_by_their_inner_points_if_asked(tmp_path, of_truth, of_pred):
  """The jaw is far off, and the box is that of the inner points."""
  faces = make_faces()
  spoilt = faces + SHIFT
  spoilt[:, :17] += 500
  truth = write(tmp_path / "truth.npz", faces[:, -of_truth:])
  pred = write(tmp_path / "mine.npz", spoilt[:, -of_pred:])

  _, result = score.run(tmp_path, pred, Options(truth=truth, map_68_to_51=True))

  sides = np.ptp(faces[:, 17:], 1)
  assert result["nme_ic"] == pytest.approx(12.5)
  assert result["nme_box"] == pytest.approx((500 / np.sqrt(sides.prod(1))).mean())
  assert len(result["landmarks"]) == 51
  assert score.INNER_CAVEAT in result["warnings"]


@pytest.mark.parametrize(("of_truth", "of_pred"), [(68, 51), (51, 68)])
def test_files_of_68_and_of_51_lead_to_the_flag(tmp_path, of_truth, of_pred):
  truth = write(tmp_path / "truth.npz", make_faces()[:, -of_truth:])
  pred = write(tmp_path / "mine.npz", make_faces()[:, -of_pred:])

  with pytest.raises(InputError, match=f"has {of_truth}: add --map_68_to_51"):
    score.run(tmp_path, pred, Options(truth=truth))


@pytest.fixture
def five(tmp_path):
  """Truth, whose pixels count from 1, and predictions of five landmarks."""
  truth = write_csv(tmp_path / "five.csv", np.tile(FIVE + 1, (N, 1, 1)))
  return truth, write_csv(tmp_path / "mine.csv", np.tile(FIVE + SHIFT, (N, 1, 1)))


def test_any_number_of_landmarks_is_scored_by_its_mark_up_file(command_line, tmp_path, five):
  truth, pred = five
  (tmp_path / "markup.yaml").write_text(MARKUP)

  code, out, err = command_line(
    predictions=[str(pred)], truth=str(truth), markup_file=str(tmp_path / "markup.yaml")
  )

  assert code == 0, err
  assert "nme_ic 12.50" in out
  assert "by region: right_eye 12.50" in out
  assert summary(tmp_path)["provenance"]["truth_origin"] == 1


def test_without_a_mark_up_file_boxes_are_the_norm_and_the_way_to_eyes_is_said(tmp_path, five):
  truth, pred = five

  _, result = score.run(tmp_path, pred, Options(truth=truth, origin=-1))

  assert "nme_ic" not in result
  assert result["nme_box"] == pytest.approx(500 / np.sqrt(40 * 40))
  assert result["nme_diag"] == pytest.approx(500 / np.hypot(40, 40))
  (note,) = result["warnings"]
  assert "has 5 landmarks" in note
  assert "--markup_file" in note


def test_a_mark_up_file_of_another_number_is_refused(tmp_path, five):
  (tmp_path / "markup.yaml").write_text(MARKUP)
  truth = write_csv(tmp_path / "truth.csv", make_faces())

  options = Options(truth=truth, markup_file=tmp_path / "markup.yaml")
  with pytest.raises(InputError, match=r"68 landmarks per face, .*markup.yaml describes 5"):
    score.run(tmp_path, five[1], options)


def test_one_landmark_is_scored_by_the_annotation_s_own_boxes(tmp_path):
  boxes = np.tile([0.0, 0.0, 30.0, 40.0], (N, 1))
  points = np.tile([[[10.0, 20.0]]], (N, 1, 1))
  np.savez(tmp_path / "truth.npz", landmarks=points, ids=np.array(IDS), box=boxes)
  pred = write_csv(tmp_path / "mine.csv", points + SHIFT)

  _, result = score.run(tmp_path, pred, Options(truth=tmp_path / "truth.npz"))

  assert result["protocol"]["norm"] == "box"
  assert result["nme_diag"] == pytest.approx(10)


def test_thresholds_are_those_asked_for_under_every_norm(command_line, tmp_path):
  rising = make_faces() + np.arange(N)[:, None, None] * [0.0, 2.0]  # 0, 5, ..., 30 % of the eyes
  pred = write_csv(tmp_path / "mine.csv", rising)

  code, out, err = command_line(predictions=[str(pred)], thresholds=["7.5", "20", "7.50"])

  assert code == 0, err
  result = summary(tmp_path)
  assert result["auc_ic_7.5"] == pytest.approx(100 * (1 + 1 / 3) / 7)
  assert result["fr_ic_20"] == pytest.approx(100 * 2 / 7)
  assert {"auc_box_7.5", "fr_diag_20", "auc_ip_20"} <= result.keys()
  assert not {"auc_ic_10", "auc_ic_8", "auc_box_7"} & result.keys()
  assert "auc_ic_7.5" in result["auc_variants"]
  assert "interval over faces: nme_ic" in out
  assert "auc_ic_7.5" in out


@pytest.mark.parametrize("how", ["no row", "nan", "no row.json", "nan.npz"])
def test_faces_that_were_not_found_are_failures_if_asked(command_line, tmp_path, how):
  """Of errors 0, 5, ..., 30 % the first and the last are missing."""
  kind, _, suffix = how.partition(".")
  pred, ids = make_faces() + np.arange(N)[:, None, None] * [0.0, 2.0], IDS
  if kind == "nan":
    pred[0], pred[6, 3, 1] = np.nan, np.nan  # one coordinate is enough
  else:
    pred, ids = pred[1:6], IDS[1:6]
  path = write(tmp_path / f"mine.{suffix or 'csv'}", pred, ids)

  code, out, err = command_line(predictions=[str(path)], missing="failure")

  assert code == 0, err
  result = summary(tmp_path)
  assert (result["num_missing"], result["missing"]) == (2, [IDS[0], IDS[6]])
  assert result["nme_ic"] == pytest.approx((5 + 10 + 15 + 20 + 25) / 5)
  assert result["auc_ic_10"] == pytest.approx(100 * 0.5 / 7)
  assert result["fr_ic_10"] == pytest.approx(100 * 5 / 7)
  assert result["catastrophic"] == pytest.approx(100 * 3 / 7)
  assert result["percentiles"]["ic"]["max"] == pytest.approx(25)
  assert result["landmarks"] == pytest.approx([15] * 68)
  low, high = result["intervals"]["nme_ic"]
  assert 5 <= low < 15 < high <= 25
  assert "spiga" not in result["auc_variants"]["auc_ic_10"]
  assert "2 faces were not found and count as failures; nme is over the 5 found of 7" in out

  with (tmp_path / "run" / "score" / "mine_errors.csv").open() as file:
    errors = [float(row["nme_ic"]) for row in csv.DictReader(file)]
  assert errors == pytest.approx([np.inf, 5, 10, 15, 20, 25, np.inf])


def test_missing_faces_count_in_the_subsets_that_they_belong_to(tmp_path):
  np.savez(
    tmp_path / "truth.npz",
    landmarks=make_faces(),
    ids=np.array(IDS),
    subsets=np.array(["near", "near", *["far"] * 5]),
  )
  pred = write_csv(tmp_path / "mine.csv", make_faces()[1:2] + SHIFT, IDS[1:2])

  _, result = score.run(tmp_path, pred, Options(tmp_path / "truth.npz", missing="failure"))

  near, far = result["subsets"]["near"], result["subsets"]["far"]
  assert (near["nme_ic"], near["num_missing"]) == (pytest.approx(12.5), 1)
  assert (far["fr_ic_10"], far["num_missing"]) == (100, 5)
  assert "nme_ic" not in far


def test_no_face_found_and_unknown_ids_are_mistakes_all_the_same(tmp_path):
  truth = write_csv(tmp_path / "truth.csv", make_faces())
  options = Options(truth=truth, missing="failure")
  nothing = write_csv(tmp_path / "nan.csv", np.full((N, 68, 2), np.nan))
  strange = write_csv(tmp_path / "strange.csv", make_faces(), [*IDS[1:], "c.jpg"])

  with pytest.raises(InputError, match="none of the 7 faces"):
    score.run(tmp_path, nothing, options)
  with pytest.raises(InputError, match=r"1 predictions have ids .* does not know \(c.jpg\)"):
    score.run(tmp_path, strange, options)


def test_ids_are_joined_by_the_ends_of_their_paths_with_a_warning(command_line, tmp_path):
  names = [f"/data/me/{name}" for name in IDS]
  pred = write_csv(tmp_path / "mine.csv", make_faces()[::-1] + SHIFT, names[::-1])

  code, out, err = command_line(predictions=[str(pred)])

  assert code == 0, err
  assert summary(tmp_path)["nme_ic"] == pytest.approx(12.5)
  assert summary(tmp_path)["provenance"]["joined_by"] == "end of path"
  assert "WARNING: Ids of mine.csv and truth.csv differ, and were joined where their paths" in out


def test_ids_that_fit_two_faces_are_refused_with_both(tmp_path):
  truth = write_csv(tmp_path / "truth.csv", make_faces()[:2], ["0.jpg", "1.jpg"])
  pred = write_csv(tmp_path / "mine.csv", make_faces()[:3], ["a/0.jpg", "b/0.jpg", "1.jpg"])

  with pytest.raises(InputError, match=r"0.jpg may be a/0.jpg or b/0.jpg: write longer paths"):
    score.run(tmp_path, pred, Options(truth=truth))


def test_the_mean_shape_of_the_others_is_a_row_of_its_own(command_line, tmp_path):
  pred = write_csv(tmp_path / "mine.csv", make_faces())
  others = []
  for face in range(N):
    low, sides = np.array([50, 50]), np.array([100, 160])  # of all faces
    shapes = (np.delete(make_faces(), face, 0) - low) / sides
    others.append(low + shapes.mean(0) * sides)

  code, out, err = command_line(predictions=[str(pred)], baseline=True)

  assert code == 0, err
  nme = np.linalg.norm(np.stack(others) - make_faces(), axis=-1).mean(1) / 40 * 100
  assert summary(tmp_path, "mean_shape")["nme_ic"] == pytest.approx(nme.mean())
  assert [row["label"] for row in summary(tmp_path, "comparison")["rows"]] == ["mine", "mean_shape"]
  assert "* mean_shape: the box tight around each face's annotated landmarks, filled with" in out
  assert "so the row is too good" in out


@pytest.mark.slow
def test_a_dataset_s_mean_shape_is_that_of_its_training_faces(command_line, folder, tmp_path):
  config = tiny_dataset.config(folder)
  target = truths.read(Options(config=config))
  training = truths.read_training(config)
  pred = write_csv(tmp_path / "mine.csv", target.faces.landmarks, target.faces.ids)

  code, out, err = command_line(predictions=[str(pred)], config=config, truth=None, baseline=True)

  assert code == 0, err
  expected = mean_shape.predict(target.faces, training=training.landmarks).landmarks
  norm = np.linalg.norm(
    np.diff(target.faces.landmarks[:, tiny_dataset.EYES], axis=1)[:, 0], axis=-1
  )
  nme = 100 * np.linalg.norm(expected - target.faces.landmarks, axis=-1).mean(1) / norm
  assert summary(tmp_path, "mean_shape")["nme_ic"] == pytest.approx(nme.mean())
  assert "filled with the mean shape of tiny_faces, train" in out


def test_a_file_may_not_be_called_like_the_mean_shape(tmp_path):
  pred = write_csv(tmp_path / "mean_shape.csv", make_faces())

  with pytest.raises(InputError, match="give the file of that name another label"):
    score.compare(tmp_path, {"mean_shape": pred}, Options(truth=pred), baseline=True)
