"""Table 2: the method, component by component.

  python -m fal_jax.ablation --table=configs/ablations/table2.py:demo --seeds=3 \\
    --workdir=runs/ablation

The last row is ours.
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "Table 2: components"
  table.base = base
  table.metric = "nme_ic"
  table.also = ()  # further columns
  table.paper = "WFLW"  # what the paper's numbers were measured on
  table.against = "previous"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("baseline", "baseline", 4.20),
    ("encoding", "+ continuous encoding", 4.00),
    ("encoding_decoding", "+ local soft-argmax", 3.90),
    ("siamese", "+ Siamese training", 3.72),
    ("calibrated", "+ calibrated decoder (ours)", None),
  )
  return table.lock()
