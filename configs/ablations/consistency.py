"""What Siamese training (Sec. 3.4) does to the agreement of views, and what more views do alone.

  python -m fal_jax.ablation --table=configs/ablations/consistency.py:demo --seeds=3 \\
    --workdir=runs/ablation

Beside the error: how far the landmarks of a face in 20 random views lie from their mean, the error
of that mean, which all views share, and how far landmarks lie from their mean in 16 crops that are
shifted by fractions of a heatmap cell (fal_jax/consistency).
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "Consistency of views"
  table.base = base
  table.metric = "nme_ic"
  table.also = ("agreement", "shared_error", "shift_spread")
  table.paper = ""  # nothing to compare with
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("encoding_decoding", "one view", None),
    ("pulled_back_single", "one view, pulled back", None),
    ("views_apart", "two views, each by itself", None),
    ("siamese", "sum of two views (Eq. 6)", None),
    ("siamese_view_loss", "sum of two views, and each by itself", None),
    ("siamese_mean", "mean of two views", None),
    ("views_3", "sum of three views", None),
  )
  return table.lock()
