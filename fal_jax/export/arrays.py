"""model.safetensors: the arrays under the names of the library's own tree."""

from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save


def write(variables: Any) -> bytes:
  """The content of the file.

  Args:
    variables: `params` and `batch_stats`, float32.

  Returns:
    Arrays (...,) by names such as "params/conv1/kernel", float16 where that loses nothing, as of
    the networks that come with the package, else float32.
  """
  return save({"/".join(path): _narrow(leaf) for path, leaf in flatten_dict(variables).items()})


def _narrow(leaf: Any) -> np.ndarray:
  """An array (...,) as float16 if it comes back from that unchanged, else as float32."""
  array = np.asarray(leaf, np.float32)
  with np.errstate(over="ignore"):
    half = array.astype(np.float16)
  # Contiguous: safetensors writes the memory as it is.
  return np.ascontiguousarray(half if np.array_equal(half.astype(np.float32), array) else array)
