"""The whole method on the largest network for CPUs and phones, for family.py.

  python -m fal_jax.main --config=configs/ablations/mobile_48.py:demo --workdir=runs/mobile_48

MobileUNet of 48 features and threefold expansion. The base's input stays.
"""

from ml_collections import ConfigDict

from configs.ablations import mobile_24


def get_config(base: str = "demo") -> ConfigDict:
  config = mobile_24.get_config(base).unlock()
  config.model.features = 48
  config.model.expansion = 3
  return config.lock()
