"""The global soft-argmax with a Gaussian prior on its map (Sec. 4.1).

  python -m fal_jax.main --config=configs/ablations/global_softargmax_prior.py:demo \\
    --workdir=runs/global_softargmax_prior

The paper found it "insufficient for achieving high accuracy" and gives no figure. Which
prior is not stated: here it is the Jensen-Shannon divergence of DSNT, with weight 1.
"""

from ml_collections import ConfigDict

from configs.ablations import global_softargmax


def get_config(base: str = "demo") -> ConfigDict:
  config = global_softargmax.get_config(base).unlock()
  config.head = "global_softargmax_prior"
  return config.lock()
