"""w300_best.py with one thing changed: light, sharpness, noise and background are left alone.

  python -m fal_jax.main --config=configs/ablations/recipe_corruption.py:demo \\
    --workdir=runs/recipe_corruption
"""

from ml_collections import ConfigDict

from configs import default
from configs.ablations import recipe_whole


def get_config(base: str = "demo") -> ConfigDict:
  config = recipe_whole.get_config(base).unlock()
  config.corruption.update(default.get_config().corruption)
  return config.lock()
