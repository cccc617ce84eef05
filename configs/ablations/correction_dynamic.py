"""As correction_static.py, but taught what the predicted highest cell lacks to the truth, as it is
during training.

  python -m fal_jax.main --config=configs/ablations/correction_dynamic.py:demo \\
    --workdir=runs/correction_dynamic

Paper: NME_box 2.30 on 300W test.
"""

from ml_collections import ConfigDict

from configs.ablations import correction_static


def get_config(base: str = "demo") -> ConfigDict:
  config = correction_static.get_config(base).unlock()
  config.head = "correction_dynamic"
  return config.lock()
