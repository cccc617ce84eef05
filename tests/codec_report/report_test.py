"""--mode=codec_report: known errors come out, and every landmark counts once."""

import csv
import dataclasses
import json
import os
import shlex
import typing
from pathlib import Path

import numpy as np
import pytest
import tiny_dataset
from codec_reports import config, many_faces, run_report, write_npz
from command_line import run_main

from fal_jax import data, heatmap, landmarks
from fal_jax.codec_report import decoder_tables, pictures, report, sweeps
from fal_jax.heatmap import HeatmapCodec
from fal_jax.plots import figure
from fal_jax.scoring import annotations

LOCAL = "continuous + local_softargmax"
STANDARD = "rounded + argmax"


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
  """Of the tables of decoders, which other files test; each report makes them."""
  monkeypatch.setattr(decoder_tables, "POINTS", 64)


@pytest.fixture
def few_settings(monkeypatch):
  """In the pictures, each of which compiles anew: one test draws them all."""
  monkeypatch.setattr(decoder_tables, "report", lambda _: "")
  monkeypatch.setattr(pictures, "draw_decoders", lambda *_, **__: "")
  for name, few in (("SIGMAS", (1.5,)), ("WINDOWS", (5,)), ("STRIDES", (4,))):
    monkeypatch.setattr(sweeps, name, few)


@pytest.fixture
def no_pictures(few_settings, monkeypatch):
  """No figures of faces either, and nothing measured for them."""
  monkeypatch.setattr(pictures, "draw_faces", lambda *_, **__: "")
  for name in ("by_position", "by_setting"):
    monkeypatch.setattr(sweeps, name, lambda *_: {})


class ByHand(typing.NamedTuple):
  """What rounding to cells costs faces (N, K, 2) with crops of 256 px around 220 px of face."""

  heatmap_px: float
  percent: dict[str, np.ndarray]  # normaliser -> (N,)

  @classmethod
  def of(cls, true: np.ndarray) -> "ByHand":
    low, high = true.min(1, keepdims=True), true.max(1, keepdims=True)
    scale = 220 / (high - low).max(-1, keepdims=True)  # crop px per image px
    position = ((true - (low + high) / 2) * scale + 127.5 + 0.5) / 4 - 0.5
    distance = np.linalg.norm(np.floor(position + 0.5) - position, axis=-1)
    error = (4 * distance / scale[..., 0]).mean(1)  # image px

    right, left = landmarks.MARKUPS[29].outer_eyes
    norms = {
      "ic": np.linalg.norm(true[:, right] - true[:, left], axis=-1),
      "box": np.sqrt((high - low).prod(-1))[:, 0],
      "diag": np.linalg.norm(high - low, axis=-1)[:, 0],
    }
    percent = {name: 100 * error / norm for name, norm in norms.items()}
    return cls(float(distance.mean()), percent)


@pytest.mark.slow
def test_the_table_holds_what_a_calculation_by_hand_gives(tmp_path):
  true = many_faces()
  expected = ByHand.of(true)
  names = [f"face {row}" for row in range(40)]

  written, text = run_report(tmp_path, write_npz(tmp_path, landmarks=true, names=names))

  assert (written["faces"], written["landmarks"]) == (40, 40 * 29)
  assert written["percent_cut"] == written["percent_outside"] == 0
  row = written["methods"][STANDARD]
  assert row["heatmap_px"] == pytest.approx(expected.heatmap_px, rel=1e-3)
  for norm, percent in expected.percent.items():
    assert row[f"nme_{norm}"] == pytest.approx(percent.mean(), rel=1e-3), norm
  assert row["ratio"] == 1
  assert written["methods"][LOCAL]["ratio"] == pytest.approx(13.1, rel=0.05)

  folder = tmp_path / "run" / "codec_report"
  with (folder / "faces.csv").open() as file:
    head, *rows = csv.reader(file)
  assert head[0] == "nme_ic"
  assert [row[0] for row in rows] == names
  errors = [float(row[head.index(STANDARD)]) for row in rows]
  np.testing.assert_allclose(errors, expected.percent["ic"], rtol=1e-3)
  for column, name in enumerate(head[1:], 1):
    ratios = np.array([float(row[column]) for row in rows]) / errors
    method = written["methods"][name]
    assert method["percent_improved"] == pytest.approx(100 * (ratios < 1).mean()), name
    assert method["worst_ratio"] == pytest.approx(ratios.max()), name
  assert f"{LOCAL}, the paper's, reduces the error of 100 % of the faces" in text

  page = (folder / "faces.md").read_text()
  for part in (text.split("\n\nReport")[0], "(faces.png)", "the command", '"face": 220.0'):
    assert part in page
  assert "--config.codec.temperature=7.6" in text
  assert (folder / "faces.png").stat().st_size > 20_000


