"""The training of siamese.py read in a window of 3 x 3 heatmap pixels.

  python -m fal_jax.main --config=configs/ablations/window_3.py:demo --workdir=runs/window_3

Paper: NME_box 2.06 on 300W test.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.codec.window = 3
  return config.lock()
