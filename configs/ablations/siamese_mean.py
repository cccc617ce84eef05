"""The mean of the views that saw a cell, in place of their sum.

  python -m fal_jax.main --config=configs/ablations/siamese_mean.py:demo \\
    --workdir=runs/siamese_mean

Not in the paper. Cells that one view saw weigh as much as those that both did; in the sum
they weigh a quarter.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.siamese.reduce = "mean"
  return config.lock()
