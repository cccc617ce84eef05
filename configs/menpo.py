"""Menpo semi-frontal, for testing only: 68 landmarks of 6,679 faces, NME by the face box.

  python -m tfds_builders.prepare menpo/frontal68 --manual_dir=FOLDER --allow_partial
  python -m fal_jax.main --config=configs/menpo.py --workdir=runs/w300lp --mode=eval

FOLDER holds trainset/ or Menpo2D/. The faces are the training faces of the Menpo challenge
of 2017, on which this test is made; its test part is not needed, hence --allow_partial.
The run is that of configs/w300_private.py, a network trained on 300W-LP: train it first.
Repeat here what changed the network there (--config.model...). The results are in
runs/w300lp/eval/menpo/frontal68/train.json.

Expected: the paper's results on Menpo are not available to us. Ours: not run, it takes an
accelerator and the data. The MenpoBenchmark release has 6,653 of these faces: name the
release beside the result if it is yours.
"""

from ml_collections import ConfigDict

from configs import w300_private


def get_config() -> ConfigDict:
  config = w300_private.get_config().unlock()  # of the run: its network, crops and training data
  config.eval.name = "menpo/frontal68"
  config.eval.splits = ("train",)
  return config.lock()
