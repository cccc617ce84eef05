"""WFLW: 7,500 training and 2,500 test faces with 98 landmarks, NME by the outer eye corners.

  python -m fal_jax.main --config=configs/wflw.py --workdir=runs/wflw

Expected (Table 4a of the paper): NME_ic 3.72, AUC_ic_10 63.1, FR_ic_10 1.55. Ours: not run; the dataset's builder is not part of
this release yet, so the command ends by asking for the prepared dataset.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config().unlock()
  config.data.name = "wflw"
  config.data.markup = 98
  config.data.box = "dataset"  # the authors' rectangles
  return config.lock()
