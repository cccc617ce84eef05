"""What need not wait for PyTorch: files that are refused by what they say of themselves."""

import pytest
import torch_pickles
from torch_pickles import of_tensor, old, zipped

from fal_jax.errors import InputError
from fal_jax.torch_import import outline
from fal_jax.torch_import.state_dict import read_state_dict

FORMATS = pytest.mark.parametrize("form", [zipped, old], ids=["new format", "old format"])


@FORMATS
@pytest.mark.parametrize(
  ("tensor", "odd"),
  [
    ({"shape": (2_000_000_000,), "count": 1}, r"of shape \(2000000000,\) repeats the few numbers"),
    ({"shape": (2**30, 2**30, 2**30), "count": 4}, ".*repeats the few numbers"),
    ({"storage": "torch ComplexFloatStorage"}, "holds torch.complex64"),
    ({"function": "torch._utils _rebuild_sparse_tensor"}, "is of the layout of sparse"),
    ({"function": "torch._utils _rebuild_meta_tensor_no_storage"}, "has a shape and no numbers"),
    ({"function": "torch._utils _rebuild_qtensor"}, "is quantised"),
  ],
)
def test_a_tensor_that_is_no_plain_array_is_named(tmp_path, form, tensor, odd):
  path = tmp_path / "weights.pth"
  path.write_bytes(form(of_tensor(**tensor)))
  with pytest.raises(InputError, match=rf"weights.pth: .* 'conv1.weight' {odd}") as error:
    read_state_dict(path)
  assert "\n" not in str(error.value)


@FORMATS
def test_numbers_that_are_not_in_the_file_are_not_asked_for(tmp_path, form):
  path = tmp_path / "weights.pth"
  path.write_bytes(form(of_tensor(shape=(2_000_000_000,), count=2_000_000_000)))
  with pytest.raises(InputError, match="would unpack from"):
    read_state_dict(path)


@FORMATS
@pytest.mark.parametrize("called", ["posix system", "builtins open", "numpy load"])
def test_what_calls_something_else_is_refused(tmp_path, form, called):
  path = tmp_path / "weights.pth"
  path.write_bytes(form(of_tensor(function=called)))
  with pytest.raises(InputError, match=f"tries to call {called.replace(' ', '.')}, and only plain"):
    read_state_dict(path)


@pytest.mark.parametrize(
  "content", [b"", b"<!doctype html>", b"column,other\n1,2\n", of_tensor(), b"\x80\x02K\x01."]
)
def test_what_is_of_neither_format_is_refused(tmp_path, content):
  path = tmp_path / "weights.pth"
  path.write_bytes(content)
  with pytest.raises(InputError, match=r"damaged or not from PyTorch \(it begins like neither"):
    read_state_dict(path)


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize(
  "pickled",
  [
    of_tensor(),
    b"\x80\x02)" + b"\x85" * 600_000 + b".",  # tuples in tuples
    b"\x80\x02})" + b"\x85" * 600_000 + b"Ns.",  # and as a key
    of_tensor(shape=(2,) * 10_000),
    of_tensor()[:-5],
    b"\x80\x04\x95",
  ],
  ids=["plain", "deep", "deep key", "many dimensions", "cut", "newer"],
)
def test_all_else_is_left_to_pytorch(tmp_path, form, pickled):
  path = tmp_path / "weights.pth"
  path.write_bytes(form(pickled))
  outline.check(path)


def test_a_file_by_hand_is_one_of_pytorch_s(tmp_path):
  torch = pytest.importorskip("torch", reason="no PyTorch here: pip install torch")
  for form in (zipped, old):
    (tmp_path / "weights.pth").write_bytes(form(torch_pickles.of_tensor()))
    loaded = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert loaded["conv1.weight"].shape == (4, 2)
