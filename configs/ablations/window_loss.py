"""The method, trained through its local window as well (end of Sec. 4.3).

  python -m fal_jax.main --config=configs/ablations/window_loss.py:demo \\
    --workdir=runs/window_loss

The squared distance at which the local soft-argmax reads each view is added to the loss of
Eq. 6, with weight 1. The paper found that it "doesn't improve the performance further" and
gives no figure.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.siamese.window_loss = 1.0
  return config.lock()
