"""w300_best.py with one thing changed: statistics of BatchNorm that are never frozen.

  python -m fal_jax.main --config=configs/ablations/recipe_frozen.py:demo \\
    --workdir=runs/recipe_frozen
"""

from ml_collections import ConfigDict

from configs.ablations import recipe_whole


def get_config(base: str = "demo") -> ConfigDict:
  config = recipe_whole.get_config(base).unlock()
  config.train.frozen = 0.0
  return config.lock()
