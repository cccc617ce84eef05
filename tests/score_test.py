"""Strangers' predictions: closed-form numbers, joined by id, mistakes in one line."""

import csv
import json

import numpy as np
import pytest
import tiny_dataset
from absl import flags
from absl.testing import flagsaver

from fal_jax import data, evaluate, landmarks, main, metrics, parallel, score
from fal_jax.errors import InputError
from fal_jax.scoring import reports

N = 7
SHIFT = np.array([3.0, 4.0])  # px; 12.5 % of the 40 px between the eyes of `_true`
IDS = [f"a b/{row:02d}.jpg" for row in range(N)]


def _true(num: int = 68) -> np.ndarray:
  """(N, K, 2) faces of 100 to 160 px whose outer eye corners are 40 px apart, and whose boxes are
  100 x 160.
  """
  points = np.random.default_rng(0).uniform([0, 0], [100, 160], (N, num, 2)) + 50
  markup = landmarks.MARKUPS[num]
  points[:, [1, 2]] = [[50, 50], [150, 210]]
  points[:, list(markup.outer_eyes)] = [[80, 100], [120, 100]]
  return points


def _csv(path, landmarks, ids=IDS, **columns):
  with path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(
      ["id", *(f"{axis}{k}" for k in range(landmarks.shape[1]) for axis in "xy"), *columns]
    )
    for row, name in enumerate(ids):
      writer.writerow(
        [
          name,
          *map(repr, landmarks[row].reshape(-1).tolist()),
          *(column[row] for column in columns.values()),
        ]
      )
  return path


def _write(path, points, ids=IDS):
  """The same landmarks in each of the formats."""
  if path.suffix == ".csv":
    return _csv(path, points, ids)
  if path.stem == "list":
    path.write_text(
      json.dumps(
        [{"id": name, "landmarks": face.tolist()} for name, face in zip(ids, points, strict=True)]
      )
    )
  elif path.suffix == ".json":
    path.write_text(
      json.dumps({name: face.tolist() for name, face in zip(ids, points, strict=True)})
    )
  else:
    np.savez(path, landmarks=points, ids=np.array(ids))
  return path


@pytest.fixture
def truth(tmp_path):
  return _csv(tmp_path / "truth.csv", _true())


@pytest.fixture
def scored(tmp_path, truth, monkeypatch):
  """The summary of predictions; without pictures, which take most of the time."""
  monkeypatch.setattr(reports, "draw", lambda *_, **__: None)

  def scored(pred, name="mine.csv", ids=IDS, **options):
    return score.run(
      tmp_path / "run", _write(tmp_path / name, pred, ids), **{"truth": truth, **options}
    )[1]

  return scored


@pytest.mark.parametrize("name", ["mine.csv", "mine.json", "list.json", "mine.npz"])
def test_a_shift_of_known_length_gives_its_closed_form_in_every_format(scored, name):
  found = scored(_true() + SHIFT, name)
  assert found["num_images"] == N and found["warnings"] == []
  assert found["nme_ic"] == pytest.approx(100 * 5 / 40, abs=1e-9)
  assert found["nme_box"] == pytest.approx(100 * 5 / np.sqrt(100 * 160), abs=1e-9)
  assert found["nme_diag"] == pytest.approx(100 * 5 / np.hypot(100, 160), abs=1e-9)
  assert found["auc_ic_10"] == 0 and found["fr_ic_10"] == 100
  box = 100 * 5 / np.sqrt(100 * 160)
  assert (
    found["auc_box_7"] == pytest.approx(100 * (1 - box / 7), abs=1e-9) and found["fr_box_7"] == 0
  )
  assert found["percentiles"]["box"] == pytest.approx(
    dict.fromkeys(metrics.PERCENTILES, box), abs=1e-9
  )
  assert found["intervals"]["nme_ic"] == pytest.approx([12.5, 12.5], abs=1e-9)
  assert found["landmarks"] == pytest.approx([12.5] * 68, abs=1e-9)
  assert list(found["regions"].values()) == pytest.approx([12.5] * 7, abs=1e-9)


