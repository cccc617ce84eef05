"""The training of baseline.py read without the quarter pixel: the highest cell alone.

  python -m fal_jax.main --config=configs/ablations/baseline_argmax.py:demo \\
    --workdir=runs/baseline_argmax

What the learned displacements of Table 1 are added to, "the integer predictions" (Sec. 4.1).
"""

from ml_collections import ConfigDict

from configs.ablations import baseline


def get_config(base: str = "demo") -> ConfigDict:
  config = baseline.get_config(base).unlock()
  config.codec.decode = "argmax"
  return config.lock()
