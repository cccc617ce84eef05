"""One view, pulled back like the two of siamese.py and compared in the crop's frame.

  python -m fal_jax.main --config=configs/ablations/pulled_back_single.py:demo \\
    --workdir=runs/pulled_back_single

Not in the paper. It has the warp and the mask of Eq. 6 without a second view, so it stands
between encoding_decoding.py and siamese.py and separates their effects.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.siamese.num_views = 1
  return config.lock()
