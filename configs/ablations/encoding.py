"""The baseline taught continuous heatmaps (Sec. 3.2), read as before: the "w/o 3.3" of Table 2.

  python -m fal_jax.main --config=configs/ablations/encoding.py:demo --workdir=runs/encoding

Heatmaps are compared in the frame of the view. Paper: NME_ic 4.00 on WFLW.
"""

from ml_collections import ConfigDict

from configs.ablations import baseline


def get_config(base: str = "demo") -> ConfigDict:
  config = baseline.get_config(base).unlock()
  config.codec.encode = "continuous"
  return config.lock()
