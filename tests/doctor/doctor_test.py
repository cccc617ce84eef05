"""--mode=doctor: each planted defect is found and counted, a clean dataset has none, and the page
holds all it shows.
"""

import base64
import functools
import html.parser
import io
import json
import re
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny_dataset
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from fal_jax import landmarks
from fal_jax import main as command_line
from fal_jax.doctor import page, sheets, stats
from fal_jax.doctor import run as doctor
from fal_jax.landmarks import MARKUPS
from tfds_builders.common.schema import FaceDatasetBuilder, face_example, face_features

FLIP = MARKUPS[tiny_dataset.MARKUP].flip
SIZE = 90, 100


@functools.cache
def photograph(seed):
  return tiny_dataset.png(tiny_dataset.draw_face(tiny_dataset.face_landmarks(seed, SIZE), SIZE))


def record(seed, *, points=None, name=None, **extra):
  """One face as a prepared dataset gives it; the picture is of another face for every seed."""
  points = tiny_dataset.face_landmarks(seed, SIZE) if points is None else points
  extra = {"box_dataset": np.concatenate([points.min(0) - 3, points.max(0) + 5]), **extra}
  return face_example(
    image=photograph(seed), landmarks=points, file_name=name or f"{seed:03d}.png", **extra
  )


def clean():
  return {
    "train": [record(seed) for seed in range(10)],
    "test": [record(seed) for seed in range(100, 106)],
  }


def examine(records, *, metadata=None, **changes):
  splits = {name: doctor.read_split(source, title=name) for name, source in records.items()}
  return doctor.examine(splits, tiny_dataset.config("nowhere", **changes), metadata=metadata or {})


def titles(found, severity):
  return [finding.title for finding in found if finding.severity == severity]


def test_a_clean_dataset_has_neither_error_nor_warning_about_a_face():
  report, found, marked = examine(clean())
  assert titles(found, "error") == []
  assert all(not finding.faces for finding in found if finding.severity == "warning")
  assert report["splits"]["train"]["faces"] == 10 and report["shape"]["sides"] == "right"
  assert report["shape"]["asymmetry_percent"] < 0.01 and not report["shape"]["better_partners"]
  assert all(not mask.any() for mask in marked["test"].values())


def exchanged(face):
  return record(3, points=tiny_dataset.face_landmarks(3, SIZE)[FLIP])


def moved(offset, k=4):
  def change(face):
    points = tiny_dataset.face_landmarks(3, SIZE)
    points[k] = points[k] + offset if np.isfinite(offset) else np.nan
    return record(3, points=points, box_dataset=np.array([20.0, 20, 80, 80]))

  return change


@pytest.mark.parametrize(
  ("flag", "severity", "plant"),
  [
    ("outside", "note", moved(-60)),
    ("far_outside", "error", lambda face: record(3, points=face["landmarks"] + 400)),
    ("odd", "warning", moved(40)),
    ("missing", "note", moved(np.nan)),
    ("swapped", "error", exchanged),
    ("no_extent", "error", lambda face: face | {"landmarks": np.full((29, 2), 30, np.float32)}),
    ("empty", "error", lambda face: face | {"landmarks": np.full((29, 2), np.nan, np.float32)}),
    (
      "box_degenerate",
      "error",
      lambda face: face | {"box_dataset": np.array([40, 50, 30, 20], np.float32)},
    ),
    ("box_missing", "note", lambda face: face | {"box_dataset": np.full(4, np.nan, np.float32)}),
    (
      "box_elsewhere",
      "warning",
      lambda face: face | {"box_dataset": np.array([500, 500, 600, 600], np.float32)},
    ),
    ("unreadable", "error", lambda face: face | {"image": b"<!doctype html>log in"}),
    ("not_rgb", "note", lambda face: face | {"image": tiny_dataset.png(np.zeros(SIZE, np.uint8))}),
    ("occluded", "note", lambda face: face | {"visible": np.arange(29) > 3}),
    ("repeated", "warning", lambda face: record(2, name="copy.png")),
    ("small_norm", "warning", lambda face: face | {"landmarks": near_eyes(face["landmarks"])}),
  ],
)
def test_a_planted_defect_is_found_on_its_face_alone(flag, severity, plant):
  records = clean()
  records["train"][3] = plant(records["train"][3])
  report, found, marked = examine(records)
  assert np.flatnonzero(marked["train"][flag]).tolist() == [3] and not marked["test"][flag].any()
  assert report["splits"]["train"]["flags"][flag] == 1
  name = doctor.data.example_id(records["train"][3])
  assert [finding.severity for finding in found if finding.faces.get("train") == [name]].count(
    severity
  ) >= 1


