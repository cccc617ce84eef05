"""w300_best.py with one thing changed: the sum of Eq. 6 instead of the mean of the views.

  python -m fal_jax.main --config=configs/ablations/recipe_sum.py:demo \\
    --workdir=runs/recipe_sum
"""

from ml_collections import ConfigDict

from configs.ablations import recipe_whole


def get_config(base: str = "demo") -> ConfigDict:
  config = recipe_whole.get_config(base).unlock()
  config.siamese.reduce = "sum"
  return config.lock()
