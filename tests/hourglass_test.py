"""FAN: counts of the published networks, layers against NumPy, what flows where."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fan_variables import PARAMETERS, random_variables
from flax import linen as nn
from flax.traverse_util import flatten_dict

from fal_jax.hourglass import FAN, Hourglass, _Norm

QUICK = {
  (1, 19),
  (1, 29),
  (1, 39),
  (1, 68),
  (2, 98),
  (4, 68),
}  # one of each stacks, one of each mark-up

SIZE, LANDMARKS = 64, 5


def shapes(model: nn.Module, x: np.ndarray) -> dict:
  return jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), x)


def random_images(count: int = 2) -> np.ndarray:
  return np.random.default_rng(1).uniform(size=(count, SIZE, SIZE, 3)).astype(np.float32)


@pytest.mark.parametrize(
  ("stacks", "landmarks"),
  [pytest.param(*key, marks=[] if key in QUICK else pytest.mark.slow) for key in PARAMETERS],
)
def test_the_network_has_exactly_the_tensors_of_the_published_one(stacks, landmarks):
  variables = shapes(FAN(stacks, landmarks), random_images())
  assert (
    sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == PARAMETERS[stacks, landmarks]
  )
  assert (
    sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"]))
    == {1: 14_976, 2: 28_032, 4: 54_144}[stacks]
  )
  assert len(jax.tree.leaves(variables)) == {1: 279, 2: 501, 4: 945}[stacks]


def test_every_batch_norm_of_the_network_shares_its_statistics_over_the_axis():
  axes = collections.Counter()

  def look(call, args, kwargs, context):
    if context.method_name == "__call__" and set(
      context.module.variables.get("batch_stats", {})
    ) == {"mean", "var"}:
      axes[context.module.axis_name] += 1
    return call(*args, **kwargs)

  model = FAN(2, LANDMARKS, 8, axis_name="devices")
  variables = shapes(model, random_images())
  with nn.intercept_methods(look):
    jax.eval_shape(functools.partial(model.apply, train=False), variables, random_images())
  assert axes == {"devices": 98}


@pytest.fixture(scope="module")
def two_stacks():
  """A network of two stacks in evaluation, with the outputs of its stem: a function and variables
  for it.
  """
  model = FAN(2, LANDMARKS, 8)

  @jax.jit
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


def test_heatmaps_have_a_quarter_of_the_side_and_come_once_per_stack(two_stacks):
  apply, variables = two_stacks
  heatmaps, _ = apply(variables, random_images())
  assert heatmaps.shape == (2, 2, SIZE // 4, SIZE // 4, LANDMARKS) and heatmaps.dtype == jnp.float32
  shape = jax.eval_shape(
    functools.partial(FAN(2, LANDMARKS, 8).apply, train=False),
    variables,
    jnp.zeros((3, 128, 192, 3)),
  ).shape
  assert shape == (2, 3, 32, 48, LANDMARKS)


def test_the_first_convolution_is_centred_on_even_pixels_as_with_pytorch_s_padding_of_three(
  two_stacks,
):
  """XLA's own SAME padding would centre it on odd ones: imported weights would then be off by a
  pixel.
  """
  apply, variables = two_stacks
  kernel = np.zeros_like(variables["params"]["conv1"]["kernel"])
  kernel[3, 3, 0] = 1  # copies red
  first = {"kernel": kernel, "bias": np.zeros_like(variables["params"]["conv1"]["bias"])}
  images = random_images()
  _, stem = apply({**variables, "params": {**variables["params"], "conv1": first}}, images)
  np.testing.assert_allclose(
    stem["conv1"], np.broadcast_to(images[:, ::2, ::2, :1], stem["conv1"].shape), atol=1e-6
  )


def test_shifting_the_image_by_four_pixels_shifts_the_stem_s_features_by_one_cell(two_stacks):
  apply, variables = two_stacks
  images = random_images()
  (_, here), (_, there) = (
    apply(variables, images),
    apply(variables, np.roll(images, (4, 4), (1, 2))),
  )
  # The convolutions reach 5.25 cells: what lies 6 cells inside has not seen the border.
  here, there = (np.asarray(stem["conv3"]) for stem in (here, there))
  np.testing.assert_allclose(there[:, 7:10, 7:10], here[:, 6:9, 6:9], atol=1e-5)
  assert np.abs(there - here)[:, 7:10, 7:10].max() > 0.1


def test_later_stacks_do_not_change_the_heatmaps_of_earlier_ones(two_stacks):
  apply, variables = two_stacks
  before, _ = apply(variables, random_images())
  later = ("m1", "top_m_1", "conv_last1", "bn_end1", "l1", "bl0", "al0")
  params = {
    name: jax.tree.map(lambda a: 0.5 * a, p) if name in later else p
    for name, p in variables["params"].items()
  }
  after, _ = apply({**variables, "params": params}, random_images())
  np.testing.assert_array_equal(before[0], after[0])
  assert np.abs(before[1] - after[1]).max() > 1e-3


def test_the_second_stack_sees_the_heatmaps_of_the_first(two_stacks):
  apply, variables = two_stacks
  before, _ = apply(variables, random_images())
  params = {**variables["params"], "l0": jax.tree.map(lambda a: 2 * a, variables["params"]["l0"])}
  after, _ = apply({**variables, "params": params}, random_images())
  np.testing.assert_allclose(after[0], 2 * before[0], rtol=1e-4, atol=1e-5)
  assert np.abs(before[1] - after[1]).max() > 1e-3


def test_images_of_a_batch_do_not_see_each_other_in_evaluation(two_stacks):
  apply, variables = two_stacks
  images = random_images()
  both, _ = apply(variables, images)
  other = np.stack([images[0], np.zeros_like(images[0])])
  alone, _ = apply(variables, other)
  np.testing.assert_allclose(alone[:, 0], both[:, 0], atol=1e-6)


@pytest.mark.parametrize(("pool", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_an_hourglass_adds_its_skip_to_the_enlarged_way_through_the_lower_resolution(pool, reduce):
  model = Hourglass(8, _Norm, depth=1, pool=pool)
  x = np.random.default_rng(0).normal(size=(1, 4, 6, 8)).astype(np.float32)
  variables = random_variables(model, x)

  @jax.jit
  def apply(variables):
    seen = {}

    def look(call, args, kwargs, context):
      result = call(*args, **kwargs)
      if context.method_name == "__call__":
        seen[context.module.name] = (args[0], result)
      return result

    with nn.intercept_methods(look):
      return model.apply(variables, x, False), {
        name: seen[name] for name in ("b1_1", "b2_1", "b2_plus_1", "b3_1")
      }

  result, seen = jax.tree.map(np.asarray, apply(variables))
  np.testing.assert_array_equal(seen["b1_1"][0], x)
  np.testing.assert_allclose(
    seen["b2_1"][0], reduce(x.reshape(1, 2, 2, 3, 2, 8), (2, 4)), atol=1e-6
  )
  np.testing.assert_array_equal(seen["b2_plus_1"][0], seen["b2_1"][1])
  np.testing.assert_array_equal(seen["b3_1"][0], seen["b2_plus_1"][1])
  enlarged = np.repeat(np.repeat(seen["b3_1"][1], 2, 1), 2, 2)
  np.testing.assert_allclose(result, seen["b1_1"][1] + enlarged, atol=1e-6)


@pytest.mark.parametrize(
  ("pool", "operation"), [("avg", "reduce_window_sum"), ("max", "reduce_window_max")]
)
def test_stem_and_hourglasses_pool_alike(pool, operation):
  model = FAN(1, LANDMARKS, 8, pool=pool)
  images = random_images()
  program = str(
    jax.make_jaxpr(lambda variables: model.apply(variables, images, False))(
      random_variables(model, images)
    )
  )
  assert (
    program.count("= reduce_window") == program.count(f"= {operation}[") == 5
  )  # one in the stem, four in the hourglass


@pytest.fixture(scope="module")
def training():
  """A pass forwards and backwards through two flat stacks: variables before, updated statistics,
  input of bn1, gradients.
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

  # Compiled for the compiler's time, not for speed: it runs once.
  quickly = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
  gradients, state = jax.jit(jax.grad(loss_of, has_aux=True), compiler_options=quickly)(
    variables["params"]
  )
  return variables, state["batch_stats"], state["intermediates"]["conv1"]["__call__"][0], gradients


