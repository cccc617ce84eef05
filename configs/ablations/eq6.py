"""Not in the paper: what its Eq. 6 may mean.

  python -m fal_jax.ablation --table=configs/ablations/eq6.py:demo --seeds=3 --workdir=runs/ablation

The views' heatmaps are added and held against as many Gaussians as views saw the cell, or
averaged, or added and held against one Gaussian; or there is one view, pulled back alike.
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "Readings of Eq. 6"
  table.base = base
  table.metric = "nme_ic"
  table.also = ()  # further columns
  table.paper = ""  # nothing to compare with
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("siamese", "sum, a Gaussian per view", None),
    ("siamese_mean", "mean of the views", None),
    ("siamese_sum", "sum, one Gaussian", None),
    ("pulled_back_single", "one view, pulled back", None),
  )
  return table.lock()
