"""PyTorch weights: every one in its place, and no code run that a file may hold."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from fan_variables import random_variables
from flax.traverse_util import flatten_dict

from fal_jax import affine
from fal_jax.crop import CropRule, crop_from_image
from fal_jax.errors import InputError
from fal_jax.hourglass import FAN
from fal_jax.torch_import.state_dict import (
  fan_boxes,
  from_torch_state_dict,
  network_of,
  read_state_dict,
  to_torch_state_dict,
)

torch = pytest.importorskip("torch", reason="no PyTorch here to compare with: pip install torch")
torch_fan = pytest.importorskip("torch_fan")

# ---- Names and shapes


@pytest.mark.slow
@pytest.mark.parametrize(("stacks", "landmarks"), [(1, 19), (2, 98), (4, 68)])
def test_weights_go_to_flax_and_back_bit_for_bit(stacks, landmarks):
  model = torch_fan.FAN(stacks, landmarks)
  state_dict = torch_fan.randomise(model).state_dict()

  network = network_of(state_dict)
  assert (network.num_stacks, network.num_landmarks) == (stacks, landmarks)
  assert (network.features, network.depth) == (256, 4)

  variables = from_torch_state_dict(state_dict)
  back = to_torch_state_dict(variables)
  assert back.keys() == {key for key in state_dict if not key.endswith("num_batches_tracked")}
  assert all(torch.equal(tensor, state_dict[key]) for key, tensor in back.items())

  with torch.device("meta"):
    again = torch_fan.FAN(stacks, landmarks)
  again.load_state_dict(back, strict=True, assign=True)


@pytest.mark.slow
def test_variables_of_our_own_become_a_state_dict_that_pytorch_loads():
  network = FAN(2, torch_fan.LANDMARKS, 8, depth=1)
  images = np.random.default_rng(0).uniform(size=(1, 16, 16, 3)).astype(np.float32)
  variables = random_variables(network, images)

  model = torch_fan.FAN(2, torch_fan.LANDMARKS, features=8, depth=1)
  model.load_state_dict(to_torch_state_dict(variables), strict=True)
  with torch.no_grad():
    expected = model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 1, 3, 4, 2)

  heatmaps = network.apply(variables, images, False)
  np.testing.assert_allclose(heatmaps, expected, rtol=1e-4, atol=1e-4)


def prefixed(state_dict):
  """As DataParallel names the weights."""
  return {f"module.{key}": value for key, value in state_dict.items()}


def without_counters(state_dict):
  return {
    key: value for key, value in state_dict.items() if not key.endswith("num_batches_tracked")
  }


def as_parameters(state_dict):
  return {
    key: torch.nn.Parameter(value, requires_grad=value.is_floating_point())
    for key, value in state_dict.items()
  }


@pytest.mark.slow
def test_what_other_programs_leave_around_the_weights_makes_no_difference():
  plain = torch_fan.small().state_dict()
  variants = [
    prefixed(plain),
    without_counters(plain),
    {"epoch": 3, "state_dict": prefixed(plain), "optimizer": {}},
    {key: value.double() for key, value in plain.items()},
    as_parameters(plain),
    {key: value.numpy() for key, value in plain.items()},
  ]

  expected = flatten_dict(from_torch_state_dict(plain))
  for variant in variants:
    arrays = flatten_dict(from_torch_state_dict(variant))
    assert arrays.keys() == expected.keys()
    assert all(np.array_equal(arrays[key], expected[key]) for key in arrays)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_half_precision_is_widened():
  halves = {key: value.bfloat16() for key, value in torch_fan.small().state_dict().items()}
  widened = to_torch_state_dict(from_torch_state_dict(halves))
  assert all(torch.equal(tensor, halves[key].float()) for key, tensor in widened.items())


def test_imported_variables_do_not_share_memory_with_the_model_they_came_from():
  model = torch_fan.small()
  variables = from_torch_state_dict(model.state_dict())
  before = variables["params"]["bn1"]["scale"].copy()

  with torch.no_grad():
    model.bn1.weight.add_(1)

  np.testing.assert_array_equal(variables["params"]["bn1"]["scale"], before)


def change(**changes):
  """`torch_fan.changed`, with keys as keywords: dots are written as __."""
  return torch_fan.changed({key.replace("__", "."): value for key, value in changes.items()})


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
      "2 stacks, 5 landmarks, 8 features, depth 1: "
      "l1.weight is missing, expected shape (5, 8, 1, 1).",
    ),
    (
      {"bn1__running_var": torch.tensor([1, float("nan")])},
      "bn1.running_var holds NaN or infinity",
    ),
    (
      {"l0__weight": None},
      "not the weights of a FAN: they lack a convolution l0.weight; there is al0.bias",
    ),
    ({"conv1__weight": torch.ones(2)}, "they lack a convolution conv1.weight"),
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
  state_dict = torch_fan.small().state_dict()
  partial = {key: value for key, value in state_dict.items() if not key.startswith("top_m_0.")}

  named = r"(top_m_0\.\S+ is missing, expected shape [^;]+(; |, and 12 more\.)){3}$"
  with pytest.raises(InputError, match=named):
    from_torch_state_dict(partial)


# ---- Files


@pytest.mark.parametrize(
  "wrap", [lambda state_dict: state_dict, lambda state_dict: {"epoch": 1, "state_dict": state_dict}]
)
@pytest.mark.parametrize("zipped", [True, False], ids=["new format", "old format"])
def test_files_of_either_format_are_read(tmp_path, zipped, wrap):
  state_dict = torch_fan.small().state_dict()
  torch.save(wrap(state_dict), tmp_path / "code.pth.tar", _use_new_zipfile_serialization=zipped)

  arrays = read_state_dict(tmp_path / "code.pth.tar")

  assert arrays.keys() == without_counters(state_dict).keys()
  assert all(np.array_equal(arrays[key], state_dict[key]) for key in arrays)


class Malicious:
  """Leaves a file behind when it is unpickled."""

  def __init__(self, trace):
    self.trace = str(trace)

  def __reduce__(self):
    return open, (self.trace, "w")


def write_malicious(file, trace, kind):
  """A file of weights that creates the file `trace` if its code runs."""
  if kind == "pickle":
    file.write_bytes(f"cbuiltins\nopen\n(V{trace}\nVw\ntR.".encode())
    return

  content = {"conv1.weight": torch.ones(3), "x": Malicious(trace)}
  torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")


@pytest.mark.parametrize("kind", ["zip", "old format", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch, kind):
  # PyTorch's way to have it run after all.
  monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
  write_malicious(tmp_path / "weights.pth", tmp_path / "trace", kind)

  named = r"weights\.pth was not loaded: it tries to call \S*open, and only plain arrays"
  with pytest.raises(InputError, match=named) as error:
    read_state_dict(tmp_path / "weights.pth")

  assert not (tmp_path / "trace").exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "old format"])
def test_the_code_in_these_files_would_run_if_it_were_allowed_to(tmp_path, kind):
  """Or else the test above proved nothing."""
  write_malicious(tmp_path / "weights.pth", tmp_path / "trace", kind)
  torch.load(tmp_path / "weights.pth", weights_only=False)["x"].close()
  assert (tmp_path / "trace").exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
  torch.save(torch_fan.small(), tmp_path / "model.pth")
  named = r"tries to call torch_fan\.FAN, .* torch\.save\(model\.state_dict\(\)"
  with pytest.raises(InputError, match=named):
    read_state_dict(tmp_path / "model.pth")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_is_refused_and_the_workaround_that_is_named_works(tmp_path):
  model = torch_fan.small()
  torch.jit.trace(model, torch.zeros(1, 3, 16, 16)).save(tmp_path / "fan.zip")

  with pytest.raises(InputError, match="is a TorchScript archive and was not loaded") as error:
    read_state_dict(tmp_path / "fan.zip")
  assert "\n" not in str(error.value)

  program = str(error.value).split('"')[1]
  command = [sys.executable, "-W", "ignore", "-c", program]
  subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
  extracted = from_torch_state_dict(read_state_dict(tmp_path / "weights.pth"))
  jax.tree.map(np.testing.assert_array_equal, extracted, from_torch_state_dict(model.state_dict()))


def damaged(tmp_path):
  """Contents of files that are not, or no longer, PyTorch's."""
  state_dict = torch_fan.small().state_dict()
  for zipped in (True, False):
    torch.save(state_dict, tmp_path / "whole", _use_new_zipfile_serialization=zipped)
    yield (tmp_path / "whole").read_bytes()[:-100]
  yield b""
  yield b"<!doctype html><title>Log in</title>"


