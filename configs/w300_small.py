"""The whole method on real 300W faces, scaled for two CPU cores: input 64, one stack, 64 features.

  python -m tfds_builders.prepare w300 --manual_dir=FOLDER --allow_partial
  python -m fal_jax.main --config=configs/w300_small.py --workdir=runs/w300_small

FOLDER holds afw/, helen/ and lfpw/, or some of them.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config().unlock()  # its network, crops and batches
  config.data.name = "w300"
  config.data.train_split = "fit"
  config.train.epochs = 40.0
  config.optimizer.learning_rate = 2e-3
  config.optimizer.drop_epochs = (24, 32, 37)
  config.optimizer.drop_factor = 0.3
  config.eval.splits = ("val",)
  config.eval.every_epochs = 2.0
  config.log.every_steps = 20
  return config.lock()
