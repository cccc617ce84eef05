"""300W's private test set: trained on the views of 300W-LP, NME and AUC by the box.

  python -m tfds_builders.prepare w300lp --manual_dir=VIEWS
  python -m tfds_builders.prepare w300 --manual_dir=PHOTOGRAPHS --allow_partial
  python -m fal_jax.main --config=configs/w300_private.py --workdir=runs/w300lp

VIEWS holds 300W_LP.zip or 300W_LP/, PHOTOGRAPHS the 600 test images in 300W/01_Indoor and
300W/02_Outdoor.

Expected (the paper's entry on leader-boards, "300W Split 2 (300W-LP)"): NME_box 2.04,
AUC_box_7 71.1. The text that we have does not say whether the paper trained on 300W-LP
alone, as here, or continued with the 3,837 public photographs of 300W as LUVLi did. Ours:
not run, it requires an accelerator, the archive and the private test images.

The same run is what configs/cofw68.py, menpo.py and w300vw.py test on other datasets.
Never report its results on 300W's common, challenge or full test: 300W-LP holds views of
those very photographs.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config().unlock()
  config.data.name = "w300lp/no_flips"
  config.eval.name = "w300"
  config.eval.splits = ("test_private",)
  config.eval.norm = "box"
  return config.lock()