def test_damaged_and_foreign_files_are_refused_in_one_sentence(tmp_path):
  named = r"weights\.pth was not loaded: it is damaged or not from PyTorch \("
  for content in damaged(tmp_path):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(InputError, match=named) as error:
      read_state_dict(tmp_path / "weights.pth")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400

  for path in (tmp_path, tmp_path / "missing.pth"):
    with pytest.raises(InputError, match="is not a file: name the weights"):
      read_state_dict(path)


def test_arrays_that_are_not_a_state_dict_are_refused_with_the_file_s_name(tmp_path):
  for content, named in [
    (torch.ones(3), "maps names to arrays, got Tensor"),
    ({"model": {"a": torch.ones(3)}}, "'model' is of"),
  ]:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=f"weights.pth: a state dict .*{named}"):
      read_state_dict(tmp_path / "weights.pth")


# ---- Boxes


def test_fan_boxes_make_the_crop_that_the_published_networks_saw():
  """Their crop has the side 200 (w + h) / 195, 256 px, and lies 0.12 h further up.

  Ours of the changed boxes, with the face at 124.8 px, is the same.
  """
  rule = CropRule(face=124.8)
  boxes = np.array([[10.0, 20, 110, 180], [-5, 0, 300.5, 200]])
  for box, changed in zip(boxes, fan_boxes(boxes), strict=True):
    width, height = box[2:] - box[:2]
    side = 200 * (width + height) / 195
    centre = np.array([box[0] + width / 2, box[1] + height / 2 - 0.12 * height])
    expected = [centre - side / 2, centre + side / 2, centre]

    corners = np.array([[-0.5, -0.5], [255.5, 255.5], [127.5, 127.5]])
    image_from_crop = affine.invert(crop_from_image(changed, rule))
    np.testing.assert_allclose(affine.apply(image_from_crop, corners), expected, atol=1e-9)
