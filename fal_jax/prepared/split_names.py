"""Names of splits as TFDS writes them: `train`, a slice `train[:90%]`, a union `fit[:100]+val`.

Apart from `data.py`, so that reading a name does not import TFDS.
"""

import re


def parts(split: str) -> list[str]:
  """Parts of a union in its order, slices included; a split that is none is its only part."""
  return re.split(r"\s*\+\s*", split)


def bases(split: str) -> list[str]:
  """Names of the parts without their slices: "fit[:100]+val" has fit and val."""
  return [part.partition("[")[0] for part in parts(split)]
