"""Not in the paper: what its Eq. 6 may mean.

  python -m fal_jax.ablation --table=configs/ablations/eq6.py:demo --seeds=3 --workdir=runs/ablation

The views' heatmaps are averaged, added, or added and compared with twice the target; or there
is one view, pulled back alike.
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "Readings of Eq. 6"
  table.base = base
  table.metric = "nme_ic"
  table.paper = ""  # nothing to compare with
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("siamese", "mean of the views", None),
    ("siamese_sum", "sum", None),
    ("siamese_sum_scaled", "sum, target of height 2", None),
    ("pulled_back_single", "one view, pulled back", None),
  )
  return table.lock()
