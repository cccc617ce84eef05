"""The PyTorch that the bench runs beside ours does the same work: same weights and views in, same
loss and positions out.
"""

from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_dataset

from fal_jax import affine, build, heatmap, steps, torch_import

torch = pytest.importorskip("torch", reason="no PyTorch here to compare with: pip install torch")
peer = pytest.importorskip("fal_jax.torch_peer")


def config(**changes):
  return tiny_dataset.config(Path("nowhere"), **changes)


@pytest.mark.parametrize(
  ("stacks", "pool", "reduce"),
  [pytest.param(2, "avg", "mean", marks=pytest.mark.slow), (1, "max", "sum")],
)
def test_loss_of_a_training_step_is_ours(stacks, pool, reduce):
  c = config(model__num_stacks=stacks, model__pool=pool, siamese__reduce=reduce)
  recipe = build.setup(c).recipe(steps_per_epoch=10)
  rng = np.random.default_rng(0)
  batch = {
    "image": rng.integers(0, 255, (3, c.crop.stored_size, c.crop.stored_size, 3)).astype(np.uint8),
    "landmarks": rng.uniform(5, c.crop.size - 5, (3, c.data.markup, 2)).astype(np.float32),
    "index": np.arange(3, dtype=np.int32),
  }
  variables = build.network(c).init(jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32), False)
  # On an axis of one "device" that is none, a step is an ordinary function.
  step = jax.vmap(
    lambda state, batch: steps.train_step(state, batch, recipe=recipe),
    (None, 0),
    axis_name=steps.DEVICES,
  )
  _, metrics = jax.jit(step)(
    steps.first_state(variables, recipe), jax.tree.map(lambda array: array[None], batch)
  )
  ours = float(metrics["loss"][0])

  drawn = steps.sample_views(recipe, np.int32(0), batch["index"])
  assert drawn.mirrored.any() and not drawn.mirrored.all()
  views = {
    name: np.asarray(getattr(drawn, name)) for name in ("view_from_crop", "mirrored", "colour")
  }
  network = peer.FAN(c)
  network.load_state_dict(torch_import.to_torch_state_dict(variables), strict=False)
  network.train()
  value = peer.peer_loss(c, batch, views, "cpu")(network)
  assert value.item() == pytest.approx(ours, rel=2e-4)

  take = peer.train_step(c, network, peer.peer_loss(c, batch, views, "cpu"), compiled=False)
  assert take() > take() > 0, "a second step on the same images has learnt nothing"


def test_a_sampled_batch_is_our_warp():
  rng = np.random.default_rng(1)
  maps = affine.similarity(
    angle=rng.uniform(-0.5, 0.5, 4),
    scale=rng.uniform(0.85, 1.15, 4),
    src_centre=np.full((4, 2), 10.0),
    dst_centre=np.full((4, 2), 8.0),
  )
  images = rng.normal(size=(4, 21, 21, 3)).astype(np.float32)
  expected = jax.vmap(lambda image, m: affine.warp(image, m, (17, 17)))(
    images, maps.astype(np.float32)
  )
  theta = peer.theta(affine.invert(maps), source=21, result=17, device="cpu")
  found = (
    peer.sample(torch.from_numpy(images).permute(0, 3, 1, 2), theta, 17).permute(0, 2, 3, 1).numpy()
  )
  np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("how", ["decode", "decode_one_by_one"])
def test_it_decodes_to_our_positions_at_the_border_too(how):
  codec = heatmap.HeatmapCodec(size=16)
  points = np.random.default_rng(2).uniform(-1, 64, (3, 7, 2)).astype(np.float32)
  heatmaps = np.asarray(codec.encode(points))
  found = getattr(peer, how)(
    torch.from_numpy(np.array(heatmaps)).permute(0, 3, 1, 2), codec.window, codec.temperature
  )
  np.testing.assert_allclose(found.numpy(), codec.decode(heatmaps)[0], atol=1e-3)
