"""Rows of the paper's Tables 1 to 3, and the tables that list them.

A row is a config like any other, on top of any dataset's config; what follows the colon
names the latter in configs/, demo if it is left out:

  python -m fal_jax.main --config=configs/ablations/encoding.py:w300_small --workdir=runs/encoding
"""

import importlib
from pathlib import Path

from ml_collections import ConfigDict

from fal_jax.errors import InputError


def base_config(name: str) -> ConfigDict:
  """The config that a row changes, unlocked.

  Args:
    name: of a file in configs/; `custom:my_faces/markup.yaml` passes on what follows the colon.

  Returns:
    The config.

  Raises:
    InputError: there is no such file.
  """
  name, *argument = name.split(":", maxsplit=1)
  names = sorted({path.stem for path in Path(__file__).parents[1].glob("*.py")} - {"__init__"})

  if name not in names:
    raise InputError(
      f"No dataset's config is called {name!r}: after the colon goes one of {', '.join(names)}"
    )
  return importlib.import_module(f"configs.{name}").get_config(*argument).unlock()