def test_errors_of_several_sizes_give_the_numbers_computed_by_hand(scored):
  """Shifts of 0, 2, ..., 12 px are 0, 5, ..., 30 % of the 40 px between the eyes."""
  pred = _true() + np.arange(N)[:, None, None] * [0.0, 2.0]
  found = scored(pred)
  assert found["nme_ic"] == pytest.approx(15, abs=1e-9)
  assert found["auc_ic_10"] == pytest.approx(100 * (1 + 0.5) / 7, abs=1e-9)
  assert found["fr_ic_10"] == pytest.approx(100 * 4 / 7, abs=1e-9)  # 10 % itself is no failure
  assert found["percentiles"]["ic"] == pytest.approx(
    {"median": 15, "p90": 27, "p95": 28.5, "max": 30}, abs=1e-9
  )
  assert found["auc_variants"]["auc_ic_10"]["mdm"] == pytest.approx(100 * 2 / 7, abs=1e-9)


def test_faces_are_joined_by_id_whatever_their_order(scored):
  order = np.random.default_rng(1).permutation(N)
  found = scored(_true()[order] + SHIFT, ids=[IDS[row] for row in order])
  assert (
    found["nme_ic"] == pytest.approx(12.5, abs=1e-9) and found["provenance"]["joined_by"] == "id"
  )


def test_bare_arrays_are_joined_by_order_only_if_asked(tmp_path, scored, truth):
  for name in ("mine.npy", "mine.npz"):
    path = tmp_path / name
    np.save(path, _true() + SHIFT) if path.suffix == ".npy" else np.savez(
      path, landmarks=_true() + SHIFT
    )
    with pytest.raises(InputError, match=f"{name} has no ids: add them, or --assume_order"):
      score.run(tmp_path, path, truth=truth)
    found = score.run(tmp_path, path, truth=truth, assume_order=True)[1]
    assert (
      found["nme_ic"] == pytest.approx(12.5, abs=1e-9)
      and found["provenance"]["joined_by"] == "order"
    )
  np.savez(tmp_path / "no_ids.npz", landmarks=_true())
  with pytest.raises(InputError, match=r"no_ids.npz has no ids"):
    scored(_true(), truth=tmp_path / "no_ids.npz")
  assert scored(_true(), truth=tmp_path / "no_ids.npz", assume_order=True)["nme_ic"] == 0


def test_ids_are_kept_to_even_if_the_order_may_be_assumed(scored):
  assert scored(_true()[::-1], ids=IDS[::-1], assume_order=True)["nme_ic"] == 0


def test_predictions_that_count_from_one_are_said_to_and_mended_by_origin(scored):
  (warning,) = scored(_true() + 1)["warnings"]
  assert "(+1.00, +1.00) px" in warning and "--origin=1" in warning
  mended = scored(_true() + 1, origin=1)
  assert (
    mended["nme_ic"] == pytest.approx(0, abs=1e-9)
    and mended["warnings"] == []
    and mended["provenance"]["origin"] == 1
  )


@pytest.mark.parametrize(
  ("spoil", "said"),
  [
    (
      lambda true: np.random.default_rng(5).uniform(0, 2000, true.shape),
      "are these the same faces",
    ),
    (lambda true: true[..., ::-1], "the predictions seem to be (y, x)"),
    (lambda true: (true - [50.0, 50.0]) * 4, "coordinates of a crop or of a resized image"),
  ],
)
def test_coordinates_of_another_frame_are_said_to_be_so(spoil, said):
  """Faces far from the corner of the image, so that other frames are far away as well."""
  true = _true() + np.array([400.0, 900.0])
  (warning,) = score.suspicions(spoil(true), true, np.full(N, 40.0))
  assert said in warning


def test_good_predictions_raise_no_suspicion():
  noise = np.random.default_rng(0).normal(0, 2, (N, 68, 2))
  assert score.suspicions(_true() + noise, _true(), np.full(N, 40.0)) == []


