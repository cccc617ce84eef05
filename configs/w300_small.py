"""The whole method on real 300W faces, scaled for two CPU cores: input 64, one stack, 64 features.

  python -m tfds_builders.prepare w300 --manual_dir=<folder with afw/ helen/ lfpw/> --allow_partial
  python -m fal_jax.main --config=configs/w300_small.py --workdir=runs/w300_small
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config().unlock()
  config.data.name = "w300"
  config.data.train_split = "fit"
  config.data.cache = "host"
  config.crop.size = 64
  config.crop.stored_size = 104
  config.crop.face = 55.0
  config.model.num_stacks = 1
  config.model.features = 64
  config.model.depth = 2
  config.model.momentum = 0.99  # a batch of 16 is too noisy for 0.9
  config.train.batch_size = 16
  config.train.epochs = 40.0
  config.optimizer.learning_rate = 2e-3
  config.optimizer.drop_epochs = (24, 32, 37)
  config.optimizer.drop_factor = 0.3
  config.eval.splits = ("val",)
  config.eval.every_epochs = 2.0
  return config.lock()
