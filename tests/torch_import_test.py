"""PyTorch weights: every one in its place, runs that start from them, and nothing run that a file
may hold.
"""

import csv
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny_dataset
from flax.traverse_util import flatten_dict
from hourglass_test import random_variables

from fal_jax import affine, build, crop, evaluate, parallel, predict, torch_import
from fal_jax.errors import InputError
from fal_jax.hourglass import FAN
from fal_jax.torch_import import (
  fan_boxes,
  from_torch_state_dict,
  network_of,
  read_state_dict,
  to_torch_state_dict,
)

torch = pytest.importorskip("torch", reason="no PyTorch here to compare with: pip install torch")
torch_fan = pytest.importorskip("torch_fan")

LANDMARKS = 5


def small(stacks=2, **options):
  return torch_fan.randomise(
    torch_fan.FAN(stacks, LANDMARKS, **{"features": 8, "depth": 1, **options})
  )


# ---- names and shapes


@pytest.mark.parametrize(("stacks", "landmarks"), [(1, 19), (2, 98), (4, 68)])
def test_weights_go_to_flax_and_back_bit_for_bit(stacks, landmarks):
  model = torch_fan.FAN(stacks, landmarks)
  state_dict = torch_fan.randomise(model).state_dict()
  network = network_of(state_dict)
  assert (network.num_stacks, network.num_landmarks, network.features, network.depth) == (
    stacks,
    landmarks,
    256,
    4,
  )
  variables = from_torch_state_dict(state_dict)
  back = to_torch_state_dict(variables)
  assert back.keys() == {key for key in state_dict if not key.endswith("num_batches_tracked")}
  assert all(torch.equal(tensor, state_dict[key]) for key, tensor in back.items())
  with torch.device("meta"):
    again = torch_fan.FAN(stacks, landmarks)
  again.load_state_dict(back, strict=True, assign=True)


def test_variables_of_our_own_become_a_state_dict_that_pytorch_loads():
  network = FAN(2, LANDMARKS, 8, depth=1)
  images = np.random.default_rng(0).uniform(size=(1, 16, 16, 3)).astype(np.float32)
  variables = random_variables(network, images)
  model = torch_fan.FAN(2, LANDMARKS, features=8, depth=1)
  model.load_state_dict(to_torch_state_dict(variables), strict=True)
  with torch.no_grad():
    expected = model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 1, 3, 4, 2)
  np.testing.assert_allclose(
    network.apply(variables, images, False), expected, rtol=1e-4, atol=1e-4
  )


def test_what_other_programs_leave_around_the_weights_makes_no_difference():
  plain = small().state_dict()
  expected = flatten_dict(from_torch_state_dict(plain))
  for other in [
    {f"module.{key}": value for key, value in plain.items()},
    {key: value for key, value in plain.items() if not key.endswith("num_batches_tracked")},
    {
      "epoch": 3,
      "state_dict": {f"module.{key}": value for key, value in plain.items()},
      "optimizer": {},
    },
    {key: value.double() for key, value in plain.items()},
    {
      key: torch.nn.Parameter(value, requires_grad=value.is_floating_point())
      for key, value in plain.items()
    },
    {key: value.numpy() for key, value in plain.items()},
  ]:
    found = flatten_dict(from_torch_state_dict(other))
    assert found.keys() == expected.keys() and all(
      np.array_equal(found[key], expected[key]) for key in found
    )
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_half_precision_is_widened():
  halves = {key: value.bfloat16() for key, value in small().state_dict().items()}
  found = to_torch_state_dict(from_torch_state_dict(halves))
  assert all(torch.equal(tensor, halves[key].float()) for key, tensor in found.items())


def test_imported_variables_do_not_share_memory_with_the_model_they_came_from():
  model = small()
  variables = from_torch_state_dict(model.state_dict())
  before = variables["params"]["bn1"]["scale"].copy()
  with torch.no_grad():
    model.bn1.weight.add_(1)
  np.testing.assert_array_equal(variables["params"]["bn1"]["scale"], before)