def test_running_statistics_keep_the_share_called_momentum_and_take_the_rest_from_the_batch(
  training,
):
  assert FAN().momentum == 0.9  # PyTorch's default, from the other side
  variables, updated, x, _ = training
  old, new = variables["batch_stats"]["bn1"], updated["bn1"]
  np.testing.assert_allclose(
    new["mean"], 0.8 * old["mean"] + 0.2 * np.mean(x, (0, 1, 2)), atol=1e-5
  )
  np.testing.assert_allclose(new["var"], 0.8 * old["var"] + 0.2 * np.var(x, (0, 1, 2)), atol=1e-5)


def test_all_running_statistics_are_updated(training):
  variables, updated, _, _ = training
  before, after = flatten_dict(variables["batch_stats"]), flatten_dict(updated)
  assert before.keys() == after.keys()
  assert not [name for name in before if np.allclose(before[name], after[name], atol=1e-7)]


def test_the_gradient_reaches_every_parameter(training):
  gradients = flatten_dict(training[-1])
  assert all(np.isfinite(gradient).all() for gradient in gradients.values())
  norms = {name: float(np.linalg.norm(gradient)) for name, gradient in gradients.items()}
  # These biases shift whole channels, which the next BatchNorm on every way takes out again:
  # rounding is not let in.
  cancelled = {(name, "bias") for name in ("conv1", "conv_last0", "conv_last1", "al0", "bl0")}
  assert (
    {name for name, norm in norms.items() if norm < 1e-3}
    == {name for name, norm in norms.items() if norm == 0}
    == cancelled
  )


