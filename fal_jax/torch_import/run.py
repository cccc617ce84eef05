"""--mode=import_torch: a run that starts from published weights."""

import hashlib
from pathlib import Path

import jax
from ml_collections import ConfigDict

from fal_jax import build, config_json, parallel, steps
from fal_jax.checkpoint import Checkpoints
from fal_jax.errors import InputError
from fal_jax.output.folders import locate
from fal_jax.torch_import.state_dict import (
  from_torch_state_dict,
  network_of,
  read_state_dict,
  size_of,
)


def run(config: ConfigDict, workdir: str | Path, weights: str | Path) -> str:
  """--mode=import_torch: makes a checkpoint at step 0, to evaluate, predict and train with.

  Stacks, features and depth come from the file, everything else from the config.

  Args:
    config: config of the new run; its mark-up must have the file's number of landmarks.
    workdir: folder of the new run.
    weights: PyTorch file, see `read_state_dict`.

  Returns:
    A sentence that says what was imported, and how to change the config to match.

  Raises:
    InputError: the config has another network, the workdir holds checkpoints, or the weights are
      unreadable or do not match the config.
  """
  if config.model.name != "fan":
    raise InputError(
      f"{weights} should hold weights of a FAN, and config.model.name is {config.model.name!r}: "
      "set --config.model.name=fan."
    )
  folder = locate(workdir) / "checkpoints"
  if folder.is_dir() and any(folder.iterdir()):
    raise InputError(
      f"{workdir} holds checkpoints already, and they are not overwritten: name a new --workdir."
    )

  arrays = read_state_dict(weights)
  try:
    network = network_of(arrays)
    variables = from_torch_state_dict(arrays)
  except InputError as error:
    raise InputError(f"{weights}: {error}") from error
  if network.num_landmarks != config.data.markup:
    raise InputError(
      f"{weights} predicts {network.num_landmarks} landmarks "
      f"and config.data.markup is {config.data.markup}: use a config with that many landmarks."
    )
  if config.head.startswith("correction"):
    raise InputError(
      f"{weights} predicts heatmaps only and config.head is {config.head!r}: "
      "set --config.head=heatmaps."
    )

  sizes = {name: getattr(network, name) for name in ("num_stacks", "features", "depth")}
  changes = [
    f"--config.model.{name}={size}" for name, size in sizes.items() if config.model[name] != size
  ]
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.model.update(sizes)
  setup = build.setup(config, device_count=jax.device_count())

  state = steps.first_state(variables, setup.recipe(steps_per_epoch=1))
  origin = {
    "file": Path(weights).name,
    "sha256": hashlib.sha256(Path(weights).expanduser().read_bytes()).hexdigest(),
  }
  extra = {"config": config_json.to_json(config), "train_images": None, "weights": origin}
  with Checkpoints(workdir) as checkpoints:
    checkpoints.save(0, parallel.replicate(state), extra)

  kind = f"FAN, {size_of(network)}, {config.model.pool} pooling"
  summary = f"Imported {weights} into {workdir}: {kind}."
  if changes:
    summary += f" For --mode=eval and train add {' '.join(changes)} to this config."
  return summary
