"""300VW, for testing only: categories A, B and C, every frame, AUC by the box.

  python -m tfds_builders.prepare w300vw/every1 --manual_dir=FOLDER
  python -m fal_jax.main --config=configs/w300vw.py --workdir=runs/w300lp --mode=eval

FOLDER holds 300VW_Dataset_2015_12_14.zip or its content. The network is the one that
configs/w300_private.py trained. The results are in runs/w300lp/eval/w300vw/every1. A tenth
of the frames (prepare w300vw, --config.eval.name=w300vw/every10) gives a first look, not
the protocol.

Expected: the paper reports AUC_box_7 per category, its figures are not available to us.
For comparison, 2D-FAN on category C: AUC_box_7 64.1. FAN's authors trained another network
for 300VW, on its training videos too. Ours: not run.
"""

from ml_collections import ConfigDict

from configs import w300_private


def get_config() -> ConfigDict:
  config = w300_private.get_config().unlock()  # of the run: its network, crops and training data
  config.eval.name = "w300vw/every1"
  config.eval.splits = ("test_a", "test_b", "test_c")
  return config.lock()
