"""--mode=import_torch: runs that start from PyTorch weights."""

import csv
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny_dataset

from fal_jax import affine, build, crop, evaluate, parallel, predict
from fal_jax.errors import InputError
from fal_jax.torch_import import run as torch_import
from fal_jax.torch_import import state_dict

torch = pytest.importorskip("torch", reason="no PyTorch here to compare with: pip install torch")
torch_fan = pytest.importorskip("torch_fan")

# Of tiny_dataset's network, so that what the tests compile is shared.
SHAPE = {"features": 8, "depth": 1}


@pytest.fixture(autouse=True)
def shared_compilation(monkeypatch):
  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)


@pytest.fixture(scope="module")
def model():
  return torch_fan.randomise(torch_fan.FAN(2, tiny_dataset.MARKUP, **SHAPE, pool="max"))


@pytest.fixture(scope="module")
def config(folder):
  """Of one stack, which the file overrides, and not of the default pooling."""
  return tiny_dataset.config(folder, model__pool="max", codec__decode="argmax")


@pytest.fixture(scope="module")
def imported(model, config, tmp_path_factory):
  """Workdir, and the summary of the import."""
  directory = tmp_path_factory.mktemp("import")
  weights = directory / "fan.pth.tar"
  content = {"state_dict": model.state_dict()}
  torch.save(content, weights, _use_new_zipfile_serialization=False)
  return directory / "run", torch_import.run(config, directory / "run", weights)


def torch_landmarks(model, image, crop_from_image):
  """Maxima of the PyTorch network's last heatmaps on a crop of 64 px, (K, 2) in image px."""
  pixels = torch.from_numpy(crop.extract(image, crop_from_image, 64)).permute(2, 0, 1)[None] / 255
  with torch.no_grad():
    heatmaps = model(pixels)[-1, 0]

  rows, columns = np.divmod(heatmaps.flatten(1).argmax(1).numpy(), heatmaps.shape[-1])
  points = (np.stack([columns, rows], 1) + 0.5) * 4 - 0.5
  return affine.apply(affine.invert(crop_from_image), points)


@pytest.mark.slow
def test_an_imported_network_finds_the_landmarks_that_pytorch_finds(imported, model):
  image = tiny_dataset.draw_face(tiny_dataset.face_landmarks(5, (90, 100)), (90, 100))
  boxes = np.array([[20.0, 10, 70, 80], [0, 0, 99, 60]])

  aligner = predict.FaceAligner.from_checkpoint(imported[0])
  assert aligner.setup.config.model.num_stacks == 2 and aligner.setup.config.model.pool == "max"

  for box, landmarks in zip(boxes, aligner(image, boxes).landmarks, strict=True):
    expected = torch_landmarks(model, image, crop.crop_from_image(box, aligner.setup.crop))
    np.testing.assert_allclose(landmarks, expected, atol=1e-3)
    assert np.ptp(expected, 0).min() > 5, "all in one place would prove nothing"


@pytest.mark.slow
def test_the_import_says_what_the_file_holds_and_how_the_config_must_change(imported):
  assert "FAN, 2 stacks, 29 landmarks, 8 features, depth 1, max pooling." in imported[1]
  assert imported[1].endswith(
    "For --mode=eval and train add --config.model.num_stacks=2 to this config."
  )


@pytest.mark.slow
def test_an_imported_network_can_be_evaluated_with_that_config(imported, folder, model):
  config = tiny_dataset.config(
    folder, model__pool="max", codec__decode="argmax", model__num_stacks=2
  )

  assert evaluate.run(config, imported[0])["test"]["num_images"] == tiny_dataset.TEST

  with (imported[0] / "eval" / "test_predictions.csv").open() as file:
    rows = {
      row.pop("id"): np.array(list(map(float, row.values()))).reshape(-1, 2)
      for row in csv.DictReader(file)
    }
  size = 70 + 100 % 7, 80 + 100 % 5
  landmarks = tiny_dataset.face_landmarks(100, size)
  image = tiny_dataset.draw_face(landmarks, size)
  box = np.concatenate([landmarks.min(0), landmarks.max(0)])
  expected = torch_landmarks(model, image, crop.crop_from_image(box, build.crop_rule(config)))
  np.testing.assert_allclose(rows["test/100.png"], expected, atol=2e-3)

  provenance = json.loads((imported[0] / "eval" / "test.json").read_text())["provenance"]
  assert provenance["step"] == 0 and provenance["model"]["num_stacks"] == 2


