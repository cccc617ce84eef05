"""Continuous heatmaps read by the local soft-argmax (Sec. 3.3), one view.

  python -m fal_jax.main --config=configs/ablations/encoding_decoding.py:demo \\
    --workdir=runs/encoding_decoding

The same training as encoding.py, in the frame of the view. Paper: NME_ic 3.90 on WFLW
(Table 2), NME_box 2.04 on 300W test (Table 1; but see table1.py).
"""

from ml_collections import ConfigDict

from configs.ablations import encoding


def get_config(base: str = "demo") -> ConfigDict:
  config = encoding.get_config(base).unlock()
  config.codec.decode = "local_softargmax"
  config.codec.window = 5
  config.codec.temperature = 10.0
  return config.lock()
