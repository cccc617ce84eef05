"""--mode=codec_report: known errors come out, temperatures are recommended that are best, every
landmark counts once.
"""

import csv
import dataclasses
import json
import math
import os
import shlex
import typing
from pathlib import Path

import numpy as np
import pytest
import tiny_dataset
from absl import flags
from absl.testing import flagsaver

from fal_jax import data, heatmap, landmarks
from fal_jax import main as command_line
from fal_jax.codec_report import report as codec_report
from fal_jax.codec_report import roundtrip
from fal_jax.errors import InputError
from fal_jax.heatmap import HeatmapCodec
from fal_jax.plots import figure
from fal_jax.scoring import annotations

# Mean distance of a random point of a unit square to its centre: what is lost with the fraction of
# a cell.
UNIT_SQUARE = (math.sqrt(2) + math.asinh(1)) / 6
LOCAL = "continuous + local_softargmax"


def config(**changes):
  """At the paper's size; without a dataset."""
  return tiny_dataset.config(
    Path("nowhere"), **{"crop__size": 256, "crop__stored_size": 416, "crop__face": 220.0, **changes}
  )


def many_faces(count: int = 40, num: int = 29) -> np.ndarray:
  """(N, K, 2) image px: random points of faces of random size and place, so the offsets in a cell
  are random as well.
  """
  rng = np.random.default_rng(num)
  sides = rng.uniform(80, 400, (count, 1, 1))
  return rng.uniform(-20, 500, (count, 1, 2)) + sides * rng.uniform(0, 1, (count, num, 2))


def npz(folder: Path, **arrays) -> str:
  np.savez(folder / "faces.npz", **arrays)
  return str(folder / "faces.npz")


def report(tmp_path: Path, path: str | None, **changes) -> tuple[dict, str]:
  """The only report's JSON, and what belongs on the screen."""
  (text,) = codec_report.run(config(**changes), tmp_path / "run", path, command="the command")
  (written,) = (tmp_path / "run" / "codec_report").glob("*.json")
  return json.loads(written.read_text()), text


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    ({"encode": "rounded", "decode": "argmax"}, UNIT_SQUARE),
    ({"encode": "rounded", "decode": "quarter_offset"}, UNIT_SQUARE),
    ({"decode": "argmax"}, UNIT_SQUARE),
    ({"decode": "quarter_offset"}, UNIT_SQUARE / 2),
    ({"sigma": 1.0}, 0.136),
    ({"sigma": 1.5}, 0.029),
    ({"sigma": 2.0}, 0.0095),
  ],
)
def test_what_comes_back_of_random_points_errs_by_the_known_distance(options, expected):
  points = 4 * np.random.default_rng(0).uniform(8, 56, (70, 50, 2))
  error = (
    np.linalg.norm(roundtrip.roundtrip(HeatmapCodec(**options), points) - points, axis=-1).mean()
    / 4
  )
  assert error == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("shape", [(1, 2), (256, 2), (3, 100, 2)])
def test_batching_changes_neither_shape_nor_values(shape):
  points = np.random.default_rng(1).uniform(30, 220, shape)
  codec = HeatmapCodec()
  expected = codec.decode(codec.encode(points))[0]
  np.testing.assert_allclose(roundtrip.roundtrip(codec, points), expected, atol=1e-3)


