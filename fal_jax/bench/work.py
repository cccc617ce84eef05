"""The work that `--mode=bench` measures on this process's devices.

It consists of the package's own functions on random images and landmarks.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from fal_jax import affine, build, parallel, siamese, steps
from fal_jax.augment import View
from fal_jax.bench import flops
from fal_jax.bench.rates import Count
from fal_jax.bench.timing import Task
from fal_jax.errors import InputError
from fal_jax.predict import FaceAligner

STEPS_PER_EPOCH = 1000.0  # for the learning rate's schedule, whose cost does not depend on it


def default_pairs(platform: str, devices: int) -> list[int]:
  """Batch sizes worth measuring, in images per step; the tables are made with the first one."""
  sizes = [2] if platform == "cpu" else [32, 8, 128]
  return list(dict.fromkeys(-(-size // devices) * devices for size in sizes))


def check_pairs(pairs: Sequence[int], devices: int) -> None:
  """Raises InputError unless the batches can be split."""
  if bad := [size for size in pairs if size < 1 or size % devices]:
    raise InputError(
      f"--batch_sizes={','.join(map(str, bad))}: each must be a multiple of the number of devices "
      f"({devices})."
    )


def matmul_of(config: ConfigDict) -> str:
  """Which of `matmuls` has the precision that JAX gives the network's convolutions by default."""
  if build.precision(config) == "bfloat16":
    return "bfloat16"
  return {"cpu": "float32", "gpu": "tf32"}.get(jax.default_backend(), "bfloat16")


def random_batch(config: ConfigDict, pairs: int) -> dict[str, np.ndarray]:
  """A batch as `data.train_batches` yields it, drawn at random.

  Args:
    config: gives the sizes.
    pairs: images, B.

  Returns:
    `image` (B, Hs, Hs, 3) uint8, stored crops; `landmarks` (B, K, 2) float32 crop px, inside the
    crop; `index` (B,) int32.
  """
  rng = np.random.default_rng(0)
  stored = config.crop.stored_size
  size = config.crop.size
  images = rng.integers(0, 256, (pairs, stored, stored, 3), np.uint8)
  landmarks = rng.uniform(0.1 * size, 0.9 * size, (pairs, config.data.markup, 2))
  return {
    "image": images,
    "landmarks": landmarks.astype(np.float32),
    "index": np.arange(pairs, dtype=np.int32),
  }


class Training(NamedTuple):
  """What `train.py` makes of a config.

  Attributes:
    recipe: everything constant.
    init: gives a fresh state on all devices, equal each time.
    step: the training step.
  """

  recipe: steps.Recipe
  init: Callable[[], steps.TrainState]
  step: Callable[[steps.TrainState, Any], tuple[steps.TrainState, Any]]


def training(config: ConfigDict) -> Training:
  """One for all measurements of a config, so that each of its programs is compiled once."""
  return _training(FrozenConfigDict(config))


@functools.lru_cache(maxsize=1)
def _training(config: FrozenConfigDict) -> Training:
  recipe = build.setup(config).recipe(steps_per_epoch=STEPS_PER_EPOCH)
  init = jax.jit(lambda: steps.init_state(jax.random.key(config.seed, impl="rbg"), recipe))
  return Training(recipe, lambda: parallel.replicate(init()), parallel.make_train_step(recipe))


def repeated(call: Callable[[], Any]) -> Task:
  """A task that repeats a call and waits for the last result.

  On CPU it waits for every result, which would pile up in memory otherwise.
  """
  wait_for_each = jax.default_backend() == "cpu"

  def task(repeats: int) -> None:
    result = None
    for _ in range(repeats):
      result = call()
      if wait_for_each:
        jax.block_until_ready(result)
    jax.block_until_ready(result)

  return task


