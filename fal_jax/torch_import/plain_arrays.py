"""State dicts of PyTorch as plain names and NumPy arrays; knows neither JAX nor PyTorch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fal_jax.errors import InputError, cut


def plain_arrays(state_dict: Any) -> dict[str, np.ndarray]:
  """What a loaded file holds.

  Args:
    state_dict: key -> tensor or array. It may also lie under the key "state_dict", have `module.`
      before each key, and contain `num_batches_tracked`.

  Returns:
    Key -> float32 array (...), shaped as in PyTorch. The prefix and `num_batches_tracked` are left
    out.

  Raises:
    InputError: it is something else, or a tensor is not an array of real numbers that are all
      there.
  """
  if isinstance(state_dict, Mapping) and isinstance(state_dict.get("state_dict"), Mapping):
    state_dict = state_dict["state_dict"]
  if not isinstance(state_dict, Mapping) or not all(isinstance(key, str) for key in state_dict):
    raise InputError(f"a state dict maps names to arrays, got {type(state_dict).__name__}.")
  for key, value in state_dict.items():
    if not hasattr(value, "shape"):
      raise InputError(
        f"a state dict holds arrays, but {cut(key)!r} is of type {type(value).__name__}: "
        "give the network's own, or a dictionary with it under 'state_dict'."
      )

  # DataParallel leaves a prefix behind.
  prefix = "module." if all(key.startswith("module.") for key in state_dict) else ""
  return {
    key.removeprefix(prefix): _float32(key, value)
    for key, value in state_dict.items()
    if not key.endswith(".num_batches_tracked")
  }


def refusal(path: str, reason: str) -> str:
  """The sentence about a file that is not loaded.

  Args:
    path: the file.
    reason: why not.

  Returns:
    It, with what to do.
  """
  return (
    f"{path} was not loaded: {reason}, and only plain arrays are accepted. Give a file written "
    "by torch.save(model.state_dict(), ...)."
  )


def damage(what: str) -> str:
  """The reason for a `refusal` of what cannot be read."""
  return f"it is damaged or not from PyTorch ({cut(what)})"


def _float32(key: str, value: Any) -> np.ndarray:
  """A tensor or array of any shape as a float32 array of the same shape."""
  if hasattr(value, "detach"):
    if odd := _oddity(value):
      raise InputError(
        f"a state dict holds plain arrays, but {cut(key)!r} {odd}: save dense tensors of real "
        "numbers."
      )
    value = value.detach().cpu().float()
  return np.asarray(value, np.float32)


def _oddity(tensor: Any) -> str:
  """What a tensor is besides numbers in memory, for a sentence; "" for nothing."""
  if str(tensor.layout) != "torch.strided" or tensor.is_nested:
    return f"is of the layout {tensor.layout}"
  if tensor.is_meta:
    return "has a shape and no numbers"
  if tensor.is_quantized or tensor.is_complex():
    return f"holds {tensor.dtype}"
  # A kilobyte may say that it is one number eight thousand million times.
  if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
    return f"of shape {tuple(tensor.shape)} repeats the few numbers that there are"
  return ""
