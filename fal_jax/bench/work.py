"""The work that `--mode=bench` measures on this process's devices: functions of the package on
random images and landmarks.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fal_jax import affine, build, parallel, siamese, steps
from fal_jax.augment import View
from fal_jax.bench import flops
from fal_jax.bench.timing import Task
from fal_jax.errors import InputError

STEPS_PER_EPOCH = 1000.0  # of the learning rate's schedule, which costs the same whatever it says


@dataclasses.dataclass(frozen=True)
class Count:
  """What one run of a task does.

  Attributes:
    items: how many of `unit`.
    unit: "images", "pairs", "heatmaps" or "products".
    flops: counted by hand.
    bytes: the least that passes through memory; None where nobody can say.
    devices: that share the work.
    in_step: how much of this work a device does in one training step; None if it does not belong to
      one.
  """

  items: int
  unit: str
  flops: float
  bytes: float | None = None
  devices: int = 1
  in_step: float | None = None


def default_pairs(platform: str, devices: int) -> list[int]:
  """Batch sizes worth measuring, in images, each in all its views; the first is the one of the
  table.
  """
  sizes = [2] if platform == "cpu" else [32, 8, 128]
  return list(dict.fromkeys(-(-size // devices) * devices for size in sizes))


def check_pairs(pairs: Sequence[int], devices: int) -> None:
  """Raises InputError unless the batches can be split."""
  if bad := [size for size in pairs if size < 1 or size % devices]:
    raise InputError(
      f"--batch_sizes={','.join(map(str, bad))}: each must be a multiple of the number of devices ({devices})."
    )


def matmul_of(config: ConfigDict) -> str:
  """Which of `matmuls` multiplies as the network's convolutions do under JAX's default precision."""
  if build.precision(config) == "bfloat16":
    return "bfloat16"
  return {"cpu": "float32", "gpu": "tf32"}.get(jax.default_backend(), "bfloat16")


def random_batch(config: ConfigDict, pairs: int) -> dict[str, np.ndarray]:
  """What `data.train_batches` gives, drawn at random: uint8 crops with their margin, landmarks
  inside the crop.
  """
  rng = np.random.default_rng(0)
  stored, size = config.crop.stored_size, config.crop.size
  return {
    "image": rng.integers(0, 256, (pairs, stored, stored, 3), np.uint8),
    "landmarks": rng.uniform(0.1 * size, 0.9 * size, (pairs, config.data.markup, 2)).astype(
      np.float32
    ),
    "index": np.arange(pairs, dtype=np.int32),
  }


class Training(NamedTuple):
  """What `train.py` makes of a config: everything constant, a fresh state on all devices (equal
  each time), and the step.
  """

  recipe: steps.Recipe
  init: Callable[[], steps.TrainState]
  step: Callable[[steps.TrainState, Any], tuple[steps.TrainState, Any]]


def training(config: ConfigDict) -> Training:
  """One for all measurements of a config, so that each of its programs is compiled once."""
  return _training(config.to_json_best_effort())


@functools.lru_cache(maxsize=1)
def _training(config: str) -> Training:
  own = ConfigDict(json.loads(config))
  recipe = build.setup(own).recipe(steps_per_epoch=STEPS_PER_EPOCH)
  init = jax.jit(lambda: steps.init_state(jax.random.key(own.seed, impl="rbg"), recipe))
  return Training(recipe, lambda: parallel.replicate(init()), parallel.make_train_step(recipe))


def repeated(call: Callable[[], Any]) -> Task:
  """A task that waits for the last of its results; on CPU for each, or else they would pile up in
  memory.
  """
  each = jax.default_backend() == "cpu"

  def task(repeats: int) -> None:
    result = None
    for _ in range(repeats):
      result = call()
      if each:
        jax.block_until_ready(result)
    jax.block_until_ready(result)

  return task


def compiled(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
  """A call of a function on one device, its arguments already there."""
  call = jax.jit(
    function, compiler_options=parallel.compiler_options(jax.default_backend()) or None
  )
  return functools.partial(call, *jax.device_put(args, jax.local_devices()[0]))


def matmuls(config: ConfigDict) -> tuple[dict[str, Task], dict[str, Count]]:
  """The rates that everything is held against: the product of two square matrices, in each
  precision the device is built for.
  """
  platform = jax.default_backend()
  side = 2048 if platform == "cpu" else 8192
  kinds: dict[str, tuple[Any, str | None]] = {"float32": (jnp.float32, "highest")}
  if platform == "gpu":
    kinds["tf32"] = jnp.float32, "default"
  if platform != "cpu" or build.precision(config) == "bfloat16":
    kinds["bfloat16"] = jnp.bfloat16, "default"
  tasks = {}
  for name, (dtype, precision) in kinds.items():
    matrix = jax.random.normal(jax.random.key(0, impl="rbg"), (side, side), dtype)
    product = functools.partial(jnp.matmul, precision=precision)
    tasks[f"matmul {name}"] = repeated(compiled(product, matrix, matrix))
  return tasks, dict.fromkeys(tasks, Count(1, "products", 2 * side**3))


def step_task(config: ConfigDict, pairs: int) -> tuple[Task, Count]:
  """Training steps one after another on one batch that is on the devices already."""
  _, init, step = training(config)
  held = [init()]
  batch = on_devices(random_batch(config, pairs))

  def call() -> Any:
    held[0], metrics = step(held[0], batch)
    return metrics

  return repeated(call), Count(
    pairs, "pairs", pairs * flops.train_step(config), devices=jax.device_count()
  )


def on_devices(batch: Mapping[str, np.ndarray]) -> Any:
  """A batch split over the devices of this process and put there."""
  split = parallel.split_over_devices(batch)
  if (
    jax.default_backend() == "cpu"
  ):  # where it is there already, and a step would be compiled once more for arrays of JAX
    return split
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (steps.DEVICES,))
  return jax.device_put(
    split, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(steps.DEVICES))
  )


def forward_task(config: ConfigDict, pairs: int) -> tuple[Task, Count]:
  """The network alone, as in prediction, on as many images as a training step has views."""
  count = pairs * config.siamese.num_views
  model = build.network(config)
  state = training(config).init()
  variables = jax.device_put(
    {"params": state.params, "batch_stats": state.batch_stats}, jax.local_devices()[0]
  )
  images = (
    np.random.default_rng(1)
    .uniform(size=(count, config.crop.size, config.crop.size, 3))
    .astype(np.float32)
  )
  call = compiled(
    lambda variables, images: model.apply(variables, images, False), variables, images
  )
  return repeated(call), Count(
    count, "images", count * flops.forward(config), in_step=1 / jax.device_count()
  )


def codec_tasks(
  config: ConfigDict, pairs: int
) -> tuple[dict[str, Task], dict[str, Count], np.ndarray]:
  """Encoder and decoder on many images.

  Returns:
    Tasks, counts, and the heatmaps (B, H, W, K) that are decoded.
  """
  codec, count = build.codec(config), 64 if jax.default_backend() == "cpu" else 1024
  landmarks = (
    np.random.default_rng(2)
    .uniform(0, config.crop.size - 1, (count, config.data.markup, 2))
    .astype(np.float32)
  )
  noise = 0.02 * jax.random.normal(
    jax.random.key(0, impl="rbg"), (count, codec.size, codec.size, config.data.markup)
  )
  heatmaps = jax.jit(codec.encode)(landmarks) + noise
  tasks = {
    "encode": repeated(compiled(codec.encode, landmarks)),
    "decode": repeated(compiled(codec.decode, heatmaps)),
  }
  needs = {"encode": flops.encode(config), "decode": flops.decode(config)}
  shares = {"encode": pairs / count, "decode": None}
  counts = {
    name: _count(count * config.data.markup, need, count, shares[name])
    for name, need in needs.items()
  }
  return tasks, counts, np.asarray(heatmaps)


def views_of(config: ConfigDict, pairs: int) -> View:
  """The random views of one step, (V, B)."""
  return steps.sample_views(training(config).recipe, jnp.int32(0), jnp.arange(pairs))


def heatmap_maps(config: ConfigDict, views: View) -> jax.Array:
  """(S * V * B, 2, 3): from each view's heatmaps, of every stack, to the crop's; heatmap px."""
  small = affine.shrink(build.STRIDE)
  back = affine.invert(
    affine.compose(affine.compose(small, views.view_from_crop), affine.invert(small))
  )
  return jnp.broadcast_to(back, (config.model.num_stacks, *back.shape)).reshape(-1, 2, 3)


def warp_tasks(
  config: ConfigDict, pairs: int
) -> tuple[dict[str, Task], dict[str, Count], np.ndarray]:
  """All heatmaps of a training step pulled back: the warp, the warp and its gradient, and all of
  `siamese.combine` with gradient.

  Returns:
    Tasks, counts, and the heatmaps (S * V * B, H, W, K) that are warped.
  """
  side, views = config.crop.size // build.STRIDE, views_of(config, pairs)
  flip, reduce = jnp.asarray(training(config).recipe.flip), config.siamese.reduce
  maps = heatmap_maps(config, views)
  shape = len(maps), side, side, config.data.markup
  heatmaps = np.random.default_rng(3).standard_normal(shape, np.float32)

  def warp(heatmaps: jax.Array, maps: jax.Array) -> jax.Array:
    return jax.vmap(lambda image, dst_from_src: affine.warp(image, dst_from_src, (side, side)))(
      heatmaps, maps
    )

  def warp_gradient(heatmaps: jax.Array, maps: jax.Array, cotangent: jax.Array) -> Any:
    warped, pull = jax.vjp(lambda heatmaps: warp(heatmaps, maps), heatmaps)
    return warped, pull(cotangent)

  def combine_gradient(heatmaps: jax.Array, views: View) -> Any:
    apart = heatmaps.reshape(config.model.num_stacks, *views.mirrored.shape, *shape[1:])

    def combine(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
      return siamese.combine(heatmaps, views, stride=build.STRIDE, flip=flip, reduce=reduce)

    combined, pull, weight = jax.vjp(combine, apart, has_aux=True)
    return combined, weight, pull(combined)

  tasks = {
    "warp": repeated(compiled(warp, heatmaps, maps)),
    "warp and gradient": repeated(compiled(warp_gradient, heatmaps, maps, heatmaps)),
    "combine and gradient": repeated(compiled(combine_gradient, heatmaps, views)),
  }
  needs = {
    name: flops.warp(config) if name == "warp" else flops.warp_with_gradient(config)
    for name in tasks
  }
  counts = {
    name: _count(len(maps) * config.data.markup, need, pairs, 1) for name, need in needs.items()
  }
  return tasks, counts, heatmaps


def render_task(config: ConfigDict, pairs: int) -> tuple[Task, Count]:
  """All views of a training step, from the stored crops."""
  recipe, views = training(config).recipe, views_of(config, pairs)
  call = compiled(
    functools.partial(steps.render_views, recipe), random_batch(config, pairs)["image"], views
  )
  return repeated(call), _count(
    pairs * config.siamese.num_views, flops.render(config), pairs, 1, unit="images"
  )


def memory(config: ConfigDict, pairs: int) -> dict[str, int | None]:
  """Bytes of the compiled training step on each device: what it takes beside its arguments, and
  what it gives back of them.
  """
  _, init, step = training(config)
  state = init()
  lowered = step.lower(state, on_devices(random_batch(config, pairs)))  # type: ignore[attr-defined]
  stats, cost = lowered.compile().memory_analysis(), lowered.cost_analysis()
  return {
    "temporaries": getattr(stats, "temp_size_in_bytes", None),
    "donated": getattr(stats, "alias_size_in_bytes", None),
    "state": sum(array.nbytes for array in jax.tree.leaves(state)),
    "flops_by_xla": int(cost["flops"])
    if cost and "flops" in cost
    else None,  # of one device, before XLA rewrites anything
    "flops_by_hand": pairs * flops.train_step(config) // jax.device_count(),
  }


def determinism(config: ConfigDict, pairs: int) -> bool:
  """Whether a training step taken twice from one state gives the same bits."""
  _, init, step = training(config)
  batch = on_devices(random_batch(config, pairs))
  first, second = (step(init(), batch)[0] for _ in range(2))
  same = jax.tree.map(
    lambda a, b: np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True), first, second
  )
  return all(jax.tree.leaves(same))


def _count(
  items: int, need: tuple[int, int], times: int, in_step: float | None, *, unit: str = "heatmaps"
) -> Count:
  """Of a part that one device does, for `times` images that need so many FLOPs and bytes each."""
  share = None if in_step is None else in_step / jax.device_count()
  return Count(items, unit, times * need[0], times * need[1], in_step=share)
