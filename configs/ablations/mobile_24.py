"""The whole method on the network for CPUs and phones, for family.py.

  python -m fal_jax.main --config=configs/ablations/mobile_24.py:demo --workdir=runs/mobile_24

MobileUNet of 24 features, as w300_mobile.py has it. The base's input stays.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.model.name = "mobile_unet"
  config.model.num_stacks = 1
  config.model.features = 24
  config.model.depth = 3
  config.model.expansion = 4
  return config.lock()
