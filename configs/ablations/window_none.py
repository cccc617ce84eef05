"""The training of siamese.py read without a window: argmax and a quarter pixel.

  python -m fal_jax.main --config=configs/ablations/window_none.py:demo --workdir=runs/window_none

That is the decoder which Sec. 3.3 replaces. Paper: NME_box 2.21 on 300W test; which
decoder it has without a window is not stated (see table3.py).
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.codec.decode = "quarter_offset"
  return config.lock()