def near_eyes(points):
  points = points.copy()
  points[tiny_dataset.EYES[0]] = points[tiny_dataset.EYES[1]] + 0.5
  return points


def test_every_count_of_planted_landmarks_is_exact():
  records = clean()
  records["train"][3] = moved(-60)(None)
  points = tiny_dataset.face_landmarks(5, SIZE)
  points[[1, 2]] = np.nan
  records["train"][5] = record(5, points=points, box_dataset=None)
  numbers = examine(records)[0]["splits"]["train"]
  assert (numbers["missing"], numbers["landmarks"], numbers["outside_image"]) == (2, 288, 1)
  x, y = tiny_dataset.face_landmarks(3, SIZE)[4] - 60
  assert numbers["outside_image_px"] == pytest.approx(-0.5 - min(x, y), abs=1e-3)
  assert numbers["percent_visible"] == 100


def test_the_same_face_in_training_and_test_is_an_error_and_another_face_of_the_picture_a_warning():
  records = clean()
  records["test"][2] = record(7, name="elsewhere/another_name.png")
  report, found, _ = examine(records)
  assert titles(found, "error") == ["train and test share 1 face"]
  assert found[0].faces == {"train": ["007.png"], "test": ["elsewhere/another_name.png"]}
  assert (
    report["overlaps"]["train"]["test"]
    == {"pictures": 1, "faces": 1}
    == report["overlaps"]["test"]["train"]
  )
  neighbour = tiny_dataset.face_landmarks(7, SIZE) + np.array([300, 0])
  records["test"][2] = record(7, points=neighbour, face_index=1)
  report, found, _ = examine(records)
  assert "train and test share 1 picture, but no face" in titles(found, "warning")
  assert report["overlaps"]["train"]["test"] == {"pictures": 1, "faces": 0}


def test_splits_that_are_unions_by_design_are_a_note_unless_the_config_trains_on_one_and_tests_on_the_other():
  records = clean()
  records |= {"fit": records["train"][2:], "val": records["train"][:2]}
  found = examine(records)[1]
  assert titles(found, "error") == []
  (union,) = [finding for finding in found if finding.title == "Splits that are parts of others"]
  assert union.severity == "note" and "fit within train; val within train" in union.meaning
  found = examine(records, eval__splits=("val[:1]",))[1]
  assert titles(found, "error") == ["train and val share 2 faces"]


def test_a_picture_under_two_names_is_told_from_two_faces_of_one_picture():
  records = clean()
  shifted = tiny_dataset.face_landmarks(0, SIZE) + np.array([300, 0])
  records["train"].append(record(0, points=shifted, face_index=1))
  marked = examine(records)[2]["train"]
  assert not marked["repeated"].any() and not marked["renamed"].any()
  records["train"][-1] = record(0, points=shifted, name="second_name.png")
  marked = examine(records)[2]["train"]
  assert np.flatnonzero(marked["renamed"]).tolist() == [0, 10] and not marked["repeated"].any()


@pytest.mark.parametrize("how", ["labels", "x and y"])
def test_left_and_right_exchanged_everywhere_is_said_of_the_whole_dataset(how):
  records = clean()
  for faces in records.values():
    for row, face in enumerate(faces):
      points = face["landmarks"][FLIP] if how == "labels" else face["landmarks"][:, ::-1]
      faces[row] = face | {"landmarks": np.ascontiguousarray(points)}
  report, found, marked = examine(records)
  assert "Left and right are exchanged in the whole dataset" in titles(found, "error")
  assert report["shape"]["sides"] == "exchanged" and not marked["train"]["swapped"].any()


def test_a_wrong_flip_permutation_is_named_by_its_landmarks(monkeypatch):
  records = clean()
  names = list(MARKUPS[29].names)
  names[4], names[5] = names[5], names[4]
  wrong = landmarks.Markup(
    tuple(names), MARKUPS[29].edges, MARKUPS[29].outer_eyes, MARKUPS[29].pupils
  )
  monkeypatch.setitem(landmarks.MARKUPS, 29, wrong)
  report, found, _ = examine(records)
  assert {k for k, _ in report["shape"]["better_partners"]} == {4, 5, 6, 7}
  (finding,) = [finding for finding in found if "flip permutation" in finding.title]
  assert finding.severity == "error" and "4 (right_brow_bottom) mirrors 6, not 7" in finding.meaning


