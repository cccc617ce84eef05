"""What reads PyTorch files, in the process of `fal_jax.parsing.isolated`."""

import re
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError
from fal_jax.parsing import limits
from fal_jax.torch_import.plain_arrays import plain_arrays, refusal

try:  # before a file is there, at whose expense it would be
  import torch
except ImportError:
  torch = None  # `state_dict` has said that it is missing


def arrays(path: str) -> dict[str, np.ndarray]:
  """The arrays of a file that `torch.save` has written; nothing in it is run.

  Args:
    path: the file.

  Returns:
    Key -> float32 array (...), see `plain_arrays`.

  Raises:
    InputError: it calls something, holds something else than plain arrays, or more of them than
      its size allows.
  """
  try:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
  except Exception as error:  # whatever a damaged or malicious file makes it raise
    calls = re.search(r"GLOBAL (\S{1,100})", str(error))
    if not calls:
      raise
    raise InputError(refusal(path, f"it tries to call {calls[1]}")) from error

  try:
    found = plain_arrays(loaded)
  except InputError as error:
    raise InputError(f"{path}: {error}") from error
  total = sum(array.nbytes for array in found.values())
  limits.check_ratio(total, Path(path).stat().st_size, what=f"{path}: its arrays")
  return found
