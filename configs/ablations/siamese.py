"""The whole method: Siamese training over two views (Sec. 3.4) on top of encoding and decoding.

  python -m fal_jax.main --config=configs/ablations/siamese.py:demo --workdir=runs/siamese

Paper: NME_ic 3.72 on WFLW (Table 2), NME_box 2.04 on 300W test (Table 3). A batch holds as
many images as without, each in two views, so a step costs twice as much and an epoch shows
each image twice.
"""

from ml_collections import ConfigDict

from configs.ablations import encoding_decoding


def get_config(base: str = "demo") -> ConfigDict:
  config = encoding_decoding.get_config(base).unlock()
  config.siamese.num_views = 2
  config.siamese.frame = "crop"
  return config.lock()
