"""MobileUNet: what flows where, and that its pixel centres are those of the codec.

What it computes is compared with an independent statement in `export/onnx_model_test.py`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fan_variables import random_variables
from flax.traverse_util import flatten_dict
from quick_xla import QUICKLY

from fal_jax.mobile_unet import MobileUNet

SIZE, LANDMARKS = 64, 5
SMALL = {"num_landmarks": LANDMARKS, "features": 8, "depth": 2, "expansion": 2}


def random_images(count: int = 2) -> np.ndarray:
  """(count, SIZE, SIZE, 3) float32 in [0, 1]."""
  return np.random.default_rng(1).uniform(size=(count, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
  """A network in evaluation: a function and variables for it.

  The function gives the heatmaps (B, H, W, K) and the output of the stem.
  """
  model = MobileUNet(**SMALL)

  @functools.partial(jax.jit, compiler_options=QUICKLY)
  def apply(variables, images):
    heatmaps, state = model.apply(
      variables,
      images,
      False,
      mutable=["intermediates"],
      capture_intermediates=lambda module, _: module.path == ("stem_down",),
    )
    return heatmaps[-1], state["intermediates"]["stem_down"]["__call__"][0]

  return apply, random_variables(model, random_images())


def mirrored(variables: dict, axis: int) -> dict:
  """The same network with every kernel mirrored along rows (0) or columns (1)."""
  return jax.tree.map(lambda leaf: np.flip(leaf, axis) if leaf.ndim == 4 else leaf, variables)


def test_heatmaps_have_a_quarter_of_the_side_and_come_once():
  model = MobileUNet(**SMALL)
  predict = functools.partial(model.apply, train=False)
  variables = random_variables(model, random_images())

  heatmaps = jax.eval_shape(predict, variables, jnp.zeros((3, 128, 192, 3)))

  assert heatmaps.shape == (1, 3, 32, 48, LANDMARKS)
  assert heatmaps.dtype == jnp.float32
  assert (model.stride, model.size_multiple) == (4, 16)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_mirrored_network_gives_the_mirrored_heatmaps_of_a_mirrored_image(network, axis):
  """So no layer moves anything off the centres of its pixels: a shift would change its sign."""
  apply, variables = network
  images = random_images()

  heatmaps, _ = apply(variables, images)
  there, _ = apply(mirrored(variables, axis), np.flip(images, 1 + axis))

  np.testing.assert_allclose(np.flip(there, 1 + axis), heatmaps, atol=2e-5)
  unmirrored, _ = apply(variables, np.flip(images, 1 + axis))
  assert np.abs(np.flip(unmirrored, 1 + axis) - heatmaps).max() > 0.1


def test_shifting_the_image_by_four_pixels_shifts_the_stem_s_features_by_one_cell(network):
  apply, variables = network
  images = random_images()

  here, there = (
    np.asarray(apply(variables, shifted)[1]) for shifted in (images, np.roll(images, 4, (1, 2)))
  )

  # The convolutions reach two cells.
  np.testing.assert_allclose(there[:, 4:-3, 4:-3], here[:, 3:-4, 3:-4], atol=1e-5)
  assert np.abs(there - here)[:, 4:-3, 4:-3].max() > 0.1


def test_images_of_a_batch_do_not_see_each_other_in_evaluation(network):
  apply, variables = network
  images = random_images()
  both, _ = apply(variables, images)
  alone, _ = apply(variables, np.stack([images[0], np.zeros_like(images[0])]))
  np.testing.assert_allclose(alone[0], both[0], atol=1e-6)


def test_every_resolution_reaches_the_heatmaps(network):
  """Each block that goes up, and each skip connection, is a path of its own."""
  apply, variables = network
  before, _ = apply(variables, random_images())
  for name in ("skip_0", "up_0", "skip_1", "up_1", "bottom"):
    project = variables["params"][name]["project"]
    halved = {**variables["params"][name], "project": jax.tree.map(lambda a: 0.5 * a, project)}
    after, _ = apply(
      {**variables, "params": {**variables["params"], name: halved}}, random_images()
    )
    assert np.abs(after - before).max() > 1e-3, name


@pytest.mark.slow
def test_training_reaches_every_parameter_and_every_statistic():
  model = MobileUNet(**{**SMALL, "depth": 1})
  variables = random_variables(model, random_images())

  def loss_of(params):
    heatmaps, state = model.apply(
      {**variables, "params": params}, random_images(4), True, mutable=["batch_stats"]
    )
    return (heatmaps**2).sum(), state["batch_stats"]

  gradient_of = jax.jit(jax.grad(loss_of, has_aux=True), compiler_options=QUICKLY)
  gradients, statistics = gradient_of(variables["params"])

  norms = {name: float(np.linalg.norm(leaf)) for name, leaf in flatten_dict(gradients).items()}
  assert np.isfinite(list(norms.values())).all()
  assert not [name for name, norm in norms.items() if norm < 1e-3]

  before, after = flatten_dict(variables["batch_stats"]), flatten_dict(statistics)
  assert before.keys() == after.keys()
  assert not [name for name in before if np.allclose(before[name], after[name], atol=1e-7)]
