"""The whole method on an input of 96 px, for family.py.

  python -m fal_jax.main --config=configs/ablations/fan_96px.py:demo --workdir=runs/fan_96px

Half as large again as the demo's 64, of the same part of the face: 24 x 24 heatmaps, which are
halved twice as there. The base's number of stacks stays.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.model.name = "fan"
  config.model.features = 64
  config.model.depth = 2
  config.crop.size = 96
  config.crop.stored_size = 156
  config.crop.face = 82.5
  return config.lock()