def test_what_is_not_annotated_need_not_be_predicted_and_costs_nothing(tmp_path, scored):
  true, pred = _true(), _true() + SHIFT
  true[:, 5], pred[:, 5] = np.nan, np.nan
  _write(tmp_path / "part.npz", true)
  found = scored(pred, truth=tmp_path / "part.npz")
  assert found["nme_ic"] == pytest.approx(12.5, abs=1e-9) and found["landmarks"][5] is None


def test_subsets_visibility_and_boxes_of_the_truth_have_numbers_of_their_own(tmp_path, scored):
  visible = np.ones((N, 68), bool)
  visible[:, :17] = False
  subsets = ["blur", "blur largepose", "", "largepose", "", "", ""]
  box = np.tile([0.0, 0.0, 300.0, 400.0], (N, 1))
  np.savez(
    tmp_path / "rich.npz",
    landmarks=_true(),
    names=np.array(IDS),
    visible=visible,
    subsets=np.array(subsets),
    box=box,
  )
  pred = _true()
  pred[[0, 1]] += [0.0, 4.0]  # 10 % of the eyes
  pred[:, :17] += [8.0, 0.0]
  found = scored(pred, truth=tmp_path / "rich.npz")
  mean = (np.hypot(8, 4) * 17 + 4 * 51) / 68 / 40 * 100, 8 * 17 / 68 / 40 * 100
  assert {name: numbers["num_images"] for name, numbers in found["subsets"].items()} == {
    "blur": 2,
    "largepose": 2,
  }
  assert found["subsets"]["blur"]["nme_ic"] == pytest.approx(mean[0], abs=1e-9)
  assert found["subsets"]["largepose"]["nme_ic"] == pytest.approx(sum(mean) / 2, abs=1e-9)
  assert found["visibility"]["visible"] == pytest.approx(10 * 2 / N, abs=1e-9)
  assert found["visibility"]["occluded"] == pytest.approx(
    100 / 40 * (2 * np.hypot(8, 4) + 5 * 8) / N, abs=1e-9
  )
  assert found["visibility"]["occluded_percent"] == pytest.approx(25)
  assert found["nme_diag_dataset"] == pytest.approx(found["nme_ic"] * 40 / 500, abs=1e-9)
  assert found["nme_box_dataset"] == pytest.approx(
    found["nme_ic"] * 40 / np.sqrt(300 * 400), abs=1e-9
  )


def test_98_landmarks_against_68_only_when_asked(tmp_path, scored):
  from fal_jax.scoring import cross_markup

  wflw = _true(98)
  _csv(tmp_path / "as68.csv", cross_markup.map_98_to_68(wflw))
  with pytest.raises(
    InputError, match=r"has 98 landmarks per face, as68.csv has 68: add --map_98_to_68"
  ):
    scored(wflw, truth=tmp_path / "as68.csv")
  found = scored(wflw + SHIFT, truth=tmp_path / "as68.csv", map_98_to_68=True)
  assert found["nme_ic"] == pytest.approx(12.5, abs=1e-9)
  assert found["warnings"] == [score.MAPPED] and found["provenance"]["map_98_to_68"]
  with pytest.raises(InputError, match="needs predictions of 98 landmarks"):
    scored(_true(), map_98_to_68=True)


def test_a_profile_is_scored_by_its_box(tmp_path):
  true = np.random.default_rng(0).uniform(0, 100, (N, 39, 2))
  paths = [
    _csv(tmp_path / f"{name}.csv", points) for name, points in (("p", true + SHIFT), ("t", true))
  ]
  found = score.run(tmp_path, paths[0], truth=paths[1])[1]
  assert found["protocol"]["norm"] == "box" and "nme_ic" not in found
  assert found["nme_box"] == pytest.approx((500 / metrics.norms(true, 39)["box"]).mean(), abs=1e-9)