def test_every_decoder_of_the_codec_has_its_row():
  names = set(report.methods(config()))

  decoders = {f"continuous + {name}" for name in typing.get_args(heatmap.Decoding)}
  assert decoders | {STANDARD, report.EQ_1} <= names
  assert not any(name.startswith("config") for name in names)


def test_a_config_with_a_codec_of_its_own_has_its_row():
  methods = report.methods(config(codec__encode="rounded"))

  own = methods["config: rounded + local_softargmax, peak_one"]
  assert own == HeatmapCodec(encoding="rounded")


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
@pytest.mark.filterwarnings("error")
def test_the_amplitude_of_equation_1_is_shown_as_a_trap_and_warned_about_if_chosen(tmp_path):
  path = write_npz(tmp_path, landmarks=many_faces())

  usual, usual_text = run_report(tmp_path, path)
  chosen, chosen_text = run_report(tmp_path, path, codec__amplitude="normalised")

  assert usual["methods"][report.EQ_1]["heatmap_px"] == pytest.approx(0.304, rel=0.03)
  assert "WARNING" not in usual_text
  assert "2 pi sigma^2 = 14.1" in usual_text
  assert "* WARNING: config.codec.amplitude is normalised" in chosen_text
  assert chosen["methods"] == usual["methods"]
  assert chosen["temperature"]["recommended"] == pytest.approx(7.62 * 14.14, rel=0.02)
  assert chosen["temperature_heatmap_px"]["config"] == pytest.approx(0.304, rel=0.03)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_landmarks_that_are_not_annotated_are_counted_and_change_no_other(tmp_path):
  true = many_faces()
  corners = np.stack([true.min(1), true.max(1)], 1)
  true = np.concatenate([true[:, :27], corners], 1)  # the box stays when others go
  holes = true.copy()
  holes[0, 9] = np.nan, 3.0  # an eye corner: this face has no normaliser ic
  holes[1, 3] = np.nan

  whole, _ = run_report(tmp_path, write_npz(tmp_path, landmarks=true))
  written, text = run_report(tmp_path, write_npz(tmp_path, landmarks=holes))

  assert written["not_annotated"] == 2
  assert written["landmarks"] == 40 * 29 - 2
  assert "(2 not annotated)" in text
  assert written["degenerate"] == {"ic": ["0"]}
  assert "1 faces lack the normaliser ic" in text
  expected = whole["methods"][LOCAL]["heatmap_px"]
  assert written["methods"][LOCAL]["heatmap_px"] == pytest.approx(expected, rel=0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_landmarks_near_and_beyond_the_border_are_reported(tmp_path):
  # The crop begins at 22, its ninth pixel at 30.
  places = np.concatenate([[0.0, 300.0], np.arange(19.25, 32.5, 0.5)])
  true = np.tile(np.stack([places, places], -1), (3, 1, 1))

  written, text = run_report(tmp_path, write_npz(tmp_path, landmarks=true), crop__face=300.0)

  assert written["percent_outside"] == pytest.approx(100 * (1 + (places < 22).sum()) / 29)
  assert written["percent_cut"] == pytest.approx(100 * (1 + (places < 30).sum()) / 29)
  near = f"{written['percent_cut']:.2f} % of the landmarks lie within 2 heatmap px of the border"
  assert near in text


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_profiles_are_measured_by_their_boxes(tmp_path):
  path = write_npz(tmp_path, landmarks=many_faces(num=39))

  written, text = run_report(tmp_path, path, data__markup=39)

  assert written["curve"] == "box"
  assert written["degenerate"] == {}
  assert "NME_box %" in text
  assert "NME_ic %" not in text


@pytest.mark.slow
@pytest.mark.usefixtures("few_settings")
def test_a_prepared_dataset_gives_one_report_per_split_without_decoding_an_image(
  folder, tmp_path, monkeypatch
):
  monkeypatch.setattr(data, "read_image", None)
  options = tiny_dataset.config(folder, eval__splits=("train", "test[:5]"), data__box="dataset")

  train, test = report.run(options, tmp_path, None, command="")

  assert [text.splitlines()[0] for text in (train, test)] == ["train", "test[:5]"]
  assert "12 faces" in train
  assert "box: dataset" in train
  assert "5 faces" in test
  page = (tmp_path / "codec_report" / "test[:5].md").read_text()
  assert "(test%5B%3A5%5D.png)" in page or not figure.has_matplotlib()

  written = json.loads((tmp_path / "codec_report" / "train.json").read_text())
  sizes = [(70 + seed % 7, 80 + seed % 5) for seed in range(12)]
  true = np.stack([tiny_dataset.face_landmarks(seed, size) for seed, size in enumerate(sizes)])
  sides = (true.max(1) + 5 - (true.min(1) - 3)).max(1)  # of the boxes that the dataset gives
  right, left = tiny_dataset.EYES
  eyes = np.linalg.norm(true[:, right] - true[:, left], axis=-1)
  row = written["methods"][STANDARD]
  image_px = row["nme_ic"] / 100 * eyes.mean()
  assert image_px == pytest.approx(row["heatmap_px"] * 4 * (sides / 55).mean(), rel=0.1)
  assert written["provenance"]["dataset"] == tiny_dataset.NAME


@pytest.mark.slow
@pytest.mark.usefixtures("few_settings")
def test_without_matplotlib_the_table_is_made_and_the_missing_figure_mentioned(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(report, "has_matplotlib", lambda: False)

  _, text = run_report(tmp_path, write_npz(tmp_path, landmarks=many_faces()))

  assert "No figure is drawn: matplotlib is not installed" in text
  assert f"| {STANDARD}" in text
  names = ["decoders.md", "faces.csv", "faces.json", "faces.md"]
  assert sorted(path.name for path in (tmp_path / "run" / "codec_report").iterdir()) == names


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_the_command_line_prints_the_table_and_refuses_in_a_sentence(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr("sys.argv", ["main.py", "--mode=codec_report", "--workdir=a b"])
  path = write_npz(tmp_path, landmarks=many_faces(3))
  flags = {"mode": "codec_report", "config": config(), "workdir": str(tmp_path / "run")}

  code, out, _ = run_main(capsys, landmarks=path, **flags)
  bad_code, _, err = run_main(capsys, landmarks=f"{path}.npz", **flags)

  page = tmp_path / "run" / "codec_report" / "faces.md"
  assert code == 0
  assert f"| {LOCAL}" in out
  assert str(page) in out
  command = shlex.join(["python", "-m", "fal_jax.main", "--mode=codec_report", "--workdir=a b"])
  assert command in page.read_text()
  assert bad_code == 2
  assert err.count("\n") == 1
  assert "faces.npz.npz cannot be read: No such file or directory" in err


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "num"),
  [("w300_full", 68), ("cofw29_test", 29), ("wflw_test_subsets", 98), ("menpo_profile", 39)],
)
@pytest.mark.parametrize(("sigma", "at_least"), [(1.5, 12), (2.0, 38)])
def test_on_real_annotations_ours_beats_the_standard_tenfold(name, num, sigma, at_least):
  root = os.environ.get("FAL_JAX_TEST_DATA")
  if root is None:
    pytest.skip("FAL_JAX_TEST_DATA is not set: no real annotations to encode")
  faces = annotations.read_npz(Path(root) / "annotations" / f"{name}.npz", num_landmarks=num)
  some = slice(None, None, len(faces.ids) // 60)
  faces = dataclasses.replace(
    faces, ids=faces.ids[some], landmarks=faces.landmarks[some], boxes=faces.boxes[some]
  )

  written, errors = report.measure(faces, config(data__markup=num, codec__sigma=sigma))

  assert written["methods"][LOCAL]["ratio"] >= at_least
  # Each single face, not just their mean.
  assert (errors[STANDARD] > 5 * errors[LOCAL]).all()
  assert written["methods"][LOCAL]["percent_improved"] == 100
  assert written["methods"][LOCAL]["worst_ratio"] == (errors[LOCAL] / errors[STANDARD]).max()
