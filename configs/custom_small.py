"""A dataset of your own at laptop size, for two CPU cores: input 64, one stack, 64 features.

  python -m tfds_builders.prepare custom --manual_dir=my_faces --data_dir=data
  python -m fal_jax.main --config=configs/custom_small.py:my_faces/markup.yaml \\
    --config.data.dir=data --workdir=runs/my_faces

configs/custom.py says what follows the colon.
"""

from ml_collections import ConfigDict

from configs import custom, demo


def get_config(file: str = "") -> ConfigDict:
  config = custom.describe(demo.get_config(), file).unlock()  # its network, crops and batches
  config.train.epochs = 40.0
  config.optimizer.learning_rate = 2e-3
  config.optimizer.drop_epochs = (24, 32, 37)
  config.optimizer.drop_factor = 0.3
  config.log.every_steps = 20
  return config.lock()
