"""w300_best.py with one thing changed: BatchNorm's epsilon 1e-5 instead of 1e-3.

  python -m fal_jax.main --config=configs/ablations/recipe_epsilon.py:demo \\
    --workdir=runs/recipe_epsilon
"""

from ml_collections import ConfigDict

from configs.ablations import recipe_whole


def get_config(base: str = "demo") -> ConfigDict:
  config = recipe_whole.get_config(base).unlock()
  config.model.epsilon = 1e-5
  return config.lock()
