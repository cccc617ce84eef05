"""The training step and the prediction step: their mathematics, whatever a device's share holds."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import encode
from flax import linen as nn
from quick_xla import QUICKLY
from step_fixtures import (
  BATCH,
  CODEC,
  CROP,
  FLIP,
  RECIPE,
  SmallNet,
  assert_trees_equal,
  falling,
  initial_state,
  make_batch,
  run,
  views_of,
)

from fal_jax import parallel, siamese, steps
from fal_jax.augment import ViewRange
from fal_jax.corruption import Corruption


@pytest.fixture(scope="module")
def start() -> steps.TrainState:
  return initial_state(RECIPE)


@pytest.fixture(scope="module")
def log(start) -> list[dict[str, float]]:
  """Of two steps."""
  return run(RECIPE, start, make_batch(), devices=2, count=2)[1]


def test_the_variables_of_a_state_are_what_the_network_is_applied_with(start):
  assert start.variables == {"params": start.params, "batch_stats": start.batch_stats}
  images = jnp.zeros((1, CROP, CROP, 3))
  shape = jax.eval_shape(lambda: SmallNet().apply(start.variables, images, False)).shape
  assert shape == (2, 1, CROP // 4, CROP // 4, len(FLIP))


class NoNorm(nn.Module):
  """A network without running statistics, and so without the collection `batch_stats`."""

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    return nn.Conv(len(FLIP), (4, 4), strides=(4, 4), name="conv")(images)[None]


@pytest.mark.slow
def test_a_network_without_batch_norm_trains_and_predicts():
  recipe = dataclasses.replace(RECIPE, model=NoNorm())
  fresh = initial_state(recipe)
  assert fresh.batch_stats == {}

  state, (first, second) = run(recipe, fresh, make_batch(), devices=2, count=2)

  assert (state.step, state.batch_stats) == (2, {})
  assert 0 < second["loss"] < first["loss"]
  images = jnp.zeros((1, CROP, CROP, 3), jnp.uint8)
  points, _, _ = steps.predict_step(state.variables, images, model=NoNorm(), codec=CODEC)
  assert points.shape == (1, len(FLIP), 2)


# ---- Views


def test_views_depend_on_step_and_example_and_on_nothing_else_of_the_batch():
  index = np.array([7, 3, 911, 0], np.int32)
  views = views_of(RECIPE, 5, index)
  assert views.mirrored.shape == (2, 4)

  order = np.array([2, 0, 3, 1])
  reordered = views_of(RECIPE, 5, index[order])
  assert_trees_equal(reordered, jax.tree.map(lambda a: a[:, order], views))

  beside_others = views_of(RECIPE, 5, np.array([7, 8, 9, 10], np.int32))
  first_of_both = (jax.tree.map(lambda a: a[:, 0], v) for v in (beside_others, views))
  assert_trees_equal(*first_of_both)


def test_views_of_a_step_an_image_or_a_seed_differ_from_all_others():
  index = np.arange(4, dtype=np.int32)
  maps = [
    np.asarray(views_of(recipe, step, index).view_from_crop).reshape(-1, 6)
    for recipe in (RECIPE, dataclasses.replace(RECIPE, seed=1))
    for step in range(3)
  ]
  rows = np.concatenate(maps)
  assert len(np.unique(rows, axis=0)) == len(rows) == 2 * 3 * 2 * 4


@pytest.mark.slow
def test_every_step_sees_other_views_through_the_same_weights(start, log):
  later = start.replace(step=jnp.int32(1))
  _, other_log = run(RECIPE, later, make_batch(), devices=2, count=1)
  assert abs(other_log[0]["loss"] / log[0]["loss"] - 1) > 1e-3


# ---- Loss


@pytest.mark.slow
def test_loss_and_gradient_are_those_of_the_definition(start):
  """Eq. 6 from the parts on one device: both stacks, averaged over all annotated landmarks.

  One of the two devices has few of these.
  """
  batch = make_batch()
  batch["landmarks"][: BATCH // 2 - 1] = np.nan
  batch["landmarks"][-2:, 1] = np.nan
  annotated = np.isfinite(batch["landmarks"]).all(-1)
  target = np.asarray(encode(CODEC, batch["landmarks"]))

  def loss_of(params):
    views = steps.sample_views(RECIPE, 0, batch["index"])
    images = steps.render_views(RECIPE, batch["image"], views).reshape(-1, CROP, CROP, 3)
    variables = {"params": params, "batch_stats": start.batch_stats}
    heatmaps, _ = SmallNet().apply(variables, images, True, mutable=["batch_stats"])

    heatmaps = heatmaps.reshape(2, 2, BATCH, *heatmaps.shape[2:])
    combined, seen = siamese.combine(
      heatmaps, views, stride=4, flip=jnp.asarray(FLIP), reduce="sum"
    )
    # As many Gaussians as views saw the cell.
    difference = combined - (seen[..., None] * target)[None]
    weight = jnp.minimum(seen, 1)[None, ..., None]
    squares = (weight * difference**2).sum((0, 2, 3))  # (B, K)
    return squares[annotated].sum() / annotated.sum()

  loss, gradient = jax.jit(jax.value_and_grad(loss_of), compiler_options=QUICKLY)(start.params)
  _, (values,) = run(RECIPE, start, batch, devices=2, count=1)

  assert values["loss"] == pytest.approx(float(loss), rel=1e-5)
  assert values["gradient_norm"] == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-4)
  assert values["update_norm"] == pytest.approx(falling(0) * values["gradient_norm"], rel=1e-4)


@dataclasses.dataclass(frozen=True)
class LoudCodec:
  """Asks for nonsense where a landmark is not annotated: it must be ignored."""

  stride: float = CODEC.stride

  def encode(self, landmarks: jax.Array) -> jax.Array:
    known = jnp.isfinite(landmarks).all(-1)[..., None, None, :]
    return jnp.where(known, CODEC.encode(landmarks), 1e6)


@pytest.mark.slow
def test_an_unannotated_landmark_has_no_influence_on_loss_and_gradient(start):
  batch = make_batch()
  batch["landmarks"][2, 1] = np.nan
  batch["landmarks"][5, 0, 1] = np.inf
  batch["landmarks"][3] = np.nan

  quiet, quiet_log = run(RECIPE, start, batch, devices=2, count=1)
  loud_recipe = dataclasses.replace(RECIPE, codec=LoudCodec())
  loud, loud_log = run(loud_recipe, start, batch, devices=2, count=1)

  assert quiet_log == loud_log
  assert np.isfinite(list(quiet_log[0].values())).all()
  assert_trees_equal(quiet.params, loud.params)


@pytest.mark.slow
def test_a_batch_without_annotations_has_loss_zero_and_changes_no_weight(start):
  batch = make_batch()
  batch["landmarks"][:] = np.nan

  state, log = run(RECIPE, start, batch, devices=2, count=1)

  assert log[0]["loss"] == log[0]["gradient_norm"] == 0
  assert_trees_equal(state.params, start.params)


# ---- Training

OVERFITTING = dataclasses.replace(
  RECIPE, tx=optax.adam(3e-3), ranges=ViewRange(rotation=10.0, mirror=0.0)
)


@pytest.fixture(scope="module")
def overfitted() -> tuple[steps.TrainState, list]:
  """The state after 5 steps on 4 images, and the log of 40."""
  start = initial_state(OVERFITTING)
  state, log = run(OVERFITTING, start, make_batch(4), devices=2, count=5)
  _, rest = run(OVERFITTING, state, make_batch(4), devices=2, count=35)
  return state, log + rest


@pytest.mark.slow
def test_training_overfits_four_images(overfitted):
  losses = [metrics["loss"] for metrics in overfitted[1]]
  assert np.mean(losses[-5:]) < 0.5 * losses[0]


@pytest.mark.slow
def test_one_seed_gives_the_same_bits_twice_and_another_seed_does_not(overfitted):
  again = initial_state(OVERFITTING)
  state, log = run(OVERFITTING, again, make_batch(4), devices=2, count=5)
  assert_trees_equal(state, overfitted[0])
  assert log == overfitted[1][:5]

  other = initial_state(OVERFITTING, seed=1)
  _, other_log = run(OVERFITTING, other, make_batch(4), devices=2, count=1)
  assert other_log[0]["loss"] != log[0]["loss"]


@pytest.mark.heavy
def test_frozen_statistics_are_those_of_prediction_and_stay_as_they_are(start):
  batch = make_batch()
  frozen = dataclasses.replace(RECIPE, frozen_statistics=True)

  state, (values,) = run(frozen, start, batch, devices=2, count=1)
  _, (with_statistics_of_batch,) = run(RECIPE, start, batch, devices=2, count=1)

  assert_trees_equal(state.batch_stats, start.batch_stats)
  assert values["update_norm"] > 0

  @functools.partial(jax.jit, compiler_options=QUICKLY)
  def loss_of(variables):
    views = steps.sample_views(RECIPE, 0, batch["index"])
    images = steps.render_views(RECIPE, batch["image"], views).reshape(-1, CROP, CROP, 3)
    heatmaps = SmallNet().apply(variables, images, False)
    heatmaps = heatmaps.reshape(2, 2, BATCH, *heatmaps.shape[2:])
    return steps.landmark_loss(frozen, heatmaps, batch["landmarks"], views)

  expected = loss_of(start.variables)
  num_annotated = batch["landmarks"][..., 0].size
  assert values["loss"] == pytest.approx(float(expected) / num_annotated, rel=1e-4)
  assert abs(values["loss"] / with_statistics_of_batch["loss"] - 1) > 0.01


@pytest.mark.heavy
def test_corruptions_change_the_images_that_are_trained_and_nothing_else(start):
  corrupted = dataclasses.replace(RECIPE, corruption=Corruption(noise=1.0, occluder=1.0))
  batch = make_batch()

  _, (loud,) = run(corrupted, start, batch, devices=2, count=1)
  _, (again,) = run(corrupted, start, batch, devices=2, count=1)
  _, (plain,) = run(RECIPE, start, batch, devices=2, count=1)

  assert loud == again
  assert loud["loss"] != plain["loss"] and np.isfinite(loud["loss"])


@pytest.mark.slow
def test_the_logged_learning_rate_is_that_of_the_update(log):
  for step, metrics in enumerate(log):
    assert metrics["learning_rate"] == pytest.approx(falling(step), rel=1e-5)
    expected = metrics["learning_rate"] * metrics["gradient_norm"]
    assert metrics["update_norm"] == pytest.approx(expected, rel=1e-4)


# ---- Prediction


@dataclasses.dataclass(frozen=True)
class Oracle:
  """A network that knows the answer, and whose peaks are as high as the image is bright.

  Its first stack knows nothing.
  """

  landmarks: tuple

  def apply(self, variables: Any, images: jax.Array, train: bool) -> jax.Array:
    assert not train and images.dtype == jnp.float32
    brightness = images.max((1, 2, 3))[:, None, None, None]
    heatmaps = CODEC.encode(jnp.asarray(self.landmarks))[None] * brightness + variables
    return jnp.stack([jnp.zeros_like(heatmaps), heatmaps])


# Centres of cells, where decoding is exact.
KNOWN = np.array([[21.5, 41.5], [33.5, 13.5], [45.5, 29.5]], np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 8, 11])
def test_predictions_are_decoded_from_the_last_stack_of_every_image_in_order(count):
  brightness = np.linspace(51, 255, count).astype(np.uint8)
  images = np.zeros((count, CROP, CROP, 3), np.uint8)
  images[:, 3, 4] = brightness[:, None]

  predict = parallel.make_predict(Oracle(tuple(map(tuple, KNOWN))), CODEC)
  landmarks, scores, _ = predict(np.float32(0), images)

  np.testing.assert_allclose(landmarks, np.broadcast_to(KNOWN, (count, 3, 2)), atol=1e-3)
  np.testing.assert_allclose(scores, brightness[:, None].repeat(3, 1) / 255, rtol=1e-5)
