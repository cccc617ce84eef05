"""The PyTorch that the bench runs beside ours does the same work.

With the same weights and views it gives the same loss, and from the same heatmaps the same
positions.
"""

import importlib
from pathlib import Path

import compiled
import jax
import numpy as np
import pytest
import tiny_dataset
from quick_xla import QUICKLY
from step_fixtures import initial_state, views_of

from fal_jax import affine, build, heatmap, steps
from fal_jax.torch_import import state_dict


@pytest.fixture(scope="module")
def torch():
  """The module; importing it takes seconds, also where no test of this file is to run."""
  return pytest.importorskip("torch", reason="no PyTorch here to compare with: pip install torch")


@pytest.fixture(scope="module")
def torch_reference(torch):
  """`fal_jax.bench.torch_reference`, which needs PyTorch."""
  return importlib.import_module("fal_jax.bench.torch_reference")


@pytest.mark.parametrize(
  ("stacks", "pool", "reduce", "colour_mode"),
  [
    pytest.param(2, "avg", "mean", "photometric", marks=pytest.mark.heavy),
    pytest.param(1, "max", "sum", "channel_gain", marks=pytest.mark.slow),
  ],
)
def test_loss_of_a_training_step_is_ours(torch_reference, stacks, pool, reduce, colour_mode):
  config = tiny_dataset.config(
    Path("nowhere"),
    model__num_stacks=stacks,
    model__pool=pool,
    siamese__reduce=reduce,
    augment__colour_mode=colour_mode,
  )
  recipe = build.setup(config).recipe(steps_per_epoch=10)
  size, stored = config.crop.size, config.crop.stored_size
  rng = np.random.default_rng(0)
  batch = {
    "image": rng.integers(0, 255, (3, stored, stored, 3)).astype(np.uint8),
    "landmarks": rng.uniform(5, size - 5, (3, config.data.markup, 2)).astype(np.float32),
    "index": np.arange(3, dtype=np.int32),
  }
  state = initial_state(recipe)
  variables = state.variables

  # Ours. Over an axis of length one instead of devices, a step is an ordinary function.
  def train_step(state, batch):
    return steps.train_step(state, batch, recipe=recipe)

  step = jax.vmap(train_step, (None, 0), axis_name=steps.DEVICES)
  step = jax.jit(step, compiler_options=QUICKLY)
  _, metrics = step(state, jax.tree.map(lambda array: array[None], batch))
  ours = float(metrics["loss"][0])

  # PyTorch's.
  sampled = views_of(recipe, 0, batch["index"])
  assert sampled.mirrored.any() and not sampled.mirrored.all()
  names = ("view_from_crop", "mirrored", "colour")
  views = {name: np.asarray(getattr(sampled, name)) for name in names}
  network = torch_reference.FAN(config)
  network.load_state_dict(state_dict.to_torch_state_dict(variables), strict=False)
  network.train()
  loss = torch_reference.training_loss(config, batch, views, "cpu")

  assert loss(network).item() == pytest.approx(ours, rel=2e-4)
  take_step = torch_reference.train_step(config, network, loss, compiled=False)
  assert take_step() > take_step() > 0, "the second step on the same images has learnt nothing"


@pytest.mark.slow
def test_a_sampled_batch_is_our_warp(torch, torch_reference):
  rng = np.random.default_rng(1)
  maps = affine.similarity(
    angle=rng.uniform(-0.5, 0.5, 4),
    scale=rng.uniform(0.85, 1.15, 4),
    src_centre=np.full((4, 2), 10.0),
    dst_centre=np.full((4, 2), 8.0),
  )
  images = rng.normal(size=(4, 21, 21, 3)).astype(np.float32)

  warp = jax.vmap(lambda image, dst_from_src: affine.warp(image, dst_from_src, (17, 17)))
  expected = jax.jit(warp, compiler_options=QUICKLY)(images, maps.astype(np.float32))

  theta = torch_reference.theta(affine.invert(maps), source=21, result=17, device="cpu")
  sampled = torch_reference.sample(torch.from_numpy(images).permute(0, 3, 1, 2), theta, 17)
  np.testing.assert_allclose(sampled.permute(0, 2, 3, 1).numpy(), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decode", "decode_one_by_one"])
def test_it_decodes_to_our_positions_also_at_the_border(torch, torch_reference, name):
  codec = heatmap.HeatmapCodec(size=16)
  landmarks = np.random.default_rng(2).uniform(-1, 64, (3, 7, 2)).astype(np.float32)
  heatmaps = np.array(compiled.encode(codec, landmarks))

  decode = getattr(torch_reference, name)
  channels_first = torch.from_numpy(heatmaps).permute(0, 3, 1, 2)
  decoded = decode(channels_first, codec.window, codec.temperature)

  np.testing.assert_allclose(decoded.numpy(), compiled.decode(codec, heatmaps)[0], atol=1e-3)