def change(**changes):
  """A small state dict with some keys (dots written as __) replaced, or left out for None."""
  state_dict = dict(small().state_dict())
  state_dict |= {key.replace("__", "."): value for key, value in changes.items()}
  return {key: value for key, value in state_dict.items() if value is not None}


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"m1__b2_1__bn2__weight": None}, "m1.b2_1.bn2.weight is missing, expected shape (4,)"),
    ({"fc__weight": torch.ones(3, 2)}, "fc.weight of shape (3, 2) is not expected"),
    (
      {"al0__weight": torch.ones(8, 6, 1, 1)},
      "al0.weight has shape (8, 6, 1, 1), expected (8, 5, 1, 1)",
    ),
    (
      {"l1__weight": None},
      "2 stacks, 5 landmarks, 8 features, depth 1: l1.weight is missing, expected shape (5, 8, 1, 1).",
    ),
    (
      {"bn1__running_var": torch.tensor([1, float("nan")])},
      "bn1.running_var holds NaN or infinity",
    ),
    (
      {"l0__weight": None},
      "not the weights of a FAN, for want of a convolution l0.weight; there is al0.bias",
    ),
    ({"conv1__weight": torch.ones(2)}, "for want of a convolution conv1.weight"),
    (
      {"conv1__weight": torch.ones(3, 3, 7, 7)},
      "conv1.weight has shape (3, 3, 7, 7), whose first number must be even",
    ),
    ({"epoch": 3}, "'epoch' is of type int"),
  ],
)
def test_weights_of_another_network_are_refused_in_one_sentence(changes, named):
  with pytest.raises(InputError) as error:
    from_torch_state_dict(change(**changes))
  assert named in str(error.value) and "\n" not in str(error.value)


def test_many_differences_are_counted_and_not_listed():
  partial = {
    key: value for key, value in small().state_dict().items() if not key.startswith("top_m_0.")
  }
  with pytest.raises(
    InputError, match=r"(top_m_0\.\S+ is missing, expected shape [^;]+(; |, and 12 more\.)){3}$"
  ):
    from_torch_state_dict(partial)


# ---- files


@pytest.mark.parametrize(
  "wrap", [lambda state_dict: state_dict, lambda state_dict: {"epoch": 1, "state_dict": state_dict}]
)
@pytest.mark.parametrize("zipped", [True, False], ids=["new format", "old format"])
def test_files_of_either_format_are_read(tmp_path, zipped, wrap):
  state_dict = small().state_dict()
  torch.save(wrap(state_dict), tmp_path / "code.pth.tar", _use_new_zipfile_serialization=zipped)
  found = read_state_dict(tmp_path / "code.pth.tar")
  assert found.keys() == {key for key in state_dict if not key.endswith("num_batches_tracked")}
  assert all(np.array_equal(found[key], state_dict[key]) for key in found)


class Malicious:
  """Leaves a file behind when it is unpickled."""

  def __init__(self, trace):
    self.trace = str(trace)

  def __reduce__(self):
    return open, (self.trace, "w")


def write_malicious(file, trace, kind):
  if kind == "pickle":
    file.write_bytes(f"cbuiltins\nopen\n(V{trace}\nVw\ntR.".encode())
  else:
    torch.save(
      {"conv1.weight": torch.ones(3), "x": Malicious(trace)},
      file,
      _use_new_zipfile_serialization=kind == "zip",
    )


@pytest.mark.parametrize("kind", ["zip", "old format", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch, kind):
  monkeypatch.setenv(
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1"
  )  # PyTorch's way to have it run after all
  write_malicious(tmp_path / "weights.pth", tmp_path / "trace", kind)
  with pytest.raises(
    InputError, match=r"weights\.pth is not loaded, it wants to call \S*open, and only plain arrays"
  ) as error:
    read_state_dict(tmp_path / "weights.pth")
  assert not (tmp_path / "trace").exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "old format"])
