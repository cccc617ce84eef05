"""Table 1: losses, all with one view.

  python -m fal_jax.ablation --table=configs/ablations/table1.py:demo --seeds=3 \\
    --workdir=runs/ablation

The paper's last row, 2.04, is also its figure for the whole method on that test set, and
2.32 the one published with FAN, so its table may compare more than losses. Here all rows
have one view, train in its frame and differ in nothing else. The second is the first read without
its quarter pixel: learned displacements are added to cells and can only be compared with that. The
third is the first under the decoder of the last.

"300W test" are the 600 private faces of 300W by all that we know (NME_box 2.04 is the
paper's entry on leader-boards for them): the base to compare on is :w300_private.
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "Table 1: losses"
  table.base = base
  table.metric = "nme_box"
  table.also = ()  # further columns
  table.paper = "300W test"  # what the paper's numbers were measured on
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("baseline", "l2 heatmap regression", 2.32),
    ("baseline_argmax", "the same, highest cell alone", None),
    ("baseline_local", "the same, local soft-argmax", None),
    ("correction_static", "coordinate correction, static", 2.27),
    ("correction_dynamic", "coordinate correction, dynamic", 2.30),
    ("global_softargmax", "global soft-argmax", 3.19),
    ("global_softargmax_prior", "global soft-argmax, Gaussian prior", None),
    ("encoding_decoding", "continuous heatmaps, local soft-argmax", 2.04),
  )
  return table.lock()
