"""Rows of a table whose trainings take three steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tiny_dataset
from ml_collections import ConfigDict

from fal_jax.ablation.run import Row

# Three steps.
FAST = {"train__epochs": 2.0, "checkpoint__every_steps": 2, "eval__every_epochs": 100.0}
TABLE = ConfigDict(
  {"title": "T", "base": "tiny", "metric": "nme_ic", "paper": "", "against": "previous", "rows": ()}
)
ROWS = {"rounded": {"codec__encode": "rounded"}, "plain": {}, "wide": {"codec__window": 7}}


def rows_of(
  folder: Path, changes: Mapping[str, Mapping[str, Any]] = ROWS, **common: Any
) -> list[Row]:
  """Rows with these changes of the config, name -> changes, beside those common to all."""
  return [
    Row(name, name.upper(), None, tiny_dataset.config(folder, **{**FAST, **common, **change}))
    for name, change in changes.items()
  ]
