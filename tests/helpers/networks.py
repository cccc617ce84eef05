"""What tests of networks share: the published parameter counts, random weights and images."""

import functools

import jax
import numpy as np
from flax import linen as nn

# Parameters of the PyTorch networks, by stacks and landmarks.
PARAMETERS = {
  (1, 19): 6_237_075,
  (1, 29): 6_239_645,
  (1, 39): 6_242_215,
  (1, 68): 6_249_668,
  (1, 98): 6_257_378,
  (2, 19): 12_068_774,
  (2, 29): 12_076_474,
  (2, 39): 12_084_174,
  (2, 68): 12_106_504,
  (2, 98): 12_129_604,
  (4, 19): 23_732_172,
  (4, 29): 23_750_132,
  (4, 39): 23_768_092,
  (4, 68): 23_820_176,
  (4, 98): 23_874_056,
}


def shapes(model: nn.Module, x: np.ndarray) -> dict:
  """The tree of a model's variables, as `jax.ShapeDtypeStruct`."""
  return jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), x)


def random_variables(model: nn.Module, x: np.ndarray) -> dict:
  """Variables that no layer can hide behind: none has its initial value."""
  rng = np.random.default_rng(0)

  def fill(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    name = path[-1].key
    if name == "kernel":
      return rng.normal(size=leaf.shape).astype(np.float32) / np.sqrt(np.prod(leaf.shape[:-1]))
    low, high = (0.5, 1.5) if name in ("scale", "var") else (-0.5, 0.5)
    return rng.uniform(low, high, leaf.shape).astype(np.float32)

  return jax.tree_util.tree_map_with_path(fill, shapes(model, x))


def random_images(count: int = 2, *, size: int = 64) -> np.ndarray:
  """(count, size, size, 3) float32 in [0, 1]."""
  return np.random.default_rng(1).uniform(size=(count, size, size, 3)).astype(np.float32)
