"""The training of siamese.py read without a window or a quarter pixel: the highest cell alone.

  python -m fal_jax.main --config=configs/ablations/window_none_argmax.py:demo \\
    --workdir=runs/window_none_argmax

This is the other reading of the paper's row "none" (see table3.py).
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.codec.decode = "argmax"
  return config.lock()
