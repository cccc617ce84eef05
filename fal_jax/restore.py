"""The weights and the config that a run has saved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from fal_jax import build, config_json, parallel, steps
from fal_jax.build import Setup
from fal_jax.checkpoint import Checkpoints
from fal_jax.errors import InputError
from fal_jax.output.folders import locate
from fal_jax.weights import named, pretrained

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
  checkpoints = Checkpoints(workdir, create=False)
  try:
    restored = checkpoints.restore_latest(abstract_state(setup))
  finally:
    checkpoints.close()
  if restored is None:
    raise InputError(
      f"There is no checkpoint in {workdir}: train first, or give the --workdir of a run."
    )
  state, _, step = restored
  return state.variables, step


def each_variables(setup: Setup, workdir: str | Path) -> Iterator[tuple[int, Any]]:
  """Every intact checkpoint of a run that is still on disk, on this process's devices.

  Args:
    setup: describes the network that was trained.
    workdir: the run's folder.

  Yields:
    The step and its `params` and `batch_stats`, the oldest first.

  Raises:
    InputError: there is no run, or one of a different network.
  """
  checkpoints = Checkpoints(workdir, create=False)
  try:
    for step, state in checkpoints.restore_each(abstract_state(setup)):
      yield step, state.variables
  finally:
    checkpoints.close()


def pretrained_variables(setup: Setup, model: pretrained.Pretrained, workdir: str | Path) -> Any:
  """The weights of a network that is not a run's; prints what their user must be told.

  Args:
    setup: what the config describes.
    model: the network.
    workdir: where results of it will go.

  Returns:
    Its `params` and `batch_stats`.

  Raises:
    InputError: the config describes another network, or the folder belongs to a run.
  """
  if (locate(workdir) / "checkpoints").exists():
    raise InputError(
      f"{workdir} holds a run, whose results those of {model.name} would replace: give another "
      "--workdir, or leave it out."
    )
  there, here = (
    {path: leaf.shape for path, leaf in flatten_dict(tree).items()}
    for tree in (model.variables, _state_shapes(setup).variables)
  )
  if there != here:
    path = next(path for path in {**here, **there} if here.get(path) != there.get(path))
    raise InputError(
      f"The config describes another network than {model.name}: {'/'.join(path)} is "
      f"{here.get(path)} there and {there.get(path)} in {model.name}; leave --config out, or set "
      "config.model, config.head and config.data.markup as the model card has them."
    )
  if model.notice and jax.process_index() == 0:
    print(model.notice, flush=True)
  return model.variables


def first_state(config: ConfigDict, recipe: steps.Recipe) -> steps.TrainState:
  """The state in which a run starts, on all devices.

  Args:
    config: of the new run.
    recipe: its recipe.

  Returns:
    Step 0, with the weights that `config.init_from` names, or fresh ones.

  Raises:
    InputError: as in `starting_variables`.
  """
  # The rbg generator: XLA takes minutes to compile threefry for hundreds of arrays on some CPU
  # releases.
  key = jax.random.key(config.seed, impl="rbg")
  state = parallel.replicate(jax.jit(lambda: steps.init_state(key, recipe))())
  if not config.init_from:
    return state
  variables = starting_variables(config, state.variables)
  return parallel.replicate(steps.first_state(variables, recipe))


def starting_variables(config: ConfigDict, fresh: Any) -> Any:
  """The weights that `config.init_from` names, for a run of this config; says what they are.

  Where the number of landmarks is another, the layers that depend on it stay fresh.

  Args:
    config: config of the new run.
    fresh: its `params` and `batch_stats`, not yet trained.

  Returns:
    The same tree, with the other network's values.

  Raises:
    InputError: there are no such weights, or they are of another network.
  """
  name = config.init_from
  model = named.find(name)
  if model is not None:
    origin, variables, notices = model.config, model.variables, [model.notice]
  else:
    origin = saved_config(name)
    variables, _ = restore_variables(build.setup(origin), name)
    notices = []

  known = flatten_dict(variables)
  counts = {"there_count": origin.data.markup, "here_count": config.data.markup}
  taken, kept, misfits = {}, [], []
  for path, array in flatten_dict(fresh).items():
    value = known.get(path)
    if value is not None and value.shape == array.shape:
      taken[path] = value
    elif value is not None and _counts_landmarks(value.shape, array.shape, **counts):
      taken[path] = array
      kept.append("/".join(path))
    else:
      shape = None if value is None else value.shape
      misfits.append(f"{'/'.join(path)} is {array.shape} here and {shape} there")
  if misfits:
    raise InputError(
      f"config.init_from={name} is another network: {misfits[0]} ({len(misfits)} arrays in all); "
      "set config.model as it was trained."
    )

  notices += [
    f"Note: starting from {name}: {difference}"
    for difference in evaluation_differences(origin, config)
  ]
  fresh_layers = f"; fresh, for {config.data.markup} landmarks: {', '.join(kept)}" if kept else ""
  notices.append(f"Starting from the weights of {name}{fresh_layers}")
  if jax.process_index() == 0:
    print("\n".join(filter(None, notices)), flush=True)
  return unflatten_dict(taken)


def _counts_landmarks(
  there: tuple[int, ...], here: tuple[int, ...], *, there_count: int, here_count: int
) -> bool:
  """Whether two shapes differ just as the numbers of landmarks do."""
  return len(there) == len(here) and all(
    a == b or a * here_count == b * there_count for a, b in zip(there, here, strict=True)
  )


def abstract_state(setup: Setup) -> Any:
  """The state of a run as checkpoints restore it: on all devices.

  Returns:
    `steps.TrainState` of `jax.ShapeDtypeStruct`.
  """
  sharding = parallel.replicated_sharding()
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
    _state_shapes(setup),
  )


def _state_shapes(setup: Setup) -> steps.TrainState:
  """Shapes and types of a run's state."""
  recipe = setup.recipe(steps_per_epoch=1)
  return jax.eval_shape(lambda: steps.init_state(jax.random.key(0), recipe))


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
