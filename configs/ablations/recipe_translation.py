"""w300_best.py with one thing changed: views that are not shifted.

  python -m fal_jax.main --config=configs/ablations/recipe_translation.py:demo \\
    --workdir=runs/recipe_translation
"""

from ml_collections import ConfigDict

from configs.ablations import recipe_whole


def get_config(base: str = "demo") -> ConfigDict:
  config = recipe_whole.get_config(base).unlock()
  config.augment.translation = 0.0
  return config.lock()
