"""The whole method with the other reading of the paper's colour: a gain of each channel, clipped.

  python -m fal_jax.main --config=configs/ablations/channel_gain.py:demo --workdir=runs/channel_gain

Sec. 5.1 says "color (0.6, 1.4)" and not of what. The code that the paper builds on multiplies red,
green and blue by factors of their own; `siamese` changes brightness, contrast and saturation.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.augment.colour_mode = "channel_gain"
  return config.lock()
