"""The baseline with a learned displacement added to the highest cell (Sec. 4.1).

  python -m fal_jax.main --config=configs/ablations/correction_static.py:demo \\
    --workdir=runs/correction_static

It is taught what rounding takes away from the very heatmaps that the network is taught: both
are in the frame of the view. Paper: NME_box 2.27 on 300W test.
"""

from ml_collections import ConfigDict

from configs.ablations import baseline


def get_config(base: str = "demo") -> ConfigDict:
  config = baseline.get_config(base).unlock()
  config.head = "correction_static"
  config.codec.decode = "argmax"
  return config.lock()
