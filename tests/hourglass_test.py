"""FAN: counts of the published networks, layers against NumPy, what flows where."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fan_variables import PARAMETERS, random_variables
from flax import linen as nn
from flax.traverse_util import flatten_dict
from quick_xla import QUICKLY

from fal_jax.hourglass import FAN, Hourglass
from fal_jax.ops.layers import Norm

# One of each number of stacks.

SIZE, LANDMARKS = 64, 5


def shapes(model: nn.Module, x: np.ndarray) -> dict:
  """The tree of a model's variables, as `jax.ShapeDtypeStruct`."""
  return jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), x)


def random_images(count: int = 2) -> np.ndarray:
  """(count, SIZE, SIZE, 3) float32 in [0, 1]."""
  return np.random.default_rng(1).uniform(size=(count, SIZE, SIZE, 3)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("stacks", "landmarks"), PARAMETERS)
def test_the_network_has_exactly_the_tensors_of_the_published_one(stacks, landmarks):
  variables = shapes(FAN(stacks, landmarks), random_images())

  params, batch_stats = (
    sum(leaf.size for leaf in jax.tree.leaves(variables[name]))
    for name in ("params", "batch_stats")
  )
  assert params == PARAMETERS[stacks, landmarks]
  assert batch_stats == {1: 14_976, 2: 28_032, 4: 54_144}[stacks]
  assert len(jax.tree.leaves(variables)) == {1: 279, 2: 501, 4: 945}[stacks]


@pytest.fixture(scope="module")
def two_stacks():
  """A network of two flat stacks in evaluation: a function and variables for it.

  The function gives the heatmaps and the outputs of the stem.
  """
  model = FAN(2, LANDMARKS, 8, depth=1)

  @functools.partial(jax.jit, compiler_options=QUICKLY)
  def apply(variables, images):
    heatmaps, state = model.apply(
      variables,
      images,
      False,
      mutable=["intermediates"],
      capture_intermediates=lambda module, _: module.path in (("conv1",), ("conv3",)),
    )
    return heatmaps, {name: value["__call__"][0] for name, value in state["intermediates"].items()}

  return apply, random_variables(model, random_images())


