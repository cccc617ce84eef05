"""WFLW: 7,500 training and 2,500 test faces with 98 landmarks, NME by the outer eye corners.

  python -m tfds_builders.prepare wflw --manual_dir=FOLDER
  python -m fal_jax.main --config=configs/wflw.py --workdir=runs/wflw

FOLDER holds WFLW_images.tar.gz and WFLW_annotations.tar.gz.

Expected (Table 4a of the paper): NME_ic 3.72, AUC_ic_10 63.1, FR_ic_10 1.55. Ours: not
run, it requires an accelerator and the official images. Which box the paper cropped by is not
stated; in other work the authors' rectangles cost 0.14 of NME_ic over boxes around the
landmarks. --config.data.train_split=fit --config.eval.splits="('val',)" tunes without
touching the test set.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config().unlock()
  config.data.name = "wflw"
  config.data.markup = 98
  config.data.box = "dataset"  # the authors' rectangles
  return config.lock()
