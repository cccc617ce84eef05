"""The seam for networks: one that nobody has heard of trains and predicts like FAN.

Its stride, size multiple and displacement are its own; nothing outside this file knows it.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from step_fixtures import CROP, FLIP, RECIPE, initial_state, make_batch, run

from fal_jax import network, steps
from fal_jax.heatmap import HeatmapCodec

STRIDE = 8
CODEC = HeatmapCodec(size=CROP // STRIDE, stride=STRIDE, sigma=1.0, decoding="argmax")


class Foreign(nn.Module):
  """One convolution on 8 x 8 blocks, a BatchNorm of Flax's own, and a displacement."""

  num_landmarks: int
  axis_name: str | None = None

  @property
  def stride(self) -> int:
    return STRIDE

  @property
  def size_multiple(self) -> int:
    return STRIDE

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> network.Output:
    x = nn.Conv(16, (STRIDE, STRIDE), strides=STRIDE, name="blocks")(images)
    axis_name = self.axis_name if train else None
    x = nn.BatchNorm(use_running_average=not train, axis_name=axis_name, name="norm")(x)
    heatmaps = nn.Conv(self.num_landmarks, (3, 3), name="heatmaps")(nn.relu(x))
    displacement = nn.Dense(2 * self.num_landmarks, name="displacement")(x.mean((1, 2)))
    return network.Output(heatmaps[None], displacement.reshape(len(images), -1, 2))


RECIPE_OF_FOREIGN = dataclasses.replace(
  RECIPE,
  model=Foreign(len(FLIP), steps.DEVICES),
  codec=CODEC,
  head="correction_dynamic",
)


@pytest.fixture(scope="module")
def start():
  return initial_state(RECIPE_OF_FOREIGN)


@pytest.mark.slow
def test_a_new_network_trains_through_the_step_as_it_is(start):
  state, log = run(RECIPE_OF_FOREIGN, start, make_batch(), devices=2, count=2)

  assert np.isfinite([list(values.values()) for values in log]).all()
  for name in ("blocks", "heatmaps", "displacement"):
    before, after = (np.asarray(s.params[name]["kernel"]) for s in (start, state))
    assert (before != after).any(), f"no gradient reaches {name}"
  mean = np.asarray(state.batch_stats["norm"]["mean"])
  assert (mean != np.asarray(start.batch_stats["norm"]["mean"])).any()


@pytest.mark.slow
def test_a_new_network_predicts_in_crop_pixels_of_its_own_stride(start):
  model = Foreign(len(FLIP))
  images = make_batch(2)["image"][:, :CROP, :CROP]

  landmarks, scores, _ = jax.jit(
    lambda variables: steps.predict_step(variables, images, model=model, codec=CODEC)
  )(start.variables)

  output = model.apply(start.variables, images.astype(np.float32) / 255, False)
  heatmaps = np.asarray(output.heatmaps[-1])
  highest = heatmaps.reshape(2, -1, len(FLIP)).argmax(1)
  cells = np.stack(np.unravel_index(highest, (CODEC.size, CODEC.size))[::-1], -1)
  expected = STRIDE * (cells + np.asarray(output.displacement) + 0.5) - 0.5
  np.testing.assert_allclose(landmarks, expected, atol=1e-3)
  np.testing.assert_allclose(scores, heatmaps.max((1, 2)), rtol=1e-5)


def test_an_output_without_a_displacement_may_be_given_as_heatmaps_alone():
  class Bare(nn.Module):
    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
      mean = self.variable("batch_stats", "mean", jnp.zeros, ())
      if train:
        mean.value = images.mean()
      return images[None, ::STRIDE, ::STRIDE]

  images = jnp.linspace(0, 1, 2 * 16 * 16 * 3).reshape(2, 16, 16, 3)
  variables = {"batch_stats": {"mean": jnp.zeros(())}}

  predicted = network.predict(Bare(), variables, images)
  trained, batch_stats = network.train(Bare(), variables, images)

  for output in (predicted, trained):
    assert output.displacement is None
    np.testing.assert_array_equal(output.heatmaps, images[None, ::STRIDE, ::STRIDE])
  assert float(batch_stats["mean"]) == pytest.approx(0.5)
