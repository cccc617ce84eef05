"""What every network does alike: BatchNorm's options, rematerialisation, bfloat16."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fan_variables import random_variables
from flax import linen as nn
from quick_xla import QUICKLY

from fal_jax.hourglass import FAN
from fal_jax.mobile_unet import MobileUNet

LANDMARKS = 5
# Each with the number of its BatchNorms.
NETWORKS = {
  "fan": (functools.partial(FAN, 2, LANDMARKS, 8, depth=1), 44),
  "mobile_unet": (functools.partial(MobileUNet, LANDMARKS, 8, depth=1, expansion=2), 14),
}


def random_images(count: int) -> np.ndarray:
  """(count, 64, 64, 3) float32 in [0, 1]."""
  return np.random.default_rng(1).uniform(size=(count, 64, 64, 3)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_batch_norm_has_the_options_of_its_network(name):
  make, number = NETWORKS[name]
  options = ("devices", 0.8, 1e-3)
  seen: collections.Counter = collections.Counter()

  def count(call, args, kwargs, context):
    module = context.module
    has_statistics = set(module.variables.get("batch_stats", {})) == {"mean", "var"}
    if has_statistics and context.method_name == "__call__":
      seen[module.axis_name, module.momentum, module.epsilon] += 1
    return call(*args, **kwargs)

  model = make(axis_name=options[0], momentum=options[1], epsilon=options[2])
  variables = random_variables(model, random_images(1))
  with nn.intercept_methods(count):
    jax.eval_shape(functools.partial(model.apply, train=False), variables, random_images(1))
  assert seen == {options: number}


def loss_and_gradients(model: nn.Module, variables: dict) -> tuple:
  """Loss with heatmaps and new statistics, and the gradients, of a step on four images."""

  def loss_of(params):
    heatmaps, state = model.apply(
      {**variables, "params": params}, random_images(4), True, mutable=["batch_stats"]
    )
    target = np.random.default_rng(2).uniform(size=heatmaps.shape).astype(np.float32)
    return ((heatmaps - target) ** 2).sum(), (heatmaps, state)

  evaluate = jax.jit(jax.value_and_grad(loss_of, has_aux=True), compiler_options=QUICKLY)
  return evaluate(variables["params"])


@functools.cache
def plain(name: str) -> tuple:
  """A network's variables, and what `loss_and_gradients` finds for them."""
  model = NETWORKS[name][0]()
  variables = random_variables(model, random_images(1))
  return variables, loss_and_gradients(model, variables)


def relative(found: dict, expected: dict) -> float:
  """Distance of two trees as a fraction of the size of the second."""

  def norm(tree: dict) -> float:
    return np.sqrt(sum(float((a**2).sum()) for a in jax.tree.leaves(tree)))

  return norm(jax.tree.map(lambda a, b: a - b, found, expected)) / norm(expected)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param("fan", marks=pytest.mark.heavy),
    pytest.param("mobile_unet", marks=pytest.mark.slow),
  ],
)
def test_rematerialisation_changes_neither_loss_nor_gradients_nor_statistics(name):
  variables, ((loss, (_, state)), gradients) = plain(name)

  ours = loss_and_gradients(NETWORKS[name][0](remat=True), variables)
  (our_loss, (_, our_state)), our_gradients = ours

  assert float(our_loss) == pytest.approx(float(loss), rel=1e-6)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, our_state, state)
  assert relative(our_gradients, gradients) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_in_bfloat16_results_and_gradients_stay_float32_and_nearly_the_same(name):
  variables, ((loss, (heatmaps, state)), gradients) = plain(name)

  ours = loss_and_gradients(NETWORKS[name][0](dtype=jnp.bfloat16), variables)
  (our_loss, (our_heatmaps, our_state)), our_gradients = ours

  assert {leaf.dtype for leaf in jax.tree.leaves(ours)} == {jnp.dtype("float32")}
  assert 1e-5 < relative(our_heatmaps, heatmaps) < 0.05
  assert float(our_loss) == pytest.approx(float(loss), rel=0.03)
  assert relative(our_state, state) < 0.01
  assert relative(our_gradients, gradients) < 0.3  # of random weights; MobileUNet's are 0.20
  rounded = np.asarray(our_heatmaps).astype(jnp.bfloat16).astype(np.float32)
  assert (rounded != our_heatmaps).mean() > 0.9  # finer than 8 bits
