"""PyTorch state dicts of FAN networks to Flax variables, and back."""

import functools
import importlib.util
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fal_jax.errors import InputError
from fal_jax.hourglass import FAN
from fal_jax.parsing import isolated, limits
from fal_jax.torch_import import outline
from fal_jax.torch_import.plain_arrays import damage, plain_arrays, refusal

_LEAVES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}

_READER = "fal_jax.torch_import.torch_file"
# The published networks have at most 4 stacks, all of depth 4.
_MAX_STACKS, _MAX_DEPTH = 32, 6


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
  """Reads a file that `torch.save` has written, without running any code that it may hold.

  Args:
    path: a state dict of arrays, or a dictionary with one under "state_dict"; old or new format.

  Returns:
    Key -> float32 array (...), shaped as in PyTorch. A prefix `module.` of all keys and
    `num_batches_tracked` are left out.

  Raises:
    InputError: the file is missing, damaged, TorchScript, or holds code beside arrays.
  """
  outline.check(path)
  _check_torch()
  try:
    return isolated.call(f"{_READER}:arrays", str(Path(path).expanduser()))
  except isolated.Failed as failed:
    raise InputError(refusal(str(path), damage(str(failed)))) from failed


def network_of(state_dict: Mapping[str, Any]) -> FAN:
  """The network that a state dict belongs to.

  Stacks, landmarks, features and depth are read off names and shapes. Whether it pools by "avg" or
  "max" cannot be seen there: `network_of(...).clone(pool="max")`.

  Args:
    state_dict: as in `from_torch_state_dict`.

  Returns:
    The network, in float32 and with average pooling.

  Raises:
    InputError: the state dict is not that of a FAN.
  """
  arrays = plain_arrays(state_dict)
  for key in ("conv1.weight", "l0.weight", "m0.b1_1.conv1.weight"):
    if key not in arrays or arrays[key].ndim != 4:
      first = ", ".join(sorted(arrays)[:3]) or "nothing"
      raise InputError(
        f"these are not the weights of a FAN: they lack a convolution {key}; there is {first} ..."
      )

  stem_shape = arrays["conv1.weight"].shape
  features = 4 * stem_shape[0]
  if features < 8 or features % 8:
    raise InputError(
      f"conv1.weight has shape {stem_shape}, whose first number must be even in a FAN."
    )
  num_landmarks = arrays["l0.weight"].shape[0]
  if not 0 < num_landmarks <= limits.MAX_LANDMARKS:
    raise InputError(
      f"l0.weight has shape {arrays['l0.weight'].shape}, whose first number, of landmarks, must be "
      f"1 to {limits.MAX_LANDMARKS}."
    )

  def first_missing(prefix: str, start: int) -> int:
    """The first number with which no key starts that way."""
    return next(
      i
      for i in itertools.count(start)
      if i > _MAX_STACKS or not any(key.startswith(prefix.format(i)) for key in arrays)
    )

  num_stacks, depth = first_missing("m{}.", 0), first_missing("m0.b1_{}.", 1) - 1
  if num_stacks > _MAX_STACKS or depth > _MAX_DEPTH:
    raise InputError(
      f"these are not the weights of a FAN: {num_stacks} stacks or more of depth {depth}, expected "
      f"at most {_MAX_STACKS} of {_MAX_DEPTH}."
    )
  return FAN(num_stacks, num_landmarks, features, depth=depth)