def compiled(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
  """A call of a function on one device, with its arguments there already."""
  options = parallel.compiler_options(jax.default_backend()) or None
  call = jax.jit(function, compiler_options=options)
  return functools.partial(call, *jax.device_put(args, jax.local_devices()[0]))


def matmuls(config: ConfigDict) -> tuple[dict[str, Task], dict[str, Count]]:
  """The rates that everything is compared with: products of two square matrices.

  There is one in each precision that the device is built for.
  """
  platform = jax.default_backend()
  kinds: dict[str, tuple[Any, str | None]] = {"float32": (jnp.float32, "highest")}
  if platform == "gpu":
    kinds["tf32"] = jnp.float32, "default"
  if platform != "cpu" or build.precision(config) == "bfloat16":
    kinds["bfloat16"] = jnp.bfloat16, "default"

  side = 2048 if platform == "cpu" else 8192
  tasks = {}
  for name, (dtype, precision) in kinds.items():
    matrix = jax.random.normal(jax.random.key(0, impl="rbg"), (side, side), dtype)
    product = functools.partial(jnp.matmul, precision=precision)
    tasks[f"matmul {name}"] = repeated(compiled(product, matrix, matrix))
  return tasks, dict.fromkeys(tasks, Count(1, "products", 2 * side**3))


def step_task(config: ConfigDict, pairs: int) -> tuple[Task, Count]:
  """Training steps one after another on one batch that is on the devices already."""
  _, init, step = training(config)
  state = init()
  batch = on_devices(random_batch(config, pairs))

  def call() -> Any:
    nonlocal state
    state, metrics = step(state, batch)
    return metrics

  needed = pairs * flops.train_step(config)
  return repeated(call), Count(pairs, "pairs", needed, devices=jax.device_count())


def on_devices(batch: Mapping[str, np.ndarray]) -> Any:
  """A batch split over the devices of this process and put there.

  Args:
    batch: arrays (B, ...).

  Returns:
    Arrays (devices, B / devices, ...).
  """
  split = parallel.split_over_devices(batch)
  # On CPU it is there already, and for arrays of JAX the step would be compiled once more.
  if jax.default_backend() == "cpu":
    return split

  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (steps.DEVICES,))
  spec = jax.sharding.PartitionSpec(steps.DEVICES)
  return jax.device_put(split, jax.sharding.NamedSharding(mesh, spec))


def forward_task(config: ConfigDict, pairs: int) -> tuple[Task, Count]:
  """The network alone, as in prediction, on as many images as a training step has views."""
  count = pairs * config.siamese.num_views
  model = build.network(config)
  state = training(config).init()
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  variables = jax.device_put(variables, jax.local_devices()[0])

  rng = np.random.default_rng(1)
  shape = count, config.crop.size, config.crop.size, 3
  images = rng.uniform(size=shape).astype(np.float32)

  def forward(variables: Any, images: jax.Array) -> Any:
    return model.apply(variables, images, False)

  needed = count * flops.forward(config)
  in_step = 1 / jax.device_count()
  task = repeated(compiled(forward, variables, images))
  return task, Count(count, "images", needed, in_step=in_step)


def face_task(config: ConfigDict) -> tuple[Task, Count]:
  """One face of a photograph of 640 x 480 px, as `FaceAligner` serves it: from pixels to pixels."""
  setup = build.setup(config)
  state = training(config).init()
  aligner = FaceAligner(setup, jax.tree.map(np.asarray, state.variables))

  photograph = np.random.default_rng(4).integers(0, 256, (480, 640, 3), np.uint8)
  box = np.array([[200.0, 100.0, 400.0, 320.0]])
  needed = flops.forward(config) + flops.decode(config)[0]
  return repeated(lambda: aligner(photograph, box).landmarks), Count(1, "faces", needed)


def codec_tasks(
  config: ConfigDict, pairs: int
) -> tuple[dict[str, Task], dict[str, Count], np.ndarray]:
  """Encoder and decoder on many images.

  Args:
    config: the run's config.
    pairs: batch size of the training step that the encoder's share is of.

  Returns:
    Tasks, counts, and the heatmaps (B, H, W, K) float32 that are decoded.
  """
  codec = build.codec(config)
  num_landmarks = config.data.markup
  count = 64 if jax.default_backend() == "cpu" else 1024

  rng = np.random.default_rng(2)
  landmarks = rng.uniform(0, config.crop.size - 1, (count, num_landmarks, 2)).astype(np.float32)
  shape = count, codec.size, codec.size, num_landmarks
  noise = 0.02 * jax.random.normal(jax.random.key(0, impl="rbg"), shape)
  heatmaps = jax.jit(codec.encode)(landmarks) + noise

  tasks = {
    "encode": repeated(compiled(codec.encode, landmarks)),
    "decode": repeated(compiled(codec.decode, heatmaps)),
  }
  items = count * num_landmarks
  counts = {
    "encode": _count(items, flops.encode(config), images=count, in_step=pairs / count),
    "decode": _count(items, flops.decode(config), images=count, in_step=None),
  }
  return tasks, counts, np.asarray(heatmaps)


def sample_views(config: ConfigDict, pairs: int) -> View:
  """The random views of one step, (V, B)."""
  return steps.sample_views(training(config).recipe, jnp.int32(0), jnp.arange(pairs))


def heatmap_maps(config: ConfigDict, views: View) -> jax.Array:
  """The maps that pull back each view's heatmaps, of every stack, to the crop's.

  Args:
    config: gives stride and stacks.
    views: (V, B).

  Returns:
    (S * V * B, 2, 3) float32, view heatmap px to crop heatmap px.
  """
  stride = training(config).recipe.codec.stride
  crop_from_view = affine.invert(affine.at_stride(views.view_from_crop, stride))
  per_stack = jnp.broadcast_to(crop_from_view, (config.model.num_stacks, *crop_from_view.shape))
  return per_stack.reshape(-1, 2, 3)