def test_the_code_in_these_files_would_run_if_it_were_let(tmp_path, kind):
  """Or else the test above proved nothing."""
  write_malicious(tmp_path / "weights.pth", tmp_path / "trace", kind)
  torch.load(tmp_path / "weights.pth", weights_only=False)["x"].close()
  assert (tmp_path / "trace").exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
  torch.save(small(), tmp_path / "model.pth")
  with pytest.raises(
    InputError, match=r"wants to call torch_fan\.FAN, .* torch\.save\(model\.state_dict\(\)"
  ):
    read_state_dict(tmp_path / "model.pth")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_is_refused_and_the_way_round_that_is_named_works(tmp_path):
  model = small()
  torch.jit.trace(model, torch.zeros(1, 3, 16, 16)).save(tmp_path / "fan.zip")
  with pytest.raises(InputError, match="it is a TorchScript archive") as error:
    read_state_dict(tmp_path / "fan.zip")
  assert "\n" not in str(error.value)
  program = str(error.value).split('"')[1]
  subprocess.run(
    [sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, check=True, timeout=120
  )
  taken_out = from_torch_state_dict(read_state_dict(tmp_path / "weights.pth"))
  jax.tree.map(np.testing.assert_array_equal, taken_out, from_torch_state_dict(model.state_dict()))


def damaged(tmp_path):
  for zipped in (True, False):
    torch.save(small().state_dict(), tmp_path / "whole", _use_new_zipfile_serialization=zipped)
    yield (tmp_path / "whole").read_bytes()[:-100]
  yield b""
  yield b"<!doctype html><title>Log in</title>"


def test_damaged_files_and_what_is_none_are_refused_in_one_sentence(tmp_path):
  for content in damaged(tmp_path):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(
      InputError, match=r"weights\.pth is not loaded, it is damaged or not from PyTorch \("
    ) as error:
      read_state_dict(tmp_path / "weights.pth")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
  for path in (tmp_path, tmp_path / "missing.pth"):
    with pytest.raises(InputError, match="is not a file: name the weights"):
      read_state_dict(path)


def test_arrays_that_are_no_state_dict_are_refused_with_the_file_s_name(tmp_path):
  for content, named in [
    (torch.ones(3), "maps names to arrays, got Tensor"),
    ({"model": {"a": torch.ones(3)}}, "'model' is of"),
  ]:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=f"weights.pth: a state dict .*{named}"):
      read_state_dict(tmp_path / "weights.pth")


# ---- mode=import_torch

SHAPE = {
  "features": 8,
  "depth": 1,
}  # of tiny_dataset's network, so that what the tests compile is shared


@pytest.fixture(autouse=True)
def shared_compilation(monkeypatch):
  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)


@pytest.fixture(scope="module")
def model():
  return torch_fan.randomise(torch_fan.FAN(2, tiny_dataset.MARKUP, **SHAPE, pool="max"))


@pytest.fixture(scope="module")
def config(folder):
  """Of one stack, which the file overrules, and not of the default pooling."""
  return tiny_dataset.config(folder, model__pool="max", codec__decode="argmax")


@pytest.fixture(scope="module")
def imported(model, config, tmp_path_factory):
  """Workdir, and what the import said."""
  directory = tmp_path_factory.mktemp("import")
  torch.save(
    {"state_dict": model.state_dict()},
    directory / "fan.pth.tar",
    _use_new_zipfile_serialization=False,
  )
  return directory / "run", torch_import.run(config, directory / "run", directory / "fan.pth.tar")


def torch_landmarks(model, image, crop_from_image):
  """Maxima of the PyTorch network's last heatmaps on a crop of 64 px, (K, 2) in image px."""
  pixels = torch.from_numpy(crop.cut(image, crop_from_image, 64)).permute(2, 0, 1)[None] / 255
  with torch.no_grad():
    heatmaps = model(pixels)[-1, 0]
  rows, columns = np.divmod(heatmaps.flatten(1).argmax(1).numpy(), heatmaps.shape[-1])
  points = (np.stack([columns, rows], 1) + 0.5) * 4 - 0.5
  return affine.apply(affine.invert(crop_from_image), points)


def test_an_imported_network_finds_the_landmarks_that_pytorch_finds(imported, model):
  image = tiny_dataset.draw_face(tiny_dataset.face_landmarks(5, (90, 100)), (90, 100))
  boxes = np.array([[20.0, 10, 70, 80], [0, 0, 99, 60]])
  aligner = predict.FaceAligner.from_checkpoint(imported[0])
  assert aligner.setup.config.model.num_stacks == 2 and aligner.setup.config.model.pool == "max"
  for box, found in zip(boxes, aligner(image, boxes).landmarks, strict=True):
    expected = torch_landmarks(model, image, crop.crop_from_image(box, aligner.setup.crop))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.ptp(expected, 0).min() > 5, "all in one place would prove nothing"