@pytest.mark.slow
def test_training_continues_from_imported_weights(folder, tmp_path):
  model = torch_fan.randomise(torch_fan.FAN(1, tiny_dataset.MARKUP, **SHAPE))
  torch.save(model.state_dict(), tmp_path / "fan.pth")
  config = tiny_dataset.config(folder)
  summary = torch_import.run(config, tmp_path / "run", tmp_path / "fan.pth")
  assert summary.endswith("avg pooling.")  # this config fits already

  starts = []

  def recording(step):
    def recorded(state, batch):
      variables = {"params": state.params, "batch_stats": state.batch_stats}
      starts.append(jax.tree.map(np.asarray, variables))
      return step(state, batch)

    return recorded

  tiny_dataset.run_without_figures(config, tmp_path / "run", around_step=recording)

  assert len(starts) == 12
  expected = state_dict.from_torch_state_dict(model.state_dict())
  jax.tree.map(np.testing.assert_array_equal, starts[0], expected)


@pytest.mark.slow
def test_a_workdir_with_checkpoints_is_left_as_it_is(imported, config):
  before = tiny_dataset.last_digest(imported[0])
  with pytest.raises(InputError, match="holds checkpoints already, and they are not overwritten"):
    torch_import.run(config, imported[0], imported[0].parent / "fan.pth.tar")
  assert tiny_dataset.last_digest(imported[0]) == before


def test_another_network_than_fan_is_refused(imported, folder, tmp_path):
  config = tiny_dataset.config(folder, model__name="mobile_unet")
  with pytest.raises(InputError, match=r"a FAN, and config\.model\.name is 'mobile_unet': set"):
    torch_import.run(config, tmp_path / "run", imported[0].parent / "fan.pth.tar")


def test_weights_of_another_mark_up_are_refused_before_anything_is_written(folder, tmp_path):
  torch.save(torch_fan.small().state_dict(), tmp_path / "fan.pth")
  named = r"predicts 5 landmarks and config\.data\.markup is 29"
  with pytest.raises(InputError, match=named) as error:
    torch_import.run(tiny_dataset.config(folder), tmp_path / "run", tmp_path / "fan.pth")
  assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_weights_of_another_network_are_refused_with_the_file_s_name(folder, tmp_path):
  torch.save(torch_fan.changed({"l0.weight": None}), tmp_path / "fan.pth")
  with pytest.raises(InputError, match=r"fan\.pth: these are not the weights of a FAN"):
    torch_import.run(tiny_dataset.config(folder), tmp_path / "run", tmp_path / "fan.pth")


@pytest.mark.slow
def test_the_command_line_imports(imported, folder, tmp_path):
  command = [
    sys.executable,
    "-m",
    "fal_jax.main",
    "--config=configs/default.py",
    f"--config.data.name={tiny_dataset.NAME}",
    f"--config.data.markup={tiny_dataset.MARKUP}",
    "--config.crop.size=64",
    "--mode=import_torch",
    f"--weights={imported[0].parent / 'fan.pth.tar'}",
    f"--workdir={tmp_path / 'run'}",
  ]

  done = subprocess.run(
    command, cwd=tiny_dataset.ROOT, capture_output=True, text=True, timeout=300, check=False
  )

  assert done.returncode == 0, done.stderr
  assert "add --config.model.features=8 --config.model.depth=1 to this config" in done.stdout
  saved = json.loads((tmp_path / "run" / "checkpoints" / "0" / "extra" / "metadata").read_text())
  assert saved["config"]["model"]["features"] == 8 and saved["weights"]["file"] == "fan.pth.tar"
