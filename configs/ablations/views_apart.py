"""Two views of each image, each compared with the landmarks in its own frame: not Eq. 6.

  python -m fal_jax.main --config=configs/ablations/views_apart.py:demo --workdir=runs/views_apart

Not in the paper. It shows each image as often as siamese.py and costs as much, without adding
heatmaps up, so it stands between encoding_decoding.py and siamese.py: what it gains is what more
views gain, and the rest is Eq. 6.
"""

from ml_collections import ConfigDict

from configs.ablations import encoding_decoding


def get_config(base: str = "demo") -> ConfigDict:
  config = encoding_decoding.get_config(base).unlock()
  config.siamese.num_views = 2
  return config.lock()
