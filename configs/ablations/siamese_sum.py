"""Eq. 6 as printed: the heatmaps of two views are added, and held against one Gaussian.

  python -m fal_jax.main --config=configs/ablations/siamese_sum.py:demo \\
    --workdir=runs/siamese_sum

So each view learns a peak of 1/2.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.siamese.reduce = "sum"
  config.siamese.target_scale = 1.0
  return config.lock()
