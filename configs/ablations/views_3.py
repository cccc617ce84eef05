"""Siamese training over three views instead of two.

  python -m fal_jax.main --config=configs/ablations/views_3.py:demo --workdir=runs/views_3

Not in the paper.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.siamese.num_views = 3
  return config.lock()
