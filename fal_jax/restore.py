"""The weights and the config that a run has saved."""

from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fal_jax import config_json, parallel, steps
from fal_jax.build import Setup
from fal_jax.checkpoint import Checkpoints
from fal_jax.errors import InputError

# Keys of a config that decide what a network predicts and what that is compared with. Where the
# data lie, and everything about training, is not among them.
_EVALUATION = ("crop.", "codec.", "model.", "head", "data.box", "data.markup", "data.own_markup")


def saved_config(workdir: str | Path) -> ConfigDict:
  """The config saved with the newest readable checkpoint of a run.

  Raises:
    InputError: there is no run, or no readable checkpoint.
  """
  checkpoints = Checkpoints(workdir, create=False)
  try:
    saved = checkpoints.read_config()
  finally:
    checkpoints.close()
  if saved is None:
    raise InputError(
      f"There is no readable checkpoint in {workdir}: train first, or give the --workdir of a run."
    )
  return config_json.from_json(saved)


def restore_variables(setup: Setup, workdir: str | Path) -> tuple[Any, int]:
  """The newest intact checkpoint of a run, on this process's devices.

  Args:
    setup: describes the network that was trained.
    workdir: the run's folder.

  Returns:
    `params` and `batch_stats`, and the step they are from.

  Raises:
    InputError: there is no run, no readable checkpoint, or one of a different network.
  """
  recipe = setup.recipe(steps_per_epoch=1)
  shapes = jax.eval_shape(lambda: steps.init_state(jax.random.key(0), recipe))
  sharding = parallel.replicated_sharding()
  abstract_state = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
  )

  checkpoints = Checkpoints(workdir, create=False)
  try:
    restored = checkpoints.restore_latest(abstract_state)
  finally:
    checkpoints.close()
  if restored is None:
    raise InputError(
      f"There is no checkpoint in {workdir}: train first, or give the --workdir of a run."
    )
  state, _, step = restored
  return state.variables, step


def evaluation_differences(saved: ConfigDict, config: ConfigDict) -> list[str]:
  """Where a config predicts or measures differently from the one a run was trained under.

  Args:
    saved: the config of the run.
    config: the one that it is about to be evaluated under.

  Returns:
    A line per key: `codec.decode: trained with local_softargmax, now calibrated`; none if they
    agree.
  """
  changes = config_json.differences(saved.to_dict(), config.to_dict())
  return [
    f"{key}: trained with {old}, now {new}"
    for key, (old, new) in changes.items()
    if key.startswith(_EVALUATION)
  ]
