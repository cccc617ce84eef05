"""The training of siamese.py read in a window of 7 x 7 heatmap pixels.

  python -m fal_jax.main --config=configs/ablations/window_7.py:demo --workdir=runs/window_7

Paper: NME_box 2.07 on 300W test.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.codec.window = 7
  return config.lock()