def test_the_border_band_and_the_crop_are_measured_in_heatmap_px():
  records = clean()
  report, _, _ = examine(records, crop__face=62.0)
  # The box all but fills the crop, so many landmarks lie within 2 of 16 heatmap px of its border.
  depths = []
  for face in records["train"]:
    x0, y0, x1, y1 = face["box_landmarks"].astype(float)
    scale = 62 / max(x1 - x0, y1 - y0)
    crop = (face["landmarks"] - [(x0 + x1) / 2, (y0 + y1) / 2]) * scale + 31.5
    depths.append(np.minimum(crop + 0.5, 64 - (crop + 0.5)).min(-1) / 4)
  expected = 100 * ((np.array(depths) >= 0) & (np.array(depths) < 2)).mean()
  assert report["splits"]["train"]["percent_in_band"] == pytest.approx(expected) and expected > 5
  report, found, _ = examine(records, crop__face=90.0)
  assert report["splits"]["train"][
    "percent_outside_crop"
  ] > 1 and "Landmarks outside the crop" in titles(found, "warning")


def test_a_config_that_crops_by_boxes_that_are_not_there_is_told_so():
  records = clean()
  records["train"][3] = record(3, box_dataset=None)
  marked = examine(records, data__box="dataset")[2]["train"]
  assert np.flatnonzero(marked["no_crop"]).tolist() == [3]


def test_what_the_builder_noted_is_passed_on():
  metadata = {
    "missing": ["b.zip: not found"],
    "skipped": {"x.png": "empty"},
    "notes": {"grey": ["a.png"]},
    "official_counts": {"train": 12},
  }
  report, found, _ = examine(clean(), metadata=metadata)
  assert (
    report["splits"]["train"]["official"] == 12 and report["splits"]["test"]["official"] is None
  )
  said = " ".join(finding.title + finding.meaning for finding in found)
  assert all(
    part in said for part in ("b.zip: not found", "x.png: empty", "grey: 1 file, e.g. a.png")
  )


def test_splits_that_the_config_names_and_the_dataset_lacks_are_an_error():
  found = examine(clean(), data__train_split="fit[:50%]", eval__splits=("test", "valid"))[1]
  assert titles(found, "error") == ["The config names splits that are not there: fit, valid"]


@pytest.mark.parametrize("num", sorted(MARKUPS))
def test_every_markup_makes_a_page(num):
  rng = np.random.default_rng(num)
  shape = rng.uniform(10, 80, (num, 2))
  points = shape + rng.normal(0, 1, (4, num, 2))
  faces = [
    face_example(image=photograph(i), landmarks=points[i], file_name=f"{i}.png") for i in range(4)
  ]
  faces[0]["landmarks"][0] = np.nan
  text = render_page({"train": faces}, data__markup=num)
  assert (
    f">{num - 1}</text>" in text and text.count('class="face"') >= 8
  )  # a random shape may have small eyes


def render_page(records, **changes):
  config = tiny_dataset.config("nowhere", **changes)
  splits = {name: doctor.read_split(source, title=name) for name, source in records.items()}
  report, found, marked = doctor.examine(splits, config, metadata={})
  scheme = landmarks.markup(config.data.markup)
  shown = page.largest(report)
  sheet_html = sheets.sheets(
    splits, records, scheme, distances=report["distances"], flags=marked, shown=shown
  )
  return page.page({"dataset": "<d>", "command": "a < b", **report}, found, sheet_html, scheme)


class Balanced(html.parser.HTMLParser):
  """Complains where an element is closed that is not the one last opened."""

  VOID = ("meta", "br")

  def __init__(self):
    super().__init__()
    self.open, self.text = [], []

  def handle_starttag(self, tag, attrs):
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    pass

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)


def test_names_with_html_in_them_are_shown_and_not_obeyed():
  records = clean()
  name = "<script>alert('1')</script>&amp;\"x\".png"
  records["train"][0] = record(0, name=name, box_dataset=None)
  text = render_page(records)
  assert "<script" not in text
  parser = Balanced()
  parser.feed(text)
  parser.close()
  assert (
    not parser.open and sum(name in part for part in parser.text) >= 2
  )  # under the picture and under the finding


