"""w300_best.py with one thing changed: no loss of each view by itself.

  python -m fal_jax.main --config=configs/ablations/recipe_view_loss.py:demo \\
    --workdir=runs/recipe_view_loss
"""

from ml_collections import ConfigDict

from configs.ablations import recipe_whole


def get_config(base: str = "demo") -> ConfigDict:
  config = recipe_whole.get_config(base).unlock()
  config.siamese.view_loss = 0.0
  return config.lock()
