"""The whole method on the smallest network for CPUs and phones, for family.py.

  python -m fal_jax.main --config=configs/ablations/mobile_16.py:demo --workdir=runs/mobile_16

MobileUNet of 16 features. The base's input stays.
"""

from ml_collections import ConfigDict

from configs.ablations import mobile_24


def get_config(base: str = "demo") -> ConfigDict:
  config = mobile_24.get_config(base).unlock()
  config.model.features = 16
  return config.lock()
