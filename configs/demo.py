"""The whole method in minutes on two CPU cores: synthetic faces, input 64, one stack, 64 features.

  python -m tfds_builders.prepare synthetic_faces --data_dir=data
  python -m fal_jax.main --config=configs/demo.py --config.data.dir=data --workdir=runs/demo

This is what ./launch/demo.sh runs.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config().unlock()
  config.data.name = "synthetic_faces/68"
  config.data.cache = "host"
  config.crop.size = 64
  config.crop.stored_size = 104
  config.crop.face = 55.0
  config.model.num_stacks = 1
  config.model.features = 64
  config.model.depth = 2
  config.model.momentum = 0.99  # a batch of 16 is too noisy for 0.9
  config.train.batch_size = 16
  config.train.epochs = 12.0
  # At 2e-3 one seed in three regressed and lost half a percent.
  config.optimizer.learning_rate = 1.5e-3
  config.optimizer.drop_epochs = (6.5, 8.5, 10.5, 11.5)
  config.optimizer.drop_factor = 0.4
  config.eval.every_epochs = 6.0
  config.log.every_steps = 125
  return config.lock()
