"""Prepared crops: the same faces, and landmarks that stay on their pixels."""

from typing import get_args

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny_dataset
import w300_files

from fal_jax import data
from fal_jax.crop import BoxKind, CropRule
from tfds_builders import prepare
from tfds_builders.common.crops import SMALLEST_REPLACEMENT, FaceCrops

RULE = CropRule()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """The tiny dataset and its crops."""
  place = tiny_dataset.prepare(tmp_path_factory.mktemp("data"))
  source = tiny_dataset.TinyFaces(data_dir=place)
  builder = FaceCrops(source=source, rule=CropRule(box="landmarks"), data_dir=place)
  builder.download_and_prepare(download_dir=place / "downloads")
  return place


def open_split(data_dir, name, split="train"):
  """Records in the order of their names; TFDS has its own."""
  return sorted(
    data.open_split(name, split, data_dir=str(data_dir), num_landmarks=tiny_dataset.MARKUP),
    key=data.example_id,
  )


def test_every_face_of_every_split_is_there(data_dir):
  for split in ("train", "test", "nowhere"):
    originals = open_split(data_dir, "tiny_faces", split)
    crops = open_split(data_dir, "tiny_faces_crops416", split)
    assert list(map(data.example_id, crops)) == list(map(data.example_id, originals))


def test_the_box_has_the_size_and_the_place_that_the_network_expects(data_dir):
  for record in open_split(data_dir, "tiny_faces_crops416"):
    low, high = record["box_landmarks"].reshape(2, 2)
    assert max(high - low) == pytest.approx(220, abs=1e-3)
    np.testing.assert_allclose((low + high) / 2, 207.5, atol=1e-3)
    np.testing.assert_allclose(
      [record["landmarks"].min(0), record["landmarks"].max(0)], [low, high], atol=1e-4
    )
    assert np.isfinite(record["box_dataset"]).all() and record["visible"].all()


def test_training_sees_the_same_landmarks_and_nearly_the_same_pixels(data_dir):
  originals, crops = (open_split(data_dir, name) for name in ("tiny_faces", "tiny_faces_crops416"))
  for index in range(len(originals)):
    one, other = (data.load_train_example(source, index, RULE) for source in (originals, crops))
    np.testing.assert_allclose(other["landmarks"], one["landmarks"], atol=1e-3)
    difference = np.abs(other["image"].astype(int) - one["image"])
    assert difference.mean() < 1 and difference.max() < 20, "JPEG's rounding is all that may differ"


def test_the_command_line_builds_crops_and_says_how_to_train_on_them(tmp_path, monkeypatch, capsys):
  w300_files.expect_counts(monkeypatch)
  w300_files.write_dataset(tmp_path / "300w")
  options = [f"--manual_dir={tmp_path / '300w'}", f"--data_dir={tmp_path / 'data'}", "--crops=320"]

  assert prepare.main(["w300", *options]) == 0

  out = capsys.readouterr().out
  assert (
    "--config=configs/w300.py --config.data.name=w300_crops320 --config.eval.name=w300"
    in out.splitlines()[-1]
  )

  built = tfds.builder("w300_crops320", data_dir=tmp_path / "data")
  assert {name: split.num_examples for name, split in built.info.splits.items()}["test_full"] == 6
  assert dict(built.info.metadata) | {"markup": 68, "crops_of": "w300/1.0.0"} == dict(
    built.info.metadata
  )
  assert built.as_data_source("train")[0]["image"].shape == (320, 320, 3)
  assert built.as_data_source("train")[0]["subset"] == b"afw"

  assert prepare.main(["w300", *options]) == 0

  out = capsys.readouterr().out
  assert "w300/1.0.0 is already built" in out and "w300_crops320/1.0.0 is already built" in out


def test_what_the_command_line_says_of_crops_is_what_they_take():
  assert get_args(BoxKind) == prepare.CROPS_BOXES
  assert SMALLEST_REPLACEMENT == prepare.SMALLEST_REPLACEMENT


@pytest.mark.parametrize(
  ("option", "expected"),
  [("--crops=100", "must be at least"), ("--crops_box=dataset", "has no dataset box")],
)
def test_crops_that_cannot_be_cut_are_refused(tmp_path, monkeypatch, capsys, option, expected):
  w300_files.expect_counts(monkeypatch)
  w300_files.write_dataset(tmp_path / "300w")
  code = prepare.main(
    [
      "w300",
      f"--manual_dir={tmp_path / '300w'}",
      f"--data_dir={tmp_path / 'data'}",
      "--crops=416",
      option,
    ]
  )

  assert code == 2 and expected in capsys.readouterr().err
  assert [path.name for path in (tmp_path / "data").iterdir()] == ["w300"] or not (
    tmp_path / "data"
  ).exists()