def from_torch_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Any]:
  """PyTorch's names and layout to Flax's.

  Args:
    state_dict: key -> tensor or array. It may also have `module.` before each key and contain
      `num_batches_tracked`, or lie under the key "state_dict". Kernels (O, I, H, W).

  Returns:
    `params` and `batch_stats` of `network_of(state_dict)`, float32. Kernels (H, W, I, O).

  Raises:
    InputError: keys are missing or left over, shapes differ, or a value is NaN or infinite; the
      message names the first three.
  """
  arrays = plain_arrays(state_dict)
  network = network_of(arrays)

  # Keys and shapes that this network has.
  side = network.size_multiple
  image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
  init = functools.partial(network.init, train=False)
  leaves = flatten_dict(jax.eval_shape(init, jax.random.key(0), image))
  paths = {_torch_key(path): path for path in leaves}
  shapes = {key: _torch_shape(leaves[path].shape) for key, path in paths.items()}

  problems = [
    f"{key} is missing, expected shape {shape}"
    for key, shape in shapes.items()
    if key not in arrays
  ]
  for key, array in arrays.items():
    if key not in shapes:
      problems.append(f"{key} of shape {array.shape} is not expected")
    elif array.shape != shapes[key]:
      problems.append(f"{key} has shape {array.shape}, expected {shapes[key]}")
    elif not np.isfinite(array).all():
      problems.append(f"{key} holds NaN or infinity")

  if problems:
    more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
    raise InputError(
      f"these are not the weights of a FAN, {size_of(network)}: {'; '.join(problems[:3])}{more}."
    )
  return unflatten_dict({path: _from_torch_layout(arrays[key]) for key, path in paths.items()})


def to_torch_state_dict(variables: Mapping[str, Any]) -> dict[str, Any]:
  """Flax's names and layout to PyTorch's, the inverse of `from_torch_state_dict`.

  Args:
    variables: `params` and `batch_stats`, or one of them, of a `FAN`; or gradients of the same
      tree. Kernels (H, W, I, O).

  Returns:
    Key -> torch.Tensor of the same dtype, for `load_state_dict`. Kernels (O, I, H, W).
  """
  _check_torch()
  import torch

  leaves = flatten_dict(dict(variables))
  return {
    _torch_key(path): torch.from_numpy(_to_torch_layout(np.asarray(leaf)))
    for path, leaf in leaves.items()
  }


def size_of(network: FAN) -> str:
  """A network's size for a message."""
  stacks = f"{network.num_stacks} stack{'s' * (network.num_stacks > 1)}"
  landmarks = f"{network.num_landmarks} landmarks"
  return f"{stacks}, {landmarks}, {network.features} features, depth {network.depth}"


def fan_boxes(boxes: np.ndarray) -> np.ndarray:
  """Boxes for which `crop_from_image` with face 124.8 px yields the published networks' crops.

  Args:
    boxes: (N, 4) x0, y0, x1, y1 in image px, a detector's or tight around the landmarks.

  Returns:
    (N, 4) float64: squares of the mean of width and height, 0.12 heights further up.
  """
  boxes = np.asarray(boxes, np.float64)
  centre = (boxes[:, :2] + boxes[:, 2:]) / 2
  size = boxes[:, 2:] - boxes[:, :2]

  centre[:, 1] -= 0.12 * size[:, 1]
  half = size.mean(1, keepdims=True) / 2
  return np.concatenate([centre - half, centre + half], 1)


def _check_torch() -> None:
  """Refuses to go on without the package torch, which is installed only with that extra."""
  if importlib.util.find_spec("torch") is None:
    raise InputError(
      "Reading PyTorch weights needs PyTorch: pip install torch, or pip install 'fal_jax[torch]'."
    )


def _torch_key(path: tuple[str, ...]) -> str:
  """("params", "conv2", "downsample_2", "kernel") to "conv2.downsample.2.weight"."""
  modules = [name.replace("downsample_", "downsample.") for name in path[1:-1]]
  return ".".join([*modules, _LEAVES[path[-1]]])


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
  """(H, W, I, O) becomes (O, I, H, W), vectors stay."""
  return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape


def _from_torch_layout(array: np.ndarray) -> np.ndarray:
  """A copy in which (O, I, H, W) becomes (H, W, I, O), vectors stay."""
  return np.array(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array, order="C")


def _to_torch_layout(array: np.ndarray) -> np.ndarray:
  """A copy in which (H, W, I, O) becomes (O, I, H, W), vectors stay."""
  return np.array(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array, order="C")