def test_the_page_needs_nothing_but_itself_and_its_pictures_decode():
  text = render_page(clean())
  links = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')>]+)', text)
  assert len(links) > 20 and all(link.startswith("data:image/") for link in links)
  assert not re.search(r"https?:|@import|<script|<link", text)
  for link in links:
    with Image.open(io.BytesIO(base64.b64decode(link.split(",", 1)[1]))) as picture:
      picture.load()


def test_a_picture_that_does_not_decode_is_replaced_by_the_reason():
  records = clean()
  whole = records["train"][0]["image"]
  records["train"][0] = records["train"][0] | {"image": whole[: len(whole) // 2]}
  text = render_page(records)
  assert "000.png: this PNG file cannot be decoded" in text


def test_pictures_are_shown_of_splits_that_are_no_part_of_another():
  records = clean()
  records |= {"fit": records["train"][2:], "val": records["train"][:2]}
  report = examine(records)[0]
  assert page.largest(report) == ["train", "test"]


def test_boxes_overlap_as_areas_say():
  a = np.array(
    [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 1, 9], [np.nan] * 4], np.float64
  )
  b = np.array(
    [[5, 0, 15, 10], [20, 0, 30, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 1, 1]], np.float64
  )
  np.testing.assert_allclose(stats.box_iou(a, b), [1 / 3, 0, 1, np.nan, np.nan])


@pytest.fixture
def said(capsys):
  """What `main` prints in this process, and its exit code."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])

  def said(**values):
    with flagsaver.flagsaver(mode="doctor", **values):
      code = command_line.main([])
    printed = capsys.readouterr()
    return code, printed.out, printed.err

  return said


def test_the_command_writes_page_and_numbers_and_prints_a_summary_without_matplotlib(
  said, folder, tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, "matplotlib", None)
  code, out, err = said(workdir=str(tmp_path / "w"), config=tiny_dataset.config(folder))
  assert (code, err) == (0, "")
  assert (
    out.startswith("tiny_faces/1.0.0: train 12, test 11, nowhere 1 faces\n") and "0 errors" in out
  )
  written = json.loads((tmp_path / "w" / "doctor" / "tiny_faces.json").read_text())
  assert (
    written["splits"]["train"]["faces"] == 12
    and written["splits"]["nowhere"]["flags"]["box_missing"] == 1
  )
  assert {"findings", "overlaps", "shape", "metadata"} <= written.keys()
  assert (tmp_path / "w" / "doctor" / "tiny_faces.html").read_text().startswith("<!doctype html>")


class PlantedFaces(FaceDatasetBuilder, skip_registration=True):
  """A dataset with an image in two splits."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self, description="", features=face_features(tiny_dataset.MARKUP)
    )

  def _split_generators(self, dl_manager):
    return {
      split: self._generate_examples(seeds)
      for split, seeds in (("train", range(8)), ("test", range(7, 12)))
    }

  def _generate_examples(self, seeds):
    for seed in seeds:
      yield str(seed), record(seed)


def test_defects_survive_the_way_through_the_files(said, tmp_path):
  PlantedFaces(data_dir=tmp_path).download_and_prepare(download_dir=tmp_path / "downloads")
  config = tiny_dataset.config(tmp_path, data__name="planted_faces")
  code, out, _ = said(workdir=str(tmp_path / "w"), config=config)
  assert code == 0 and "error    train and test share 1 face" in out and "1 error," in out


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"data__name": "wflw"}, "tfds_builders.prepare wflw"),
    ({"data__name": ""}, "config.data.name is empty"),
    ({"data__markup": 68}, "--config.data.markup=29"),
    ({"data__markup": 5}, "no mark-up has 5 landmarks"),
    ({"data__box": "detector"}, "dataset, landmarks"),
    ({"codec__window": 4}, "codec.window must be odd"),
  ],
)
def test_mistakes_end_with_two_and_one_sentence_and_write_nothing(
  said, folder, tmp_path, changes, named
):
  code, out, err = said(workdir=str(tmp_path / "w"), config=tiny_dataset.config(folder, **changes))
  assert code == 2 and not out and named in err and len(err.splitlines()) == 1
  assert not (tmp_path / "w").exists()


def test_a_workdir_that_is_a_file_is_refused(said, folder, tmp_path):
  (tmp_path / "file").write_text("kept")
  code, _, err = said(workdir=str(tmp_path / "file"), config=tiny_dataset.config(folder))
  assert code == 2 and "Nothing can be written to --workdir=" in err and len(err.splitlines()) == 1
