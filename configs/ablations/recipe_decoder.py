"""w300_best.py with one thing changed: the paper's local soft-argmax reads the heatmaps.

  python -m fal_jax.main --config=configs/ablations/recipe_decoder.py:demo \\
    --workdir=runs/recipe_decoder
"""

from ml_collections import ConfigDict

from configs.ablations import recipe_whole


def get_config(base: str = "demo") -> ConfigDict:
  config = recipe_whole.get_config(base).unlock()
  config.codec.decode = "local_softargmax"
  return config.lock()
