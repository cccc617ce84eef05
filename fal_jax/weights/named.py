"""The networks that have a name: those that come with the package, and the user's own exports.

An export has the name of its folder in `models` of the home of fal_jax (FAL_JAX_HOME). Names of the
package's own networks cannot be taken.
"""

import os
from pathlib import Path

from fal_jax.errors import InputError
from fal_jax.output import folders
from fal_jax.weights import exported, pretrained
from fal_jax.weights.pretrained import Pretrained


def folder() -> Path:
  """Where exports are found by their names: not created here."""
  return folders.home() / "models"


def models() -> dict[str, str]:
  """All networks that have a name.

  Returns:
    Name -> one line about it; of an export that cannot be used, why.
  """
  lines = {}
  for name, directory in _exports().items():
    try:
      lines[name] = exported.read(directory)["summary"]
    except InputError as error:
      lines[name] = f"cannot be used: {error}"
  return {**pretrained.models(), **lines}


def find(weights: str) -> Pretrained | None:
  """Reads the network that --weights names.

  Args:
    weights: one of `models`, the folder of an export, or something else.

  Returns:
    Its weights, config and card; None of something else, such as the folder of a run.

  Raises:
    InputError: its files are damaged.
  """
  own = _exports()
  if weights in own:
    return exported.load(own[weights])
  if weights in pretrained.models():
    return pretrained.load(weights)
  return exported.load(weights) if weights and exported.is_export(weights) else None


def load(weights: str) -> Pretrained:
  """`find`, where nothing else is expected.

  Args:
    weights: one of `models`, or the folder of an export.

  Returns:
    Its weights, config and card.

  Raises:
    InputError: there is no such network, or its files are damaged.
  """
  model = find(weights)
  if model is None:
    raise InputError(
      f"No network is called {weights!r}: choose one of {', '.join(models())}, or give the folder "
      "of an export or the --workdir of a run."
    )
  return model


def run_folder(weights: str) -> Path:
  """The run that --weights names, where `find` has found no other network.

  Args:
    weights: the --workdir of a run, or the folder `checkpoints` in it.

  Returns:
    The run's folder.

  Raises:
    InputError: there is no such folder.
  """
  workdir = folders.locate(weights, flag="--weights")
  if not folders.exists(workdir):
    raise InputError(
      f"{weights} is neither a network that has a name ({', '.join(models())}) nor a folder: train "
      "first, or give the folder of an export or the --workdir of a run."
    )
  return workdir.parent if workdir.name == "checkpoints" else workdir


def _exports() -> dict[str, Path]:
  """Folders of exports by their names; none of a name that the package's own networks have."""
  try:
    entries = [entry for entry in os.scandir(folder()) if exported.is_export(entry.path)]
  except OSError:
    return {}  # there is no such folder, or it cannot be read: nothing was put there
  # Those with a dot are being written.
  names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
  return {name: folder() / name for name in names if name not in pretrained.models()}
