"""Our own recipe, and what each part of it is worth: one thing is changed in every row.

  python -m fal_jax.ablation --table=configs/ablations/recipe.py:demo --seeds=3 \\
    --workdir=runs/ablation

Beside the error on tight boxes: on simulated boxes of a detector, and the mean over 18 harder
conditions (fal_jax/robustness), which is what much of the recipe is for.
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "The recipe of w300_best, one thing changed at a time"
  table.base = base
  table.metric = "nme_ic"
  table.also = ("detector_box", "stress", "catastrophic_stress")
  table.paper = ""  # nothing to compare with
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("recipe_whole", "the whole recipe", None),
    ("recipe_epsilon", "epsilon 1e-5", None),
    ("recipe_frozen", "statistics never frozen", None),
    ("recipe_schedule", "drops, no cosine", None),
    ("recipe_sum", "sum of views", None),
    ("recipe_view_loss", "no loss of each view", None),
    ("recipe_corruption", "no corruption", None),
    ("recipe_translation", "no translation", None),
    ("recipe_decoder", "local soft-argmax", None),
  )
  return table.lock()
