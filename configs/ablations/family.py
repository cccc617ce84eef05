"""A family of networks: the whole method on FANs and MobileUNets of several sizes.

  python -m fal_jax.ablation --table=configs/ablations/family.py:demo --seeds=3 \\
    --workdir=runs/ablation
  python -m launch.costs --results=runs/ablation/family.json

The first command trains them; the second sets their errors against CPU time, parameters and sizes.
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "A family of networks"
  table.base = base
  table.metric = "nme_ic"
  table.also = ()  # further columns
  table.paper = ""  # nothing to compare with
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("siamese", "FAN, 64 features", None),
    ("fan_96px", "FAN, 64 features, 96 px", None),
    ("fan_2stacks", "FAN, 64 features, 2 stacks", None),
    ("fan_48", "FAN, 48 features", None),
    ("fan_32", "FAN, 32 features", None),
    ("mobile_48", "MobileUNet, 48 features", None),
    ("mobile_24", "MobileUNet, 24 features", None),
    ("mobile_16", "MobileUNet, 16 features", None),
  )
  return table.lock()
