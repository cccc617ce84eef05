"""Heatmap regression as in FAN [5], one view.

  python -m fal_jax.main --config=configs/ablations/baseline.py:demo --workdir=runs/baseline

Gaussians on the nearest cell, read by argmax and a quarter pixel. They are compared in the
frame of the view, as FAN does: nothing is pulled back before Sec. 3.4. Paper: NME_ic 4.20
on WFLW (Table 2), NME_box 2.32 on 300W test (Table 1).
"""

from ml_collections import ConfigDict

from configs.ablations import base_config


def get_config(base: str = "demo") -> ConfigDict:
  config = base_config(base)
  config.head = "heatmaps"
  config.codec.encode = "rounded"
  config.codec.decode = "quarter_offset"
  config.siamese.num_views = 1
  config.siamese.frame = "view"
  return config.lock()
