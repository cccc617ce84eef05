"""`w300_small.py` with the network for CPUs and phones, MobileUNet.

  python -m tfds_builders.prepare w300 --manual_dir=FOLDER --allow_partial
  python -m fal_jax.main --config=configs/w300_mobile.py --workdir=runs/w300_mobile

ablations/README.md has its error and its cost beside FAN's, trained for 15 epochs: 6.13, one seed.
"""

from ml_collections import ConfigDict

from configs import w300_small


def get_config() -> ConfigDict:
  config = w300_small.get_config().unlock()
  config.model.name = "mobile_unet"
  config.model.features = 24
  config.model.depth = 3
  return config.lock()
