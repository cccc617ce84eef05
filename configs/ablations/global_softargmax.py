"""Trained through a soft-argmax over the whole map, on coordinates alone, one view (Sec. 4.1).

  python -m fal_jax.main --config=configs/ablations/global_softargmax.py:demo \\
    --workdir=runs/global_softargmax

After [29]. Paper: NME_box 3.19 on 300W test. The temperature is not stated. The last layer
is linear and learns through it, so it only sets the scale of the output: at 10, a peak of
about 1, the height that the other rows are taught, stands out from 64 x 64 cells.
"""

from ml_collections import ConfigDict

from configs.ablations import encoding


def get_config(base: str = "demo") -> ConfigDict:
  config = encoding.get_config(base).unlock()
  config.head = "global_softargmax"
  config.codec.decode = "global_softargmax"
  config.codec.temperature = 10.0
  return config.lock()