def loss_and_gradients(model: FAN, variables: dict) -> tuple:
  target = (
    np.random.default_rng(2)
    .uniform(size=(2, 4, SIZE // 4, SIZE // 4, LANDMARKS))
    .astype(np.float32)
  )

  def loss_of(params):
    heatmaps, state = model.apply(
      {**variables, "params": params}, random_images(4), True, mutable=["batch_stats"]
    )
    return ((heatmaps - target) ** 2).sum(), (heatmaps, state)

  quickly = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
  return jax.jit(jax.value_and_grad(loss_of, has_aux=True), compiler_options=quickly)(
    variables["params"]
  )


@pytest.fixture(scope="module")
def plain():
  variables = random_variables(FAN(2, LANDMARKS, 8, depth=1), random_images())
  return variables, loss_and_gradients(FAN(2, LANDMARKS, 8, depth=1), variables)


def relative(found: dict, expected: dict) -> float:
  apart, size = (
    np.sqrt(sum(float((a**2).sum()) for a in jax.tree.leaves(tree)))
    for tree in (jax.tree.map(lambda a, b: a - b, found, expected), expected)
  )
  return apart / size


@pytest.mark.slow
def test_rematerialisation_changes_neither_loss_nor_gradients_nor_statistics(plain):
  variables, ((loss, (_, state)), gradients) = plain
  (our_loss, (_, our_state)), our_gradients = loss_and_gradients(
    FAN(2, LANDMARKS, 8, depth=1, remat=True), variables
  )
  assert float(our_loss) == pytest.approx(float(loss), rel=1e-6)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), our_state, state
  )
  assert relative(our_gradients, gradients) < 1e-3


@pytest.mark.slow
def test_in_bfloat16_heatmaps_weights_and_statistics_stay_float32_and_everything_comes_out_nearly_the_same(
  plain,
):
  variables, ((loss, (heatmaps, state)), gradients) = plain
  model = FAN(2, LANDMARKS, 8, depth=1, dtype=jnp.bfloat16)
  (our_loss, (our_heatmaps, our_state)), our_gradients = loss_and_gradients(model, variables)
  assert {
    leaf.dtype for leaf in jax.tree.leaves((our_loss, our_heatmaps, our_state, our_gradients))
  } == {jnp.dtype("float32")}
  assert 1e-5 < relative(our_heatmaps, heatmaps) < 0.03
  assert float(our_loss) == pytest.approx(float(loss), rel=0.03)
  assert relative(our_state, state) < 0.01
  assert relative(our_gradients, gradients) < 0.2
  fine = np.asarray(our_heatmaps)
  assert (fine.astype(jnp.bfloat16).astype(np.float32) != fine).mean() > 0.9  # finer than 8 bits
