"""COFW-68, for testing only: 68 landmarks of 507 occluded faces, NME by the face box.

  python -m tfds_builders.prepare cofw68 --manual_dir=FOLDER
  python -m fal_jax.main --config=configs/cofw68.py --workdir=runs/w300lp --mode=eval

FOLDER holds COFW_color.zip and cofw68-benchmark/. The run is that of
configs/w300_private.py, a network trained on 300W-LP: train it first. Repeat here what
changed the network there (--config.model...). The results are in
runs/w300lp/eval/cofw68/test.json.

Expected (the paper's entry on Papers with Code): NME_box 2.47, AUC_box_7 64.9. Ours: not
run, it requires an accelerator and the data. Crops follow the landmarks as in training;
--config.data.box=dataset takes the benchmark's detector boxes.
"""

from ml_collections import ConfigDict

from configs import w300_private


def get_config() -> ConfigDict:
  config = w300_private.get_config().unlock()  # of the run: its network, crops and training data
  config.eval.name = "cofw68"
  config.eval.splits = ("test",)
  return config.lock()