def loop_error(sigma: float, window: int, temperature: float) -> float:
  """Mean error of Eq. 4-5 over the offsets of a cell, one point and one cell at a time."""
  cells, errors = range(-(window // 2), window // 2 + 1), []
  for px in np.arange(-11.5, 12) / 24:
    for py in np.arange(-11.5, 12) / 24:
      total, mean = 0.0, np.zeros(2)
      for y in cells:
        for x in cells:
          weight = math.exp(
            temperature * math.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
          )
          total, mean = total + weight, mean + weight * np.array([x, y])
      errors.append(np.hypot(*(mean / total - [px, py])))
  return float(np.mean(errors))


@pytest.mark.parametrize(("sigma", "window", "temperature"), [(1, 5, 10), (1.5, 3, 4), (2, 7, 20)])
def test_the_error_at_a_temperature_is_that_of_a_loop(sigma, window, temperature):
  codec = HeatmapCodec(
    sigma=sigma, window=window, temperature=99, decoding="argmax", encoding="rounded"
  )
  error = roundtrip.errors_by_temperature(codec, np.array([1, temperature], np.float32))[1]
  assert float(error) == pytest.approx(loop_error(sigma, window, temperature), rel=0.01)


@pytest.mark.parametrize(
  ("sigma", "window", "low", "high"),
  # From errors that were measured at a few temperatures elsewhere: between which two the best one
  # lies.
  [(1, 3, 4, 10), (1, 5, 5, 6), (1.5, 5, 6, 8), (1.5, 7, 6, 10), (2, 5, 8, 20)],
)
def test_the_recommended_temperature_errs_least(sigma, window, low, high):
  codec = HeatmapCodec(sigma=sigma, window=window)
  recommended = roundtrip.recommend_temperature(codec)
  assert low <= recommended <= high and recommended == roundtrip.recommend_temperature(codec)
  others = np.geomspace(recommended / 3, recommended * 3, 50).astype(np.float32)
  least = roundtrip.errors_by_temperature(codec, np.array([recommended], np.float32))[0]
  assert least <= 1.001 * roundtrip.errors_by_temperature(codec, others).min()


@pytest.mark.filterwarnings("ignore:codec.amplitude")
@pytest.mark.parametrize("sigma", [2, 8])
def test_lower_peaks_take_a_higher_temperature_in_proportion(sigma):
  low = roundtrip.recommend_temperature(HeatmapCodec(sigma=sigma, amplitude="normalised"))
  assert low == pytest.approx(
    2 * math.pi * sigma**2 * roundtrip.recommend_temperature(HeatmapCodec(sigma=sigma)), rel=0.01
  )


def test_a_window_of_one_cell_leaves_the_temperature_alone():
  assert roundtrip.recommend_temperature(HeatmapCodec(window=1, temperature=3.5)) == 3.5


@pytest.mark.slow
def test_the_table_holds_what_a_calculation_by_hand_gives(tmp_path):
  true = many_faces()
  written, text = report(
    tmp_path, npz(tmp_path, landmarks=true, names=[f"face {row}" for row in range(40)])
  )
  low, high = true.min(1, keepdims=True), true.max(1, keepdims=True)
  scale = 220 / (high - low).max(
    -1, keepdims=True
  )  # crop px per image px, and its inverse maps heatmap px back
  place = ((true - (low + high) / 2) * scale + 127.5 + 0.5) / 4 - 0.5
  off = np.linalg.norm(np.floor(place + 0.5) - place, axis=-1)
  error = 4 * off / scale[..., 0]
  right, left = landmarks.MARKUPS[29].outer_eyes
  norms = {
    "ic": np.linalg.norm(true[:, right] - true[:, left], axis=-1),
    "box": np.sqrt((high - low).prod(-1))[:, 0],
    "diag": np.linalg.norm(high - low, axis=-1)[:, 0],
  }
  row = written["methods"]["rounded + argmax"]
  assert row["heatmap_px"] == pytest.approx(off.mean(), rel=1e-3)
  for name, norm in norms.items():
    assert row[f"nme_{name}"] == pytest.approx((100 * error.mean(1) / norm).mean(), rel=1e-3), name
  assert row["ratio"] == 1 and written["methods"][LOCAL]["ratio"] == pytest.approx(13.1, rel=0.05)
  assert (
    written["faces"] == 40
    and written["landmarks"] == 40 * 29
    and written["percent_cut"] == written["percent_outside"] == 0
  )
  with (tmp_path / "run" / "codec_report" / "faces.csv").open() as file:
    head, *rows = csv.reader(file)
  column = head.index("rounded + argmax")
  assert head[0] == "nme_ic" and [row[0] for row in rows] == [f"face {row}" for row in range(40)]
  np.testing.assert_allclose(
    [float(row[column]) for row in rows], 100 * error.mean(1) / norms["ic"], rtol=1e-3
  )
  page = (tmp_path / "run" / "codec_report" / "faces.md").read_text()
  assert (
    text.split("\n\nReport")[0] in page
    and "(faces.png)" in page
    and "the command" in page
    and '"face": 220.0' in page
  )
  assert (
    "--config.codec.temperature=7.6" in text
    and (tmp_path / "run" / "codec_report" / "faces.png").stat().st_size > 20_000
  )


def test_every_decoder_of_the_codec_has_its_row_and_so_has_the_config():
  names = set(codec_report.methods(config()))
  assert {f"continuous + {name}" for name in typing.get_args(heatmap.Decoding)} | {
    "rounded + argmax",
    codec_report.EQ_1,
  } <= names
  assert not any(name.startswith("config") for name in names)
  own = codec_report.methods(config(codec__encode="rounded"))[
    "config: rounded + local_softargmax, peak_one"
  ]
  assert own == HeatmapCodec(encoding="rounded")


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_the_amplitude_of_equation_1_is_shown_as_a_trap_and_warned_about_if_chosen(tmp_path):
  path = npz(tmp_path, landmarks=many_faces())
  usual, text = report(tmp_path, path)
  assert usual["methods"][codec_report.EQ_1]["heatmap_px"] == pytest.approx(0.304, rel=0.03)
  assert "WARNING" not in text and "2 pi sigma^2 = 14.1" in text
  chosen, text = report(tmp_path, path, codec__amplitude="normalised")
  assert (
    "* WARNING: config.codec.amplitude is normalised" in text
    and chosen["methods"] == usual["methods"]
  )
  assert chosen["temperature"]["recommended"] == pytest.approx(7.62 * 14.14, rel=0.02)
  assert chosen["temperature_heatmap_px"]["config"] == pytest.approx(0.304, rel=0.03)


@pytest.mark.slow
def test_landmarks_that_are_not_annotated_are_counted_and_change_no_other(tmp_path):
  true = many_faces()
  corners = np.stack([true.min(1), true.max(1)], 1)
  true = np.concatenate([true[:, :27], corners], 1)  # the box stays when others go
  whole, _ = report(tmp_path, npz(tmp_path, landmarks=true))
  holes = true.copy()
  holes[0, 9] = np.nan, 3.0  # an eye corner: this face has no normaliser ic
  holes[1, 3] = np.inf
  found, text = report(tmp_path, npz(tmp_path, landmarks=holes))
  assert (
    found["not_annotated"] == 2
    and found["landmarks"] == 40 * 29 - 2
    and "(2 not annotated)" in text
  )
  assert found["degenerate"] == {"ic": ["0"]} and "1 faces lack the normaliser ic" in text
  assert found["methods"][LOCAL]["heatmap_px"] == pytest.approx(
    whole["methods"][LOCAL]["heatmap_px"], rel=0.01
  )


@pytest.mark.slow
def test_landmarks_near_and_beyond_the_border_are_reported(tmp_path):
  place = np.concatenate(
    [[0.0, 300.0], np.arange(19.25, 32.5, 0.5)]
  )  # the crop begins at 22, its ninth pixel at 30
  true = np.tile(np.stack([place, place], -1), (3, 1, 1))
  found, text = report(tmp_path, npz(tmp_path, landmarks=true), crop__face=300.0)
  assert found["percent_outside"] == pytest.approx(100 * (1 + (place < 22).sum()) / 29)
  assert found["percent_cut"] == pytest.approx(100 * (1 + (place < 30).sum()) / 29)
  assert (
    f"{found['percent_cut']:.2f} % of the landmarks lie within 2 heatmap px of the border or beyond"
    in text
  )


@pytest.mark.slow
def test_profiles_are_measured_by_their_boxes(tmp_path):
  found, text = report(tmp_path, npz(tmp_path, landmarks=many_faces(num=39)), data__markup=39)
  assert (
    found["curve"] == "box"
    and "NME_box %" in text
    and "NME_ic %" not in text
    and found["degenerate"] == {}
  )


@pytest.mark.slow
def test_a_prepared_dataset_gives_one_report_per_split_without_decoding_an_image(
  folder, tmp_path, monkeypatch
):
  monkeypatch.setattr(data, "read_image", None)
  splits = tiny_dataset.config(folder, eval__splits=("train", "test[:5]"), data__box="dataset")
  texts = list(codec_report.run(splits, tmp_path, None, command=""))
  assert [text.splitlines()[0] for text in texts] == ["train", "test[:5]"]
  assert "12 faces" in texts[0] and "5 faces" in texts[1] and "box: dataset" in texts[0]
  found = json.loads((tmp_path / "codec_report" / "train.json").read_text())
  true = np.stack(
    [tiny_dataset.face_landmarks(seed, (70 + seed % 7, 80 + seed % 5)) for seed in range(12)]
  )
  sides = (true.max(1) + 5 - (true.min(1) - 3)).max(1)  # of the boxes that the dataset gives
  eyes = np.linalg.norm(true[:, tiny_dataset.EYES[0]] - true[:, tiny_dataset.EYES[1]], axis=-1)
  row = found["methods"]["rounded + argmax"]
  image_px = row["nme_ic"] / 100 * (eyes.mean())
  assert image_px == pytest.approx(row["heatmap_px"] * 4 * (sides / 55).mean(), rel=0.1)
  assert found["provenance"]["dataset"] == tiny_dataset.NAME


@pytest.mark.slow
def test_without_matplotlib_the_table_is_made_and_the_figure_s_absence_said(tmp_path, monkeypatch):
  monkeypatch.setattr(figure, "has_matplotlib", lambda: False)
  _, text = report(tmp_path, npz(tmp_path, landmarks=many_faces()))
  assert "No figure is drawn: matplotlib is not installed" in text and "| rounded + argmax" in text
  assert sorted(path.name for path in (tmp_path / "run" / "codec_report").iterdir()) == [
    "decoders.md",
    "faces.csv",
    "faces.json",
    "faces.md",
  ]


def faces_with(row: int, value: float) -> np.ndarray:
  faces = many_faces()
  faces[row] = value
  return faces


@pytest.mark.parametrize(
  ("arrays", "named"),
  [
    ({"points": np.zeros((3, 29, 2))}, "got no array of that name"),
    ({}, "got no array of that name"),
    (
      {"landmarks": np.zeros((3, 68, 2))},
      "68 landmarks per face but config.data.markup is 29: set --config.data.markup=68",
    ),
    ({"landmarks": np.zeros((3, 58))}, r"\(N, 29, 2\) in image pixels, got float64 \(3, 58\)"),
    ({"landmarks": np.zeros((0, 29, 2))}, r"got float64 \(0, 29, 2\)"),
    ({"landmarks": np.full((3, 29, 2), "1.5")}, "got <U3"),
    ({"landmarks": 1.0}, "got float64"),
    ({"landmarks": np.array([None, {}])}, "Object arrays cannot be loaded"),
    ({"landmarks": many_faces(), "names": np.array([{}] * 40)}, "Object arrays cannot be loaded"),
    ({"landmarks": many_faces(), "names": ["a"]}, r"`names` has shape \(1,\), expected \(40,\)"),
    (
      {"landmarks": faces_with(7, np.nan), "names": [f"f{i}" for i in range(40)]},
      "without a single landmark.*: f7",
    ),
    ({"landmarks": faces_with(7, 3.0)}, "faces.npz, 7: box .* has no area"),
    ({"landmarks": faces_with(7, 1e30)}, "faces.npz, 7: .*"),
    ({"landmarks": many_faces() / 1e5}, "must be in image pixels"),
  ],
)
def test_what_is_wrong_with_an_npz_is_said_in_a_sentence_and_nothing_written(
  tmp_path, arrays, named
):
  with pytest.raises(InputError, match=named) as error:
    report(tmp_path, npz(tmp_path, **arrays))
  assert (
    "\n" not in str(error.value) and len(str(error.value)) < 400 and not (tmp_path / "run").exists()
  )


def test_files_that_are_no_npz_are_refused_in_a_sentence(tmp_path):
  whole = Path(npz(tmp_path, landmarks=many_faces()))
  bad = {
    name: tmp_path / name
    for name in (
      "text.npz",
      "empty.npz",
      "cut.npz",
      "flipped.npz",
      "one.npy",
      "folder",
      "absent.npz",
    )
  }
  bad["text.npz"].write_text("x0,y0\n1,2\n")
  bad["empty.npz"].touch()
  bad["cut.npz"].write_bytes(whole.read_bytes()[:900])
  flipped = bytearray(whole.read_bytes())
  flipped[2000] ^= 255
  bad["flipped.npz"].write_bytes(flipped)
  np.save(bad["one.npy"], many_faces())
  bad["folder"].mkdir()
  for name, path in bad.items():
    with pytest.raises(InputError, match=name) as error:
      annotations.read_npz(path, num_landmarks=29)
    assert "\n" not in str(error.value) and "npz" in str(error.value), name


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"crop__size": 90}, "multiple of 4"),
    ({"codec__window": 4}, "codec.window must be odd"),
    ({"data__markup": 30}, "no mark-up has 30 landmarks"),
  ],
)
def test_a_config_without_sense_is_refused(tmp_path, changes, named):
  with pytest.raises(InputError, match=named):
    report(tmp_path, npz(tmp_path, landmarks=many_faces()), **changes)


