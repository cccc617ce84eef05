"""The training of siamese.py read by fitting the Gaussian that it was taught.

  python -m fal_jax.main --config=configs/ablations/calibrated.py:demo \\
    --workdir=runs/calibrated

Ours, not in the paper.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.codec.decode = "calibrated"
  return config.lock()
