"""Siamese training with a loss of each view by itself beside that of Eq. 6.

  python -m fal_jax.main --config=configs/ablations/siamese_view_loss.py:demo \\
    --workdir=runs/siamese_view_loss

Not in the paper. A sum of views may be right where its views are not; with their own loss each
must be.
"""

from ml_collections import ConfigDict

from configs.ablations import siamese


def get_config(base: str = "demo") -> ConfigDict:
  config = siamese.get_config(base).unlock()
  config.siamese.view_loss = 1.0
  return config.lock()