def test_without_dataset_or_file_both_are_named(tmp_path):
  with pytest.raises(InputError, match="name a prepared dataset and splits, or give --landmarks"):
    report(tmp_path, None, data__name="")


@pytest.mark.slow
def test_the_command_line_prints_the_table_and_refuses_in_a_sentence(tmp_path, capsys, monkeypatch):
  path = npz(tmp_path, landmarks=many_faces(3))
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])
  monkeypatch.setattr("sys.argv", ["main.py", "--mode=codec_report", "--workdir=a b"])
  workdir = tmp_path / "run"
  for landmarks_flag, expected in ((path, 0), (f"{path}x", 2)):
    with flagsaver.flagsaver(
      mode="codec_report", config=config(), workdir=str(workdir), landmarks=landmarks_flag
    ):
      assert command_line.main([]) == expected
  printed = capsys.readouterr()
  assert (
    "| continuous + local_softargmax" in printed.out
    and str(workdir / "codec_report" / "faces.md") in printed.out
  )
  assert printed.err.count("\n") == 1 and "there is no such file" in printed.err
  page = (workdir / "codec_report" / "faces.md").read_text()
  assert (
    shlex.join(["python", "-m", "fal_jax.main", "--mode=codec_report", "--workdir=a b"]) in page
  )
  (tmp_path / "file").touch()
  with pytest.raises(InputError, match="Nothing can be written to --workdir="):
    list(codec_report.run(config(), tmp_path / "file", path, command=""))


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
  found, errors = codec_report.measure(faces, config(data__markup=num, codec__sigma=sigma))
  assert found["methods"][LOCAL]["ratio"] >= at_least
  assert (
    errors["rounded + argmax"] > 5 * errors[LOCAL]
  ).all()  # each single face, not just their mean
