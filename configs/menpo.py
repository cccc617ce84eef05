"""Menpo semi-frontal: how well a network trained on 300W-LP finds the 68 landmarks of the 6,679
training faces of the Menpo challenge of 2017, which this test is made on; NME by the face box.
Testing only.

  python -m tfds_builders.prepare menpo/frontal68 --manual_dir=<folder with trainset/ or \\
    Menpo2D/> --allow_partial
  python -m fal_jax.main --config=configs/menpo.py --workdir=runs/w300lp --mode=eval

--allow_partial: the challenge's test part is not needed. The run is that of
configs/w300_private.py: train it first. What changed the network there (--config.model...) is said
here again. The numbers are in runs/w300lp/eval/menpo/frontal68/train.json.

Expected: the paper's numbers on Menpo are not available to us. Ours: not run, it takes an
accelerator and the data. The MenpoBenchmark release has 6,653 of these faces: name it beside the
number if it is yours.
"""

from ml_collections import ConfigDict

from configs import w300_private


def get_config() -> ConfigDict:
  config = w300_private.get_config().unlock()  # of the run: its network, crops and training data
  config.eval.name = "menpo/frontal68"
  config.eval.splits = ("train",)
  return config.lock()
