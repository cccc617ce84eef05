"""What the speed of a training step rests on, read off its program and not off a clock: work,
memory, messages, compilations.
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
from steps_test import QUICKLY, RECIPE, initial_state, make_batch

from configs import default
from fal_jax import build, parallel, steps, train
from fal_jax.hourglass import FAN

# floating-point operations of FAN-2 on two views, K = 98: convolutions counted by hand, three times
# for training
PAIR = 168.2e9
MEBIBYTE = 2**20
COLLECTIVES = (
  "all_reduce|all_gather|all_to_all|reduce_scatter|collective_permute|collective_broadcast"
)


def paper_recipe(**model) -> steps.Recipe:
  config = default.get_config().unlock()
  config.data.markup = 98
  config.model.update(model)
  return build.setup(config).recipe(steps_per_epoch=100)


def state_and_batch(recipe: steps.Recipe) -> tuple:
  """Shapes of one pair on each of the fake devices."""
  state = jax.eval_shape(lambda: steps.init_state(jax.random.key(0), recipe))
  count, side, landmarks = jax.device_count(), recipe.crop.stored_size, len(recipe.flip)
  batch = {
    "image": jax.ShapeDtypeStruct((count, 1, side, side, 3), np.uint8),
    "landmarks": jax.ShapeDtypeStruct((count, 1, landmarks, 2), np.float32),
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


def test_a_step_does_the_work_of_its_convolutions_and_next_to_nothing_else():
  assert lowered(dtype="float32").cost_analysis()["flops"] == pytest.approx(PAIR, rel=0.05)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_scatters_nothing(dtype):
  """Neither warps nor exchanged channels: sums of scattered parts are slow, and on GPU come out
  another way every time.
  """
  assert "stablehlo.gather" in program(dtype=dtype)
  assert "stablehlo.scatter" not in program(dtype=dtype)


def test_the_state_is_given_to_the_step_to_the_last_byte():
  state, _ = state_and_batch(paper_recipe())
  taken_over = re.findall(
    r"%arg\d+: tensor<([^>]*)> [^%]*?(?:tf\.aliasing_output|jax\.buffer_donor)",
    program(dtype="float32"),
  )
  assert sum(map(size_of, taken_over)) == sum(
    leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)
  )


def messages(text: str) -> collections.Counter:
  """What is exchanged between devices, by kind and type."""
  named = set(re.findall(rf"stablehlo\.({COLLECTIVES})\b", text))
  assert named <= {"all_reduce"}
  types = re.findall(r'"stablehlo\.all_reduce".*?\}\) : \(tensor<([^>]*)>\) ->', text, re.DOTALL)
  assert len(types) == len(re.findall(r"stablehlo\.all_reduce\b", text))
  return collections.Counter(types)


@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True])
def test_devices_exchange_the_gradient_once_and_beside_it_statistics_only(remat):
  state, _ = state_and_batch(paper_recipe())
  found = messages(program(dtype="bfloat16", remat=remat))
  weights, running = (
    sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (state.params, state.batch_stats)
  )
  # The gradient; the running statistics; the loss; the number of annotated landmarks.
  whole_step = [f"{weights}xf32", f"{running}xf32", "f32", "i32"]
  assert {kind: found.pop(kind) for kind in whole_step} == dict.fromkeys(whole_step, 1)
  # Every BatchNorm two numbers a channel on the way there and two on the way back.
  layers = collections.Counter(f"2x{leaf.size}xf32" for leaf in jax.tree.leaves(state.batch_stats))
  assert found == layers and found.total() == 2 * 98


@pytest.mark.slow
def test_devices_with_statistics_of_their_own_exchange_nothing_in_the_network():
  found = messages(program(dtype="bfloat16", sync_batch_norm=False))
  assert sorted(found.values()) == [1, 1, 1, 1], (
    "the gradient, the running statistics, the loss, the number of landmarks"
  )


def test_in_bfloat16_no_convolution_and_no_matrix_product_reads_float32():
  text = program(dtype="bfloat16")
  pairs = re.findall(
    r"stablehlo\.(?:convolution\(|dot_general ).*?: \(tensor<[^>]*x(\w+)>, tensor<[^>]*x(\w+)>\)",
    text,
  )
  assert (
    len(pairs) == text.count("stablehlo.convolution(") + text.count("stablehlo.dot_general ") > 300
  )
  assert set(pairs) == {("bf16", "bf16")}
  assert "bf16" not in program(dtype="float32")


def kept_per_view(model: FAN) -> float:
  """MiB that the way there keeps for the way back, for one image more."""
  variables = jax.eval_shape(
    lambda: model.init(jax.random.key(0), jnp.zeros((1, 256, 256, 3)), False)
  )

  def kept(count: int) -> int:
    def there(params):
      apply = functools.partial(model.apply, mutable=["batch_stats"])
      images = jnp.zeros((count, 256, 256, 3))
      return jax.vjp(lambda params: apply({**variables, "params": params}, images, True), params)[1]

    with_statistics = jax.eval_shape(there, variables["params"])
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(with_statistics))

  # Statistics as arrays, not as shapes: they are multiplied.
  variables = {
    **variables,
    "batch_stats": jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), variables["batch_stats"]),
  }
  return (kept(2) - kept(1)) / MEBIBYTE


@pytest.mark.slow
def test_a_view_keeps_little_for_its_way_back_in_bfloat16_and_less_with_rematerialisation():
  plain, remat = (
    kept_per_view(FAN(2, 98, dtype=jnp.bfloat16, remat=remat)) for remat in (False, True)
  )
  print(f"kept per view: {plain:.0f} MiB, with remat {remat:.0f} MiB")
  assert plain <= 110
  assert remat < 0.6 * plain


@pytest.mark.slow
def test_an_epoch_and_its_evaluations_compile_one_training_step_and_one_prediction(
  tmp_path, folder, monkeypatch
):
  mapped = []

  def remember(*args, _pmap=parallel._pmap, **options):
    mapped.append(_pmap(*args, **options))
    return mapped[-1]

  monkeypatch.setattr(parallel, "_pmap", remember)
  train.train_and_evaluate(tiny_dataset.config(folder), tmp_path)
  assert [function._cache_size() for function in mapped] == [1, 1]


@pytest.mark.slow
def test_the_compiled_step_updates_its_state_in_place(monkeypatch):
  monkeypatch.setattr(parallel, "_CPU_OPTIONS", parallel._CPU_OPTIONS | QUICKLY)
  state, batch = initial_state(RECIPE), parallel.split_over_devices(make_batch(8))
  memory = parallel.make_train_step(RECIPE).lower(state, batch).compile().memory_analysis()
  assert memory.alias_size_in_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(("release", "tuned"), [("0.10.2", True), ("0.99.0", False)])
def test_the_compiler_s_experimental_option_is_given_to_releases_that_know_it_and_to_no_other(
  monkeypatch, release, tuned
):
  monkeypatch.setattr(parallel.jaxlib, "__version__", release)
  given = []
  monkeypatch.setattr(jax, "jit", lambda function, **options: given.append(options) or function)
  parallel.make_train_step(RECIPE)
  assert [options["compiler_options"] for options in given] == [parallel._CPU_OPTIONS] * tuned


@pytest.mark.slow
def test_two_pairs_fit_into_the_memory_that_was_measured():
  """XLA's own count for the program of one device."""
  recipe = paper_recipe(dtype="float32")
  state, batch = state_and_batch(recipe)
  one = {
    name: jax.ShapeDtypeStruct((1, 2, *shape.shape[2:]), shape.dtype)
    for name, shape in batch.items()
  }
  step = functools.partial(steps.train_step, recipe=recipe)
  mapped = parallel._pmap(
    step, devices=jax.devices()[:1], out_axes=(None, None), donate_argnums=(0,)
  )
  assert mapped.lower(state, one).compile().memory_analysis().temp_size_in_bytes <= 900e6
