"""--mode=predict --heatmaps: pictures beside the results, removed with them; mistakes refused."""

import json
from pathlib import Path

import pytest
import tiny_dataset
from PIL import Image

from fal_jax.photos import network
from fal_jax.plots import figure
from fal_jax.predict import FaceAligner

pytestmark = pytest.mark.slow

SIZE = 90, 100  # rows and columns


@pytest.fixture
def predict(run_main, workdir, monkeypatch, tmp_path):
  """Runs the mode on a photograph with one face, in an empty folder."""
  aligner = FaceAligner.from_checkpoint(workdir)
  monkeypatch.setattr(network, "load", lambda options: aligner)
  monkeypatch.chdir(tmp_path)
  face = tiny_dataset.draw_face(tiny_dataset.face_landmarks(999, SIZE), SIZE)
  Image.fromarray(face).save("photo.png")
  return lambda **flags: run_main(
    mode="predict", images=["photo.png"], box=["20,15,80,80"], overlays=False, **flags
  )


def test_pictures_are_listed_with_the_results_and_removed_with_them(predict):
  if not figure.has_matplotlib():
    pytest.skip(figure.NO_MATPLOTLIB)

  code, out, err = predict(heatmaps=["8"])

  assert (code, err) == (0, "")
  assert out.endswith("Heatmaps: predictions/heatmaps\n")
  names = ["heatmaps/photo.png_8.png", "heatmaps/photo.png_8.svg"]
  (image,) = json.loads(Path("predictions/predictions.json").read_text())["images"]
  assert image["files"] == names
  svg = Path("predictions", names[1]).read_text()
  assert "8: right eye outer" in svg
  assert "step 12" in svg

  code, _, _ = predict()
  assert code == 0
  assert not Path("predictions/heatmaps").exists()


def test_a_landmark_that_there_is_not_is_refused_before_anything_is_written(predict):
  code, _, err = predict(heatmaps=["29"])
  assert code == 2
  assert "--heatmaps: there is no landmark 29; give numbers from 0 to 28" in err
  assert not Path("predictions/predictions.csv").exists()
