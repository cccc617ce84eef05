"""The training of baseline.py read by the local soft-argmax: decoding without encoding.

  python -m fal_jax.main --config=configs/ablations/baseline_local.py:demo \\
    --workdir=runs/baseline_local

With encoding.py and encoding_decoding.py it says what each of the paper's two halves of heatmap
regression (Sec. 3.2 and 3.3) is worth without and with the other.
"""

from ml_collections import ConfigDict

from configs.ablations import baseline


def get_config(base: str = "demo") -> ConfigDict:
  config = baseline.get_config(base).unlock()
  config.codec.decode = "local_softargmax"
  return config.lock()
