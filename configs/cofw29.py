"""COFW-29: 1,345 training and 507 test faces with 29 landmarks, NME by the outer eye corners.

  python -m tfds_builders.prepare cofw29 --manual_dir=FOLDER
  python -m fal_jax.main --config=configs/cofw29.py --workdir=runs/cofw29

FOLDER holds COFW_color.zip. Occluded landmarks count like the others.

Expected (the paper's entry on Papers with Code): NME_ic 3.02; its failure rate is not
available to us. Ours: not run, it requires an accelerator and the data. The dataset's boxes
come from a detector and are rough in the training file, so crops follow the landmarks;
--config.data.box=dataset takes the boxes.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config().unlock()
  config.data.name = "cofw29"
  config.data.markup = 29
  return config.lock()
