"""What the speed of a training step rests on: work, memory, communication and compilations.

All of it is read off the step's program, and nothing off a clock.
"""

import collections
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_dataset
from quick_xla import QUICKLY
from step_fixtures import RECIPE, initial_state, make_batch

from configs import default
from fal_jax import build, parallel, steps, train
from fal_jax.hourglass import FAN

# FLOPs of FAN-2 on two views, K = 98: convolutions counted by hand, three times for training.
PAIR_FLOPS = 168.2e9
MEBIBYTE = 2**20
# A network of a fifth of the work, whose step has the same parts; the quick lane's.
SMALL = {"num_stacks": 1, "depth": 1}
COLLECTIVES = (
  "all_reduce|all_gather|all_to_all|reduce_scatter|collective_permute|collective_broadcast"
)


def paper_recipe(**model) -> steps.Recipe:
  config = default.get_config().unlock()
  config.data.name = "wflw"
  config.data.markup = 98
  config.model.update(model)
  return build.setup(config).recipe(steps_per_epoch=100)


def state_and_batch(recipe: steps.Recipe) -> tuple:
  """Shapes of the state, and of one pair on each of the fake devices."""
  state = jax.eval_shape(lambda: steps.init_state(jax.random.key(0), recipe))
  count = jax.device_count()
  side = recipe.crop.stored_size
  batch = {
    "image": jax.ShapeDtypeStruct((count, 1, side, side, 3), np.uint8),
    "landmarks": jax.ShapeDtypeStruct((count, 1, len(recipe.flip), 2), np.float32),
    "index": jax.ShapeDtypeStruct((count, 1), np.int32),
  }
  return state, batch


@functools.cache
def lowered(**model) -> jax.stages.Lowered:
  """The step of the paper's network over all fake devices, one pair on each, not compiled."""
  recipe = paper_recipe(**model)
  return parallel.make_train_step(recipe).lower(*state_and_batch(recipe))


@functools.cache
def program(**model) -> str:
  return lowered(**model).as_text()


def size_of(tensor: str) -> int:
  """Bytes of a type such as 2x64xf32."""
  *sides, kind = tensor.split("x")
  return math.prod(map(int, sides)) * int(re.sub(r"\D", "", kind)) // 8


@pytest.mark.slow
def test_a_step_does_the_work_of_its_convolutions_and_hardly_more():
  assert lowered(dtype="float32").cost_analysis()["flops"] == pytest.approx(PAIR_FLOPS, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
  "model",
  [
    {"dtype": "float32", **SMALL},
    {"dtype": "float32"},
    {"dtype": "bfloat16"},
  ],
  ids=str,
)
def test_a_step_scatters_nothing(model):
  """Neither warps nor swapped channels do.

  Sums of scattered parts are slow, and on GPU their order differs from run to run.
  """
  assert "stablehlo.gather" in program(**model)
  assert "stablehlo.scatter" not in program(**model)


@pytest.mark.slow
def test_the_whole_state_is_donated_to_the_step():
  state, _ = state_and_batch(paper_recipe(**SMALL))
  donated = re.findall(
    r"%arg\d+: tensor<([^>]*)> [^%]*?(?:tf\.aliasing_output|jax\.buffer_donor)",
    program(dtype="float32", **SMALL),
  )

  state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
  assert sum(map(size_of, donated)) == state_bytes


def messages(text: str) -> collections.Counter:
  """What devices exchange, by type; all of it by all_reduce."""
  kinds = set(re.findall(rf"stablehlo\.({COLLECTIVES})\b", text))
  assert kinds <= {"all_reduce"}

  types = re.findall(r'"stablehlo\.all_reduce".*?\}\) : \(tensor<([^>]*)>\) ->', text, re.DOTALL)
  assert len(types) == len(re.findall(r"stablehlo\.all_reduce\b", text))
  return collections.Counter(types)


@pytest.mark.heavy
@pytest.mark.parametrize("remat", [False, True])
def test_devices_exchange_the_gradient_once_and_statistics_besides(remat):
  state, _ = state_and_batch(paper_recipe())
  counts = messages(program(dtype="bfloat16", remat=remat))
  weights = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  running = sum(leaf.size for leaf in jax.tree.leaves(state.batch_stats))

  # The gradient; the running statistics; the loss; the number of annotated landmarks.
  whole_step = [f"{weights}xf32", f"{running}xf32", "f32", "i32"]
  assert {kind: counts.pop(kind) for kind in whole_step} == dict.fromkeys(whole_step, 1)

  # Every BatchNorm: two numbers per channel in the forward pass, and two in the backward pass.
  layers = collections.Counter(f"2x{leaf.size}xf32" for leaf in jax.tree.leaves(state.batch_stats))
  assert counts == layers and counts.total() == 2 * 98


