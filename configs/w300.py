"""300W, the paper's common / challenge / full protocol.

  python -m tfds_builders.prepare w300 --manual_dir=FOLDER
  python -m fal_jax.main --config=configs/w300.py --workdir=runs/w300

FOLDER holds afw/, helen/, ibug/ and lfpw/. 3,148 training images, NME by the outer eye
corners.

Expected (Table 4b of the paper): NME_ic 2.61 common, 4.13 challenge, 2.94 full. Ours: not
run, it requires an accelerator and the official test images. The same method at laptop size
is configs/w300_small.py.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config().unlock()
  config.data.name = "w300"
  config.eval.splits = ("test_full", "test_common", "test_challenge")
  return config.lock()
