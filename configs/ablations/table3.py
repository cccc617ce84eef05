"""Table 3: the window of the local soft-argmax.

One training per seed, read in different ways, and one through the window (end of Sec. 4.3).

  python -m fal_jax.ablation --table=configs/ablations/table3.py:demo --seeds=3 \\
    --workdir=runs/ablation

Trained with two views: the paper's 2.04 at 5 x 5 is its figure for the whole method on
that test set. "None" cannot be the whole map, which has a row of its own in Table 1
(3.19). Sec. 3.3 offers the local soft-argmax in place of argmax and a quarter pixel, so
that is what is left without it; the highest cell alone is the other reading, and stands
below. "300W test" are the 600 private faces, see table1.py: base :w300_private.
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "Table 3: window of the local soft-argmax"
  table.base = base
  table.metric = "nme_box"
  table.also = ()  # further columns
  table.paper = "300W test"  # what the paper's numbers were measured on
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("window_none", "none: argmax and a quarter pixel", 2.21),
    ("window_3", "3 x 3", 2.06),
    ("siamese", "5 x 5", 2.04),
    ("window_7", "7 x 7", 2.07),
    ("window_loss", "5 x 5, trained through it as well", None),
    ("window_none_argmax", "none: argmax", None),
    ("calibrated", "5 x 5, calibrated decoder (ours)", None),
  )
  return table.lock()