def test_the_import_says_what_it_took_from_the_file_and_how_the_config_must_follow(imported):
  assert "FAN, 2 stacks, 29 landmarks, 8 features, depth 1, max pooling." in imported[1]
  assert imported[1].endswith(
    "For --mode=eval and train add --config.model.num_stacks=2 to this config."
  )


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
  landmarks = tiny_dataset.face_landmarks(100, (70 + 100 % 7, 80 + 100 % 5))
  image = tiny_dataset.draw_face(landmarks, (70 + 100 % 7, 80 + 100 % 5))
  box = np.concatenate([landmarks.min(0), landmarks.max(0)])
  expected = torch_landmarks(model, image, crop.crop_from_image(box, build.crop_rule(config)))
  np.testing.assert_allclose(rows["test/100.png"], expected, atol=2e-3)
  provenance = json.loads((imported[0] / "eval" / "test.json").read_text())["provenance"]
  assert provenance["step"] == 0 and provenance["model"]["num_stacks"] == 2


def test_training_goes_on_from_imported_weights(folder, tmp_path):
  model = torch_fan.randomise(torch_fan.FAN(1, tiny_dataset.MARKUP, **SHAPE))
  torch.save(model.state_dict(), tmp_path / "fan.pth")
  config = tiny_dataset.config(folder)
  said = torch_import.run(config, tmp_path / "run", tmp_path / "fan.pth")
  assert said.endswith("avg pooling.")  # this config fits already
  starts = []

  def look(step):
    def looking(state, batch):
      starts.append(
        jax.tree.map(np.asarray, {"params": state.params, "batch_stats": state.batch_stats})
      )
      return step(state, batch)

    return looking

  tiny_dataset.run(config, tmp_path / "run", around_step=look)
  assert len(starts) == 12
  jax.tree.map(np.testing.assert_array_equal, starts[0], from_torch_state_dict(model.state_dict()))


def test_a_workdir_with_checkpoints_is_left_as_it_is(imported, config):
  before = tiny_dataset.last_digest(imported[0])
  with pytest.raises(InputError, match="holds checkpoints already, and they are not overwritten"):
    torch_import.run(config, imported[0], imported[0].parent / "fan.pth.tar")
  assert tiny_dataset.last_digest(imported[0]) == before


def test_weights_of_another_mark_up_are_refused_before_anything_is_written(folder, tmp_path):
  torch.save(small().state_dict(), tmp_path / "fan.pth")
  with pytest.raises(
    InputError, match=r"finds 5 landmarks and config\.data\.markup is 29"
  ) as error:
    torch_import.run(tiny_dataset.config(folder), tmp_path / "run", tmp_path / "fan.pth")
  assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_weights_of_another_network_are_refused_with_the_file_s_name(folder, tmp_path):
  torch.save(change(l0__weight=None), tmp_path / "fan.pth")
  with pytest.raises(InputError, match=r"fan\.pth: these are not the weights of a FAN"):
    torch_import.run(tiny_dataset.config(folder), tmp_path / "run", tmp_path / "fan.pth")


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


# ---- boxes


def test_fan_boxes_make_the_crop_that_the_published_networks_saw():
  """Their crop: side 200 (w + h) / 195, 0.12 h up, 256 px; ours of the changed boxes, with the face
  at 124.8 px, is the same.
  """
  boxes = np.array([[10.0, 20, 110, 180], [-5, 0, 300.5, 200]])
  for box, changed in zip(boxes, fan_boxes(boxes), strict=True):
    width, height = box[2:] - box[:2]
    side = 200 * (width + height) / 195
    centre = np.array([box[0] + width / 2, box[1] + height / 2 - 0.12 * height])
    corners = np.array([[-0.5, -0.5], [255.5, 255.5], [127.5, 127.5]])
    expected = [centre - side / 2, centre + side / 2, centre]
    found = affine.apply(
      affine.invert(crop.crop_from_image(changed, crop.CropRule(face=124.8))), corners
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)
