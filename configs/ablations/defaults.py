"""What the paper leaves open and we decided: sum or mean of the views, and what colour means.

  python -m fal_jax.ablation --table=configs/ablations/defaults.py:demo --seeds=3 \\
    --workdir=runs/ablation

The first row is what the configs do by default.
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "Defaults that the paper does not state"
  table.base = base
  table.metric = "nme_ic"
  table.also = ()  # further columns
  table.paper = ""
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("siamese", "views summed; brightness, contrast, saturation", None),
    ("siamese_mean", "views averaged", None),
    ("channel_gain", "colour as a gain of each channel", None),
  )
  return table.lock()
