"""Eq. 6 with a target of twice the height.

  python -m fal_jax.main --config=configs/ablations/siamese_sum_scaled.py:demo \\
    --workdir=runs/siamese_sum_scaled

So each view learns a peak of 1.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese_sum


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese_sum.get_config(base).unlock()
  config.siamese.target_scale = 2.0
  return config.lock()
