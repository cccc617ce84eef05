"""The config of a run as it was saved in its folder.

  python -m fal_jax.main --config=configs/saved.py:runs/my_faces --workdir=runs/my_faces \\
    --mode=eval

It resumes or evaluates the run without the files that its config was made from.
"""

import json
from pathlib import Path

from ml_collections import ConfigDict

from configs import default
from fal_jax import config_json
from fal_jax.errors import InputError


def get_config(workdir: str = "") -> ConfigDict:
  path = Path(workdir).expanduser() / "config.json"
  if not workdir:
    raise InputError(
      "No run is named: its folder goes after a colon, e.g. --config=configs/saved.py:runs/my_faces"
    )

  try:
    saved = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    reason = getattr(error, "strerror", None) or error
    raise InputError(
      f"{path} cannot be read ({reason}): after the colon goes the folder of a run"
    ) from error

  config = default.get_config()  # its types, of placeholders too
  config.update(config_json.complete(saved))
  return config