@pytest.mark.slow
def test_heatmaps_have_a_quarter_of_the_side_and_come_once_per_stack(two_stacks):
  apply, variables = two_stacks
  heatmaps, _ = apply(variables, random_images())
  assert heatmaps.shape == (2, 2, SIZE // 4, SIZE // 4, LANDMARKS)
  assert heatmaps.dtype == jnp.float32

  oblong = jnp.zeros((3, 128, 192, 3))
  predict = functools.partial(FAN(2, LANDMARKS, 8, depth=1).apply, train=False)
  assert jax.eval_shape(predict, variables, oblong).shape == (2, 3, 32, 48, LANDMARKS)


@pytest.mark.slow
def test_the_first_convolution_is_centred_on_even_pixels_as_in_pytorch(two_stacks):
  """XLA's SAME padding would centre it on odd ones: imported weights would be off by a pixel."""
  apply, variables = two_stacks
  kernel = np.zeros_like(variables["params"]["conv1"]["kernel"])
  kernel[3, 3, 0] = 1  # copies red
  first = {"kernel": kernel, "bias": np.zeros_like(variables["params"]["conv1"]["bias"])}
  images = random_images()

  _, stem = apply({**variables, "params": {**variables["params"], "conv1": first}}, images)

  red = np.broadcast_to(images[:, ::2, ::2, :1], stem["conv1"].shape)
  np.testing.assert_allclose(stem["conv1"], red, atol=1e-6)


def test_shifting_the_image_by_four_pixels_shifts_the_stem_s_features_by_one_cell(two_stacks):
  apply, variables = two_stacks
  images = random_images()

  here, there = (
    np.asarray(apply(variables, shifted)[1]["conv3"])
    for shifted in (images, np.roll(images, (4, 4), (1, 2)))
  )

  # The convolutions reach 5.25 cells: what lies 6 cells inside has not seen the border.
  np.testing.assert_allclose(there[:, 7:10, 7:10], here[:, 6:9, 6:9], atol=1e-5)
  assert np.abs(there - here)[:, 7:10, 7:10].max() > 0.1


def test_later_stacks_do_not_change_the_heatmaps_of_earlier_ones(two_stacks):
  apply, variables = two_stacks
  before, _ = apply(variables, random_images())
  later = ("m1", "top_m_1", "conv_last1", "bn_end1", "l1", "bl0", "al0")
  halved = {name: jax.tree.map(lambda a: 0.5 * a, variables["params"][name]) for name in later}

  after, _ = apply({**variables, "params": {**variables["params"], **halved}}, random_images())

  np.testing.assert_array_equal(before[0], after[0])
  assert np.abs(before[1] - after[1]).max() > 1e-3


def test_the_second_stack_sees_the_heatmaps_of_the_first(two_stacks):
  apply, variables = two_stacks
  before, _ = apply(variables, random_images())
  doubled = {"l0": jax.tree.map(lambda a: 2 * a, variables["params"]["l0"])}

  after, _ = apply({**variables, "params": {**variables["params"], **doubled}}, random_images())

  np.testing.assert_allclose(after[0], 2 * before[0], rtol=1e-4, atol=1e-5)
  assert np.abs(before[1] - after[1]).max() > 1e-3


def test_images_of_a_batch_do_not_see_each_other_in_evaluation(two_stacks):
  apply, variables = two_stacks
  images = random_images()
  both, _ = apply(variables, images)
  alone, _ = apply(variables, np.stack([images[0], np.zeros_like(images[0])]))
  np.testing.assert_allclose(alone[:, 0], both[:, 0], atol=1e-6)


@pytest.mark.parametrize(("pool", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_an_hourglass_adds_its_skip_to_the_upsampled_lower_resolution(pool, reduce):
  model = Hourglass(8, Norm, depth=1, pool=pool)
  x = np.random.default_rng(0).normal(size=(1, 4, 6, 8)).astype(np.float32)
  variables = random_variables(model, x)

  @functools.partial(jax.jit, compiler_options=QUICKLY)
  def apply(variables):
    inputs, outputs = {}, {}

    def record(call, args, kwargs, context):
      result = call(*args, **kwargs)
      name = context.module.name
      if context.method_name == "__call__" and name in ("b1_1", "b2_1", "b2_plus_1", "b3_1"):
        inputs[name], outputs[name] = args[0], result
      return result

    with nn.intercept_methods(record):
      return model.apply(variables, x, False), inputs, outputs

  result, inputs, outputs = jax.tree.map(np.asarray, apply(variables))

  # The skip connection.
  np.testing.assert_array_equal(inputs["b1_1"], x)

  # Down, through two blocks, and up.
  pooled = reduce(x.reshape(1, 2, 2, 3, 2, 8), (2, 4))
  np.testing.assert_allclose(inputs["b2_1"], pooled, atol=1e-6)
  np.testing.assert_array_equal(inputs["b2_plus_1"], outputs["b2_1"])
  np.testing.assert_array_equal(inputs["b3_1"], outputs["b2_plus_1"])

  upsampled = np.repeat(np.repeat(outputs["b3_1"], 2, 1), 2, 2)
  np.testing.assert_allclose(result, outputs["b1_1"] + upsampled, atol=1e-6)


@pytest.mark.parametrize(
  ("pool", "operation"), [("avg", "reduce_window_sum"), ("max", "reduce_window_max")]
)
def test_stem_and_hourglasses_pool_alike(pool, operation):
  model = FAN(1, LANDMARKS, 8, pool=pool)
  images = random_images()
  trace = jax.make_jaxpr(lambda variables: model.apply(variables, images, False))

  program = str(trace(random_variables(model, images)))

  # One in the stem, four in the hourglass.
  assert program.count("= reduce_window") == program.count(f"= {operation}[") == 5


@pytest.fixture(scope="module")
def training():
  """A forward and a backward pass through two flat stacks.

  Gives the variables before, the updated statistics, the input of bn1 and the gradients.
  """
  model = FAN(2, LANDMARKS, 8, depth=1, momentum=0.8)
  variables = random_variables(model, random_images())

  def loss_of(params):
    heatmaps, state = model.apply(
      {**variables, "params": params},
      random_images(4),
      True,
      mutable=["batch_stats", "intermediates"],
      capture_intermediates=lambda module, _: module.path == ("conv1",),
    )
    return (heatmaps**2).sum(), state

  gradient_of = jax.jit(jax.grad(loss_of, has_aux=True), compiler_options=QUICKLY)
  gradients, state = gradient_of(variables["params"])
  return variables, state["batch_stats"], state["intermediates"]["conv1"]["__call__"][0], gradients


@pytest.mark.slow
def test_running_statistics_keep_a_fraction_called_momentum_of_themselves(training):
  assert FAN().momentum == 0.9  # PyTorch's default, from the other side
  variables, updated, x, _ = training
  old, new = variables["batch_stats"]["bn1"], updated["bn1"]
  mean = 0.8 * old["mean"] + 0.2 * np.mean(x, (0, 1, 2))
  variance = 0.8 * old["var"] + 0.2 * np.var(x, (0, 1, 2))
  np.testing.assert_allclose(new["mean"], mean, atol=1e-5)
  np.testing.assert_allclose(new["var"], variance, atol=1e-5)


@pytest.mark.slow
def test_all_running_statistics_are_updated(training):
  variables, updated, _, _ = training
  before, after = flatten_dict(variables["batch_stats"]), flatten_dict(updated)
  assert before.keys() == after.keys()
  assert not [name for name in before if np.allclose(before[name], after[name], atol=1e-7)]


@pytest.mark.slow
def test_the_gradient_reaches_every_parameter(training):
  gradients = flatten_dict(training[-1])
  assert all(np.isfinite(gradient).all() for gradient in gradients.values())
  norms = {name: float(np.linalg.norm(gradient)) for name, gradient in gradients.items()}

  # These biases shift whole channels, which the next BatchNorm on every path cancels: they get no
  # gradient at all, not even its rounding error.
  cancelled = {(name, "bias") for name in ("conv1", "conv_last0", "conv_last1", "al0", "bl0")}
  assert {name for name, norm in norms.items() if norm < 1e-3} == cancelled
  assert {name for name, norm in norms.items() if norm == 0} == cancelled
