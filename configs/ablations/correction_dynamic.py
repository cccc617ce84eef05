"""As correction_static.py, but taught the offset from the predicted highest cell to the truth.

  python -m fal_jax.main --config=configs/ablations/correction_dynamic.py:demo \\
    --workdir=runs/correction_dynamic

The cell is the one predicted at that moment of training, in the frame of the view, where the
heatmaps are compared too. Paper: NME_box 2.30 on 300W test.
"""

from ml_collections import ConfigDict

from configs.ablations import correction_static


def get_config(base: str = "demo") -> ConfigDict:
  config = correction_static.get_config(base).unlock()
  config.head = "correction_dynamic"
  return config.lock()
