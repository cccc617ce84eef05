"""The counts by hand, compared with XLA's own and with published numbers."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fal_jax import build, steps
from fal_jax.bench import flops


def make_config(name, **changes):
  config = importlib.import_module(f"configs.{name}").get_config().unlock()
  config.update_from_flattened_dict(
    {key.replace("__", "."): value for key, value in changes.items()}
  )
  return config.lock()


def forward_by_xla(config) -> float:
  """FLOPs of the network on one image, before XLA rewrites anything."""
  model = build.network(config)
  image = jax.ShapeDtypeStruct((1, config.crop.size, config.crop.size, 3), jnp.float32)
  variables = jax.eval_shape(lambda image: model.init(jax.random.key(0), image, False), image)
  forward = jax.jit(lambda variables, image: model.apply(variables, image, False))
  return forward.lower(variables, image).cost_analysis()["flops"]


@pytest.mark.parametrize(
  ("name", "forward", "pair"), [("wflw", 28.04, 168.2), ("w300", 27.85, 167.1)]
)
def test_the_counts_for_the_papers_network(name, forward, pair):
  assert flops.forward(make_config(name)) / 1e9 == pytest.approx(forward, abs=0.005)
  assert flops.train_step(make_config(name)) / 1e9 == pytest.approx(pair, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
  "changes",
  [
    {"model__num_stacks": 1},
    {"model__num_stacks": 3, "model__depth": 2},
    {"model__num_stacks": 1, "model__features": 128, "crop__size": 192, "data__markup": 29},
  ],
)
def test_xla_counts_as_many_in_the_forward_pass(changes):
  """XLA adds the work between convolutions, and leaves out taps outside the image."""
  config = make_config("wflw", **changes)
  assert forward_by_xla(config) / flops.forward(config) == pytest.approx(1, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
  "changes", [{}, {"model__features": 64, "model__depth": 2, "model__expansion": 6}]
)
def test_xla_counts_as_many_in_the_forward_pass_of_mobile_unet(changes):
  """Its convolutions are narrow, so the work between them is a tenth of theirs."""
  config = make_config("w300_mobile", **changes)
  assert 1 < forward_by_xla(config) / flops.forward(config) < 1.15


@pytest.mark.heavy
def test_xla_counts_as_many_in_a_training_step():
  config = make_config("wflw")
  recipe = build.setup(config).recipe(steps_per_epoch=100)
  state = jax.eval_shape(lambda: steps.init_state(jax.random.key(0), recipe))
  stored = config.crop.stored_size
  batch = {
    "image": jax.ShapeDtypeStruct((1, 1, stored, stored, 3), jnp.uint8),
    "landmarks": jax.ShapeDtypeStruct((1, 1, 98, 2), jnp.float32),
    "index": jax.ShapeDtypeStruct((1, 1), jnp.int32),
  }

  step = functools.partial(steps.train_step, recipe=recipe)
  step = jax.vmap(step, (None, 0), axis_name=steps.DEVICES)
  cost = jax.jit(step).lower(state, batch).cost_analysis()

  assert cost["flops"] / flops.train_step(config) == pytest.approx(1, abs=0.05)


def test_an_additional_view_costs_one_forward_and_backward_pass_more():
  two, three = (flops.train_step(make_config("wflw", siamese__num_views=views)) for views in (2, 3))
  assert three / two == pytest.approx(1.5)


def test_bytes_are_those_of_the_arrays():
  config = make_config("wflw")
  heatmaps = np.zeros((64, 64, 98), np.float32)

  assert flops.encode(config)[1] == flops.decode(config)[1] == heatmaps.nbytes
  assert flops.warp(config)[1] == 2 * 2 * 2 * heatmaps.nbytes  # stacks, views, read and written
  assert flops.warp_with_gradient(config) == tuple(2 * number for number in flops.warp(config))
