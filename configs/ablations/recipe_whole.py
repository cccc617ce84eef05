"""What configs/w300_best.py changes in the paper's recipe, on any base.

  python -m fal_jax.main --config=configs/ablations/recipe_whole.py:demo --workdir=runs/recipe_whole

Apart from the learning rate, the number of epochs and BatchNorm's momentum, which are the base's.
The shipped networks were trained alike.
"""

from ml_collections import ConfigDict

from configs import w300_best
from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  best = w300_best.get_config()
  config.codec.decode = best.codec.decode
  config.model.epsilon = best.model.epsilon
  config.train.frozen = best.train.frozen
  config.optimizer.schedule = best.optimizer.schedule
  config.optimizer.warmup = best.optimizer.warmup
  config.siamese.reduce = best.siamese.reduce
  config.siamese.view_loss = best.siamese.view_loss
  config.augment.translation = best.augment.translation
  config.corruption.update(best.corruption)
  config.eval.stress = True  # which is what half of it is for
  return config.lock()
