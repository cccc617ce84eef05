"""w300_best.py with one thing changed: the learning rate drops at epochs, without a warm-up, as in
the paper.

  python -m fal_jax.main --config=configs/ablations/recipe_schedule.py:demo \\
    --workdir=runs/recipe_schedule
"""

from ml_collections import ConfigDict

from configs.ablations import recipe_whole


def get_config(base: str = "demo") -> ConfigDict:
  config = recipe_whole.get_config(base).unlock()
  config.optimizer.schedule = "drops"
  config.optimizer.warmup = 0.0
  return config.lock()
