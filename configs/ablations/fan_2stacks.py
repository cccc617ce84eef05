"""The whole method on a FAN of two stacks, for family.py.

  python -m fal_jax.main --config=configs/ablations/fan_2stacks.py:demo --workdir=runs/fan_2stacks

The paper's number of stacks, of 64 features. The base's input and depth stay.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.model.name = "fan"
  config.model.features = 64
  config.model.num_stacks = 2
  return config.lock()