@pytest.mark.slow
def test_with_statistics_per_device_the_network_exchanges_nothing():
  counts = messages(program(dtype="bfloat16", sync_batch_norm=False))
  assert sorted(counts.values()) == [1, 1, 1, 1], (
    "the gradient, the running statistics, the loss, the number of landmarks"
  )


@pytest.mark.slow
def test_in_bfloat16_no_convolution_or_matrix_product_reads_float32():
  text = program(dtype="bfloat16")
  operands = re.findall(
    r"stablehlo\.(?:convolution\(|dot_general ).*?: \(tensor<[^>]*x(\w+)>, tensor<[^>]*x(\w+)>\)",
    text,
  )

  count = text.count("stablehlo.convolution(") + text.count("stablehlo.dot_general ")
  assert len(operands) == count > 300
  assert set(operands) == {("bf16", "bf16")}
  assert "bf16" not in program(dtype="float32")


def residuals_per_view(model: FAN) -> float:
  """MiB that the forward pass keeps for the backward pass, per additional image."""
  variables = jax.eval_shape(
    lambda: model.init(jax.random.key(0), jnp.zeros((1, 256, 256, 3)), False)
  )

  def residuals(count: int) -> int:
    def forward(params):
      apply = functools.partial(model.apply, mutable=["batch_stats"])
      images = jnp.zeros((count, 256, 256, 3))
      return jax.vjp(lambda params: apply({**variables, "params": params}, images, True), params)[1]

    kept = jax.eval_shape(forward, variables["params"])
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))

  # Statistics as arrays, not as shapes: they are multiplied.
  variables = {
    **variables,
    "batch_stats": jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), variables["batch_stats"]),
  }
  return (residuals(2) - residuals(1)) / MEBIBYTE


@pytest.mark.heavy
def test_residuals_per_view_are_small_in_bfloat16_and_smaller_with_remat():
  plain = residuals_per_view(FAN(2, 98, dtype=jnp.bfloat16, remat=False))
  remat = residuals_per_view(FAN(2, 98, dtype=jnp.bfloat16, remat=True))

  print(f"residuals per view: {plain:.0f} MiB, with remat {remat:.0f} MiB")
  assert plain <= 110
  assert remat < 0.6 * plain


@pytest.mark.slow
def test_training_with_evaluations_compiles_one_step_and_one_prediction(
  tmp_path, folder, monkeypatch
):
  mapped = []

  def remember(*args, _pmap=parallel._pmap, **options):
    mapped.append(_pmap(*args, **options))
    return mapped[-1]

  monkeypatch.setattr(parallel, "_pmap", remember)
  train.train_and_evaluate(tiny_dataset.config(folder), tmp_path)

  # In between: the step under frozen statistics, which this run never takes.
  assert [function._cache_size() for function in mapped] == [1, 0, 1]


@pytest.mark.slow
def test_the_compiled_step_updates_its_state_in_place(monkeypatch):
  monkeypatch.setattr(parallel, "_CPU_OPTIONS", parallel._CPU_OPTIONS | QUICKLY)
  state = initial_state(RECIPE)
  batch = parallel.split_over_devices(make_batch(8))

  memory = parallel.make_train_step(RECIPE).lower(state, batch).compile().memory_analysis()

  assert memory.alias_size_in_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(("release", "tuned"), [("0.10.2", True), ("0.99.0", False)])
def test_only_releases_that_know_an_experimental_option_get_it(monkeypatch, release, tuned):
  monkeypatch.setattr(parallel.jaxlib, "__version__", release)
  calls = []
  monkeypatch.setattr(jax, "jit", lambda function, **options: calls.append(options) or function)

  parallel.make_train_step(RECIPE)

  assert [options["compiler_options"] for options in calls] == [parallel._CPU_OPTIONS] * tuned


@pytest.mark.heavy
def test_two_pairs_fit_into_the_memory_that_was_measured():
  """XLA's own count for the program of one device."""
  recipe = paper_recipe(dtype="float32")
  state, batch = state_and_batch(recipe)
  two_pairs = {
    name: jax.ShapeDtypeStruct((1, 2, *shape.shape[2:]), shape.dtype)
    for name, shape in batch.items()
  }
  step = functools.partial(steps.train_step, recipe=recipe)
  mapped = parallel._pmap(
    step, devices=jax.devices()[:1], out_axes=(None, None), donate_argnums=(0,)
  )

  memory = mapped.lower(state, two_pairs).compile().memory_analysis()

  assert memory.temp_size_in_bytes <= 900e6
