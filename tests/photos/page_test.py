"""The page of the wing: each printed command runs as printed, and each flag is on the page."""

import os
import pathlib
import re
import shlex
import types
from typing import ClassVar

import numpy as np
import pytest
import videos
from absl import flags
from PIL import Image

from fal_jax import detect, flag_parser, landmarks
from fal_jax import main as command_line
from fal_jax.photos import network, options, run
from fal_jax.predict import FaceLandmarks

PAGE = pathlib.Path(run.__file__).with_name("README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m fal_jax\.main (.*)$", PAGE, re.MULTILINE)


class Aligner:
  """Puts the landmarks into the middle of each box."""

  origin: ClassVar[dict] = {}
  refine = 0
  setup = types.SimpleNamespace(
    markup=landmarks.MARKUPS[68],
    codec=types.SimpleNamespace(decoding="none"),
    crop=types.SimpleNamespace(box="landmarks"),
    config=types.SimpleNamespace(data=types.SimpleNamespace(value_range=())),
  )

  def __init__(self, views):
    self.views = views

  def warm_up(self, *, faces):
    """Has nothing to compile."""

  def __call__(self, image, boxes):
    boxes = np.asarray(boxes)
    points = np.repeat((boxes[:, None, :2] + boxes[:, None, 2:]) / 2, 68, 1)
    scores = np.ones(points.shape[:2], np.float32)
    uncertainty = scores if self.views > 1 else None
    return FaceLandmarks(points, scores, np.zeros((*points.shape, 2)), uncertainty)


class Detector:
  """Finds one face in the middle."""

  def find(self, image, *, small, turned):
    box = np.array([[10.0, 10, 40, 40]])
    return detect.FoundFaces(box, np.ones(1, np.float32), np.zeros(1, int), "test")


@pytest.fixture
def inside(tmp_path, monkeypatch):
  """A folder with all that the page names."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(network, "load", lambda options: Aligner(options.views))
  monkeypatch.setattr(detect, "load_detector", lambda name: Detector())
  names = "photo.jpg group.jpg a.jpg b.jpg holiday/1.jpg portraits/deep/2.jpg cut_out_faces/3.jpg"
  for name in [*names.split(), "faces/group.jpg", "faces/deep/a.jpg"]:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (640, 360)).save(path)
  videos.write(tmp_path / "clip.mp4", [np.zeros((50, 60, 3), np.uint8)] * 2, codec="mp4v")
  (tmp_path / "boxes.csv").write_text(re.search(r"^image,x0.*?(?=^```)", PAGE, re.M | re.S)[0])


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_on_the_page_runs_as_printed(inside, command, capsys):
  values = flags.FLAGS
  saved = {name: (values[name].value, values[name].present) for name in values}
  try:
    parsed = flag_parser.read(values, ["fal_jax", *shlex.split(command)])
    assert command_line.main(parsed) == 0, capsys.readouterr().err
  finally:
    for name, (value, present) in saved.items():
      values[name].value, values[name].present = value, present

  out = "results" if "--out=results" in command else "predictions"
  assert os.path.getsize(f"{out}/predictions.csv") > 1000
  assert os.path.isdir(f"{out}/overlays") == ("--overlays=false" not in command)


def test_every_flag_of_the_mode_is_on_the_page():
  names = {flag.name for flag in flags.FLAGS.flags_by_module_dict()[options.__name__]}
  assert names - set(re.findall(r"`--(\w+)", PAGE)) == set()
  assert {"images", "box", "min_score"} <= names