def warp_tasks(
  config: ConfigDict, pairs: int
) -> tuple[dict[str, Task], dict[str, Count], np.ndarray]:
  """All heatmaps of a training step pulled back.

  Measured are the warp, the warp and its gradient, and all of `siamese.combine` with its gradient.

  Args:
    config: the run's config.
    pairs: batch size, B.

  Returns:
    Tasks, counts, and the heatmaps (S * V * B, H, W, K) float32 that are warped.
  """
  recipe = training(config).recipe
  views = sample_views(config, pairs)
  maps = heatmap_maps(config, views)
  flip = jnp.asarray(recipe.flip)
  side = recipe.codec.size
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
    by_view = heatmaps.reshape(config.model.num_stacks, *views.mirrored.shape, *shape[1:])

    def combine(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
      return siamese.combine(
        heatmaps, views, stride=recipe.codec.stride, flip=flip, reduce=config.siamese.reduce
      )

    combined, pull, seen = jax.vjp(combine, by_view, has_aux=True)
    return combined, seen, pull(combined)

  tasks = {
    "warp": repeated(compiled(warp, heatmaps, maps)),
    "warp and gradient": repeated(compiled(warp_gradient, heatmaps, maps, heatmaps)),
    "combine and gradient": repeated(compiled(combine_gradient, heatmaps, views)),
  }
  with_gradient = flops.warp_with_gradient(config)
  needs = {name: flops.warp(config) if name == "warp" else with_gradient for name in tasks}
  items = len(maps) * config.data.markup
  counts = {name: _count(items, need, images=pairs, in_step=1) for name, need in needs.items()}
  return tasks, counts, heatmaps


def render_task(config: ConfigDict, pairs: int) -> tuple[Task, Count]:
  """All views of a training step, from the stored crops."""
  render = functools.partial(steps.render_views, training(config).recipe)
  stored = random_batch(config, pairs)["image"]
  task = repeated(compiled(render, stored, sample_views(config, pairs)))

  items = pairs * config.siamese.num_views
  return task, _count(items, flops.render(config), images=pairs, in_step=1, unit="images")


def memory(config: ConfigDict, pairs: int) -> dict[str, int | None]:
  """Memory and FLOPs of the compiled training step on each device.

  Args:
    config: the run's config.
    pairs: batch size.

  Returns:
    Bytes of `temporaries`, beside the arguments, of what is `donated` of them and of the `state`;
    `flops_by_xla`, before XLA rewrites anything, and `flops_by_hand`. None is unknown, as is what
    XLA counts of `config.train.accumulate`: of a loop it counts one turn.
  """
  lowered, step, state_bytes = _compiled(FrozenConfigDict(config), pairs)
  stats = step.memory_analysis()
  cost = lowered.cost_analysis() if config.train.accumulate == 1 else None
  return {
    "temporaries": getattr(stats, "temp_size_in_bytes", None),
    "donated": getattr(stats, "alias_size_in_bytes", None),
    "state": state_bytes,
    "flops_by_xla": int(cost["flops"]) if cost and "flops" in cost else None,
    "flops_by_hand": pairs * flops.train_step(config) // jax.device_count(),
  }


def program(config: ConfigDict, pairs: int) -> str:
  """The text of the compiled training step, of which each instruction names its operation."""
  return str(_compiled(FrozenConfigDict(config), pairs)[1].as_text())


@functools.lru_cache(maxsize=1)
def _compiled(config: FrozenConfigDict, pairs: int) -> tuple[Any, Any, int]:
  """The training step before and after XLA compiles it, and the bytes of the state it takes."""
  _, init, step = _training(config)
  state = init()
  batch = on_devices(random_batch(config, pairs))
  lowered = step.lower(state, batch)  # type: ignore[attr-defined]
  return lowered, lowered.compile(), sum(array.nbytes for array in jax.tree.leaves(state))


def determinism(config: ConfigDict, pairs: int) -> bool:
  """Whether a training step taken twice from one state gives the same bits."""
  _, init, step = training(config)
  batch = on_devices(random_batch(config, pairs))
  first, second = (step(init(), batch)[0] for _ in range(2))

  def equal(a: jax.Array, b: jax.Array) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)

  return all(jax.tree.leaves(jax.tree.map(equal, first, second)))


def _count(
  items: int,
  need: tuple[int, int],
  *,
  images: int,
  in_step: float | None,
  unit: str = "heatmaps",
) -> Count:
  """The count of a part that each device does by itself.

  Args:
    items: number of `unit`.
    need: FLOPs and bytes per image.
    images: how many images.
    in_step: how often all devices together do this in one training step; None if they do not.
    unit: see `Count`.
  """
  share = None if in_step is None else in_step / jax.device_count()
  return Count(items, unit, images * need[0], images * need[1], in_step=share)
