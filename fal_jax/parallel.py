"""pmap, in one place: pure per-device functions in, functions of whole batches out."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jaxlib
import numpy as np

from fal_jax import steps
from fal_jax.errors import InputError
from fal_jax.heatmap import HeatmapCodec
from fal_jax.network import Network

# On these releases XLA's default CPU kernels for weight gradients are four times slower than the
# ones they replaced. The option is experimental: it is enabled only on releases we have tested.
_CPU_OPTION_RELEASES = ("0.10.2", "0.11.2")
_CPU_OPTIONS = {
  "xla_cpu_experimental_ynn_fusion_type": (
    "LIBRARY_FUSION_TYPE_REDUCE,LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
  )
}

# Fraction of a device's free memory that images may take; the rest is for the network.
_CACHE_SHARE = 0.5


def _pmap(
  function: Callable,
  *,
  devices: list[jax.Device],
  out_axes: Any,
  donate_argnums: tuple[int, ...] = (),
) -> Callable:
  """Maps `function(replicated, sharded)` over devices."""
  mapped = jax.pmap(
    function,
    axis_name=steps.DEVICES,
    in_axes=(None, 0),
    out_axes=out_axes,
    devices=devices,
    donate_argnums=donate_argnums,
  )

  options = compiler_options(devices[0].platform)
  if not options:
    return mapped

  # A function of its own: `jax.jit(mapped)` would take over all attributes of it, `lower` too.
  def call(replicated: Any, sharded: Any) -> Any:
    return mapped(replicated, sharded)

  return jax.jit(call, donate_argnums=donate_argnums, compiler_options=options)


def compiler_options(platform: str) -> dict[str, Any]:
  """XLA's options for devices of a platform ("cpu", "gpu", "tpu"); empty for its defaults."""
  return cpu_options() if platform == "cpu" and jax.process_count() == 1 else {}


def cpu_options() -> dict[str, Any]:
  """`compiler_options` of the CPU.

  Processes that train together can have them only as XLA_FLAGS: there a pmap stands alone.
  """
  return dict(_CPU_OPTIONS) if jaxlib.__version__ in _CPU_OPTION_RELEASES else {}


def replicate(tree: Any) -> Any:
  """Puts every array on every device.

  They stay plain global arrays, which any number of devices can restore.

  The original must not be used again: on its own device it shares its memory with the result, which
  a training step consumes.
  """
  return jax.device_put(tree, replicated_sharding())


def replicated_sharding() -> jax.sharding.NamedSharding:
  """The sharding that the mapped training step gives its state."""
  mesh = jax.sharding.Mesh(np.array(jax.devices()), (steps.DEVICES,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def split_over_devices(batch: Any) -> Any:
  """(B, ...) arrays of this process to (local devices, B / local devices, ...)."""
  count = jax.local_device_count()

  def split(array: Any) -> Any:
    return array.reshape(count, array.shape[0] // count, *array.shape[1:])

  return jax.tree.map(split, batch)


def make_device_cache(examples: Mapping[str, np.ndarray]) -> Callable[[Any], Any]:
  """Copies whole arrays to every device of this process, once, and gathers batches of them there.

  Args:
    examples: arrays (N, ...), as from `data.decode_all`.

  Returns:
    A function of a batch that holds an `index`, (B,) int32: the batch and the rows of all arrays,
    split over devices.

  Raises:
    InputError: they do not fit.
  """
  devices = jax.local_devices()
  needed = sum(array.nbytes for array in examples.values())
  all_stats = [device.memory_stats() for device in devices]
  free = [stats["bytes_limit"] - stats["bytes_in_use"] for stats in all_stats if stats]
  if free and needed > _CACHE_SHARE * min(free):
    raise InputError(
      f"The training crops take {needed / 1e9:.1f} GB and a device has {min(free) / 1e9:.1f} GB "
      "free, of which training needs most: set --config.data.cache=host, or a smaller "
      "--config.crop.stored_size."
    )

  mesh = jax.sharding.Mesh(np.array(devices), (steps.DEVICES,))
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  cache = jax.device_put(dict(examples), replicated)

  def gather(
    cache: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]
  ) -> Mapping[str, jax.Array]:
    rows = {
      name: array.at[batch["index"]].get(mode="promise_in_bounds") for name, array in cache.items()
    }
    return {**batch, **rows}

  mapped = _pmap(gather, devices=devices, out_axes=0)
  return lambda batch: mapped(cache, split_over_devices(batch))


def make_train_step(
  recipe: steps.Recipe,
) -> Callable[[steps.TrainState, Any], tuple[steps.TrainState, dict[str, jax.Array]]]:
  """`steps.train_step` over all devices.

  Returns:
    A function of the replicated state, which it consumes, and a batch split over devices, to the
    next state and the metrics.
  """
  step = functools.partial(steps.train_step, recipe=recipe)
  return _pmap(step, devices=jax.devices(), out_axes=(None, None), donate_argnums=(0,))


def make_isolated_step(recipe: steps.Recipe) -> Callable[[steps.TrainState, Any], Any]:
  """`steps.train_step` on every device of this process, without inter-device communication.

  It measures what communication costs; nothing trains with it.

  Returns:
    A function of the replicated state, which it leaves alone, and a batch split over devices, to
    the results of `make_train_step` with a leading axis of devices, which no longer agree.
  """
  step = functools.partial(steps.train_step, recipe=recipe)

  def isolated(
    state: steps.TrainState, batch: Any
  ) -> tuple[steps.TrainState, dict[str, jax.Array]]:
    # An axis of length 1 in place of the devices: nothing is sent over it.
    step_over_axis = jax.vmap(step, (None, 0), axis_name=steps.DEVICES)
    results = step_over_axis(state, jax.tree.map(lambda array: array[None], batch))
    return jax.tree.map(lambda array: array[0], results)

  return _pmap(isolated, devices=jax.local_devices(), out_axes=(0, 0))


def make_predict(
  model: Network, codec: HeatmapCodec
) -> Callable[[Any, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """`steps.predict_step` over the devices of this process.

  Returns:
    A function of variables and images (B, H, H, 3) uint8, any B, that gives landmarks (B, K, 2) in
    crop px, scores (B, K) and covariance (B, K, 2, 2) in crop px squared.
  """
  return over_devices(functools.partial(steps.predict_step, model=model, codec=codec))


def over_devices(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
  """A function of one device's share of a batch, over the devices of this process.

  Args:
    function: of variables and a tree of arrays (B, ...) to another such tree.

  Returns:
    The same for whole batches on the host, any B. It pads B to a multiple of the device count; give
    it equal batches, or each size compiles anew.
  """
  mapped = _pmap(function, devices=jax.local_devices(), out_axes=0)

  def call(variables: Any, batch: Any) -> Any:
    count = len(jax.tree.leaves(batch)[0])
    padding = -count % jax.local_device_count()

    def pad(array: np.ndarray) -> np.ndarray:
      return np.concatenate([array, np.zeros((padding, *array.shape[1:]), array.dtype)])

    def merge(array: jax.Array) -> np.ndarray:
      # (devices, B / devices, ...) to (B, ...), without the padding.
      return np.asarray(array).reshape(-1, *array.shape[2:])[:count]

    return jax.tree.map(merge, mapped(variables, split_over_devices(jax.tree.map(pad, batch))))

  return call