def test_files_hold_the_numbers_the_errors_of_faces_and_pictures(tmp_path, truth):
  path = _csv(tmp_path / "mine.csv", _true() + np.arange(N)[:, None, None] * [0.0, 2.0])
  found = score.run(tmp_path / "run", path, truth=truth)[1]
  folder = tmp_path / "run" / "score"
  assert sorted(path.name for path in folder.iterdir()) == [
    "mine.json",
    "mine_ced.png",
    "mine_errors.csv",
    "mine_landmarks.png",
  ]
  assert json.loads((folder / "mine.json").read_text()) == found
  with (folder / "mine_errors.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["id"] for row in rows] == IDS and [float(row["nme_ic"]) for row in rows] == [
    0,
    5,
    10,
    15,
    20,
    25,
    30,
  ]
  assert found["provenance"].keys() >= {
    "predictions_sha256",
    "truth_sha256",
    "joined_by",
    "fal_jax",
    "git_commit",
  }


@pytest.fixture
def said(capsys):
  """What `main --mode=score` prints, and its exit code."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])

  def said(**values):
    with flagsaver.flagsaver(mode="score", **values):
      code = main.main([])
    printed = capsys.readouterr()
    return code, printed.out, printed.err

  return said


def test_the_command_line_prints_the_table_and_needs_no_config(said, tmp_path, truth):
  pred = _csv(tmp_path / "mine.csv", _true() + SHIFT)
  code, out, err = said(workdir=str(tmp_path), predictions=str(pred), truth=str(truth), markup=68)
  assert code == 0 and not err
  assert out.startswith(
    "mine.csv on truth.csv: 7 images, 0 without a usable normaliser\n  nme_ic 12.50      auc_ic_10 0.00"
  )
  assert "95 % interval over faces: nme_ic 12.50 to 12.50" in out and "by region: jaw 12.50" in out


@pytest.mark.slow
def test_our_own_predictions_scored_against_the_dataset_give_the_numbers_of_the_evaluation(
  said, folder, workdir, monkeypatch
):
  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
  config = tiny_dataset.config(folder)
  evaluated = evaluate.run(config, workdir)["test"]
  code, out, err = said(
    workdir=str(workdir), predictions=str(workdir / "eval" / "test_predictions.csv"), config=config
  )
  assert code == 0, err
  found = json.loads((workdir / "score" / "test_predictions.json").read_text())
  assert out.startswith("test_predictions.csv on tiny_faces, test: 11 images")
  for name, value in evaluated.items():
    if isinstance(value, float):
      assert found[name] == pytest.approx(value, abs=0.01 if "auc" not in name else 0.2)
  source = data.open_split(
    "tiny_faces", "test", data_dir=str(folder), num_landmarks=tiny_dataset.MARKUP
  )
  norm = metrics.norms(
    np.stack([r["landmarks"] for r in source]).astype(float), tiny_dataset.MARKUP
  )["ic"]
  assert (
    abs(found["nme_ic"] - evaluated["nme_ic"]) <= (100 * 0.0005 * np.sqrt(2) / norm).mean()
  )  # thousandths of a pixel


def _head(num=68):
  return ",".join(["id", *(f"{axis}{k}" for k in range(num) for axis in "xy")])


def _line(name, value="1.5", num=68):
  return ",".join([name, *[value] * (2 * num)])


def _faces_json(**changes):
  return {**{name: face.tolist() for name, face in zip(IDS, _true(), strict=True)}, **changes}


ALL = "\n".join(_line(name) for name in IDS)
BAD = {  # file name: (content, part of the answer)
  "missing.csv": (None, "cannot be read: No such file"),
  "mine.txt": ("x", "landmarks are read from .csv, .json, .npz, .npy files, not from .txt"),
  "empty.csv": ("", "the first line must be id,x0,y0,x1,y1"),
  "html.csv": ("<!doctype html><title>Log in</title>", "the first line must be id,x0,y0,x1,y1"),
  "no_header.csv": (ALL, "the first line must be id,x0,y0"),
  "columns.csv": (_head().replace("y3", "y33x") + "\n" + ALL, "missing y3"),
  "extra.csv": (_head() + ",score\n" + ALL, "unknown or double score"),
  "only_header.csv": (_head(), "holds no face"),
  "short_row.csv": (
    _head() + "\n" + _line(IDS[0], num=67),
    f"face 1 ('{IDS[0]}'): 135 columns, expected 137",
  ),
  "word.csv": (
    _head() + "\n" + _line(IDS[0]).replace("1.5", "left", 1),
    "x0 is 'left', not a number",
  ),
  "underscore.csv": (_head() + "\n" + _line(IDS[0], "1_0"), "x0 is '1_0', not a number"),
  "huge.csv": (_head() + "\n" + _line(IDS[0], "1e400"), "coordinates beyond 1e+07 px"),
  "nan.csv": (
    _head() + "\n" + ALL.replace("1.5", "nan", 1),
    "1 faces are NaN or missing where landmarks are annotated",
  ),
  "twice.csv": (
    _head() + "\n" + ALL + "\n" + _line(IDS[3]),
    f"gives 1 ids more than once ({IDS[3]})",
  ),
  "nameless.csv": (_head() + "\n" + _line(""), "has a face without an id (face 1)"),
  "lacking.csv": (
    _head() + "\n" + _line(IDS[0], "50"),
    f"6 of 7 faces have no prediction ({', '.join(IDS[1:])})",
  ),
  "unknown.csv": (
    _head() + "\n" + ALL + "\n" + _line("c.jpg"),
    "1 predictions have ids that truth.csv does not know (c.jpg)",
  ),
  "cofw.csv": (
    "\n".join([_head(29), *(_line(name, num=29) for name in IDS)]),
    "has 29 landmarks per face, truth.csv has 68",
  ),
  "wflw.csv": (
    "\n".join([_head(98), *(_line(name, num=98) for name in IDS)]),
    "add --map_98_to_68",
  ),
  "parts.csv": (
    "\n".join([_head(), *(_line(name, "0.5") for name in IDS)]),
    "parts of an image's size; multiply them by it",
  ),
  "latin.csv": ("id,é".encode("latin-1"), "is not a text in UTF-8"),
  "quote.csv": (_head() + '\n"' + _line(IDS[0]), "is not a CSV file"),
  "cut.json": ('{"a": [[1, 2]', "is not a JSON file"),
  "deep.json": ("[" * 100_000, "is not a JSON file"),
  "number.json": ("3", 'must be {"id": [[x, y], ...], ...} or a list'),
  "nothing.json": ("{}", "must be"),
  "keys.json": ('[{"name": "a", "landmarks": [[1, 2]]}]', "must be"),
  "flat.json": (
    json.dumps(_faces_json(**{IDS[2]: [1.0] * 136})),
    f"the landmarks of {IDS[2]} are not a list of [x, y]",
  ),
  "text.json": (json.dumps({IDS[0]: [["1", "2"]]}), "are not a list of [x, y]"),
  "ragged.json": (
    json.dumps(_faces_json(**{IDS[2]: [[1.0, 2.0]] * 67})),
    f"{IDS[0]} has 68 landmarks, but not {IDS[2]}",
  ),
  "twice.json": (
    json.dumps(_faces_json())[:-1]
    + f', "{IDS[1]}": [[1, 2]]}}'.replace("[[1, 2]]", json.dumps([[1, 2]] * 68)),
    f"gives 1 ids more than once ({IDS[1]})",
  ),
  "null.json": (
    json.dumps(_faces_json(**{IDS[2]: [[None, None]] * 68})),
    "1 faces are NaN or missing",
  ),
  "infinite.json": (
    json.dumps(_faces_json(**{IDS[2]: [[float("inf"), 0.0]] * 68})),
    f"beyond 1e+07 px for {IDS[2]}",
  ),
  "text.npz": ("not a zip", "cannot be read"),
  "pickled.npz": ({"landmarks": np.array([[{}]], object)}, "Python objects are not read"),
  "unnamed.npz": ({"points": np.zeros((N, 68, 2))}, "has no array `landmarks`"),
  "words.npz": ({"landmarks": np.full((N, 68, 2), "x")}, "`landmarks` must be numbers"),
  "flat.npz": (
    {"landmarks": np.zeros((N, 136)), "ids": np.array(IDS)},
    "have shape (7, 136), expected (faces, landmarks, 2)",
  ),
  "few_ids.npz": ({"landmarks": _true(), "ids": np.array(IDS[:3])}, "has 3 ids for 7 faces"),
  "no_ids.npz": ({"landmarks": _true()}, "has no ids: add them, or --assume_order"),
  "bad_visible.npz": (
    {"landmarks": _true(), "ids": np.array(IDS), "visible": np.ones(3)},
    "`visible` has shape (3,)",
  ),
  "bad_subsets.npz": (
    {"landmarks": _true(), "ids": np.array(IDS), "subsets": np.ones(N)},
    "`subsets` must be (N,) texts",
  ),
  "pickle.npy": (b"\x80\x04K\x01.", "Python objects are not read"),
  "few.npy": (_true()[:3], "has no ids"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_of_predictions_is_answered_in_one_line_and_with_2(said, tmp_path, truth, name):
  content, answer = BAD[name]
  path = tmp_path / name
  if isinstance(content, dict):
    np.savez(path, **content)
  elif isinstance(content, np.ndarray):
    np.save(path, content)
  elif content is not None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
  code, out, err = said(workdir=str(tmp_path / "run"), predictions=str(path), truth=str(truth))
  assert code == 2 and not out
  assert answer in err and name in err and len(err.splitlines()) == 1 and len(err) < 600, err
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("values", "answer"),
  [
    ({"predictions": None}, "No --predictions given"),
    ({"truth": None}, "Give --truth, a file with the annotated landmarks, or --config"),
    ({"markup": 98}, "has 68 landmarks per face but --markup is 98"),
    ({"markup": 5}, "no mark-up has 5 landmarks"),
    ({"workdir": None}, "No --workdir given"),
    ({"workdir": "{truth}"}, "Nothing can be written to --workdir="),
    ({"map_98_to_68": True}, "needs predictions of 98 landmarks"),
  ],
)
def test_flags_that_do_not_fit_are_answered_in_one_line(said, tmp_path, truth, values, answer):
  pred = _csv(tmp_path / "mine.csv", _true())
  given = {
    "workdir": str(tmp_path / "run"),
    "predictions": str(pred),
    "truth": str(truth),
    **values,
  }
  code, _, err = said(
    **{
      key: value.format(truth=truth) if isinstance(value, str) else value
      for key, value in given.items()
    }
  )
  assert code == 2 and answer in err and len(err.splitlines()) == 1


def test_an_archive_that_unpacks_to_more_than_any_landmarks_is_refused_unread(
  said, tmp_path, truth, monkeypatch
):
  from fal_jax.scoring import landmark_files

  np.savez_compressed(tmp_path / "bomb.npz", landmarks=np.zeros((1000, 68, 2)))
  monkeypatch.setattr(landmark_files, "MAX_BYTES", 100_000)
  code, _, err = said(
    workdir=str(tmp_path), predictions=str(tmp_path / "bomb.npz"), truth=str(truth)
  )
  assert code == 2 and "unpacks to 1,088," in err
  _csv(tmp_path / "long.csv", np.full((200, 68, 2), 1 / 3), [f"{row}" for row in range(200)])
  code, _, err = said(
    workdir=str(tmp_path), predictions=str(tmp_path / "long.csv"), truth=str(truth)
  )
  assert code == 2 and "bytes, more than 100,000" in err


def test_a_truth_without_a_landmark_of_some_face_or_with_ids_twice_is_refused(tmp_path, scored):
  true = _true()
  true[2] = np.nan
  _write(tmp_path / "hollow.npz", true)
  with pytest.raises(
    InputError, match=f"faces without a single landmark, leave them out: {IDS[2]}"
  ):
    scored(_true(), truth=tmp_path / "hollow.npz")
  _write(tmp_path / "double.npz", _true(), [*IDS[:-1], IDS[0]])
  with pytest.raises(InputError, match=f"double.npz gives 1 ids more than once .{IDS[0]}"):
    scored(_true(), truth=tmp_path / "double.npz")
