"""The whole method on a FAN of 48 features, for family.py.

  python -m fal_jax.main --config=configs/ablations/fan_48.py:demo --workdir=runs/fan_48

Half the multiplications of 64 features. The base's input, depth and number of stacks stay.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.model.name = "fan"
  config.model.features = 48
  return config.lock()
