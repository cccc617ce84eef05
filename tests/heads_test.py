"""Table 1's alternatives to heatmaps: their targets, their losses, and that they learn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import combine, decode, encode, landmarks_in_views
from quick_xla import QUICKLY
from step_fixtures import (
  CODEC,
  CROP,
  FLIP,
  RECIPE,
  initial_state,
  make_batch,
  run,
  views_of,
)

from fal_jax import heads, steps
from fal_jax.augment import ViewRange
from fal_jax.heads import CorrectedFAN
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN
from fal_jax.network import Output

CELLS = CROP // 4
ARGMAX = HeatmapCodec(size=CELLS, sigma=1.0, decoding="argmax")
STILL = ViewRange(rotation=0.0, scale=(1.0, 1.0), mirror=0.0)


dynamic_target = jax.jit(heads.dynamic_target, static_argnums=2)
static_target = jax.jit(heads.static_target, static_argnums=1)
correction_loss = jax.jit(steps.correction_loss, static_argnums=0, compiler_options=QUICKLY)
predict_step = jax.jit(steps.predict_step, static_argnames=("model", "codec"))


def to_heatmap(points: np.ndarray) -> np.ndarray:
  return (points + 0.5) / 4 - 0.5


def random_heatmaps(*shape: int) -> np.ndarray:
  heatmaps = np.random.default_rng(0).normal(size=(*shape, CELLS, CELLS, len(FLIP)))
  return heatmaps.astype(np.float32)


def landmark_loss(recipe: steps.Recipe, heatmaps: np.ndarray, landmarks: np.ndarray) -> float:
  views = views_of(recipe, 0, np.arange(len(landmarks), dtype=np.int32))
  loss_of = jax.jit(steps.landmark_loss, static_argnums=0, compiler_options=QUICKLY)
  return float(loss_of(recipe, heatmaps, landmarks, views))


def test_the_static_target_is_what_rounding_loses():
  landmarks = np.random.default_rng(0).uniform(0, CROP, (5, 7, 2)).astype(np.float32)
  position = to_heatmap(landmarks.astype(np.float64))

  target = np.asarray(static_target(landmarks, CODEC))

  np.testing.assert_allclose(target, position - np.round(position), atol=1e-5)
  assert np.abs(target).max() <= 0.5


def test_the_static_target_is_the_encoding_error_of_the_heatmaps_that_are_trained():
  """Those are the rounded heatmaps without loss, in the views; their error ends at the landmark.

  It starts at their highest cell, which is searched here.
  """
  codec = HeatmapCodec(size=CELLS, sigma=1.0, encoding="rounded", decoding="argmax")
  recipe = dataclasses.replace(RECIPE, head="correction_static", codec=codec, frame="view")
  middle = CROP / 2
  landmarks = np.random.default_rng(0).uniform(middle - 12, middle + 12, (32, len(FLIP), 2))
  landmarks = landmarks.astype(np.float32)
  views = views_of(recipe, 0, np.arange(len(landmarks), dtype=np.int32))

  in_views = landmarks_in_views(landmarks, views)
  trained = encode(codec, in_views)
  assert landmark_loss(recipe, trained[None], landmarks) == 0

  highest = np.asarray(trained).reshape(*trained.shape[:2], -1, len(FLIP)).argmax(2)
  cells = np.stack([highest % CELLS, highest // CELLS], -1)
  error = to_heatmap(np.asarray(in_views, np.float64)) - cells
  target = np.asarray(static_target(in_views, codec))

  assert error.std() > 0.25  # as far as rounding goes: uniform over a cell is 0.289
  assert np.corrcoef(target.ravel(), error.ravel())[0, 1] == pytest.approx(1, abs=1e-6)
  assert np.sqrt(np.mean((target - error) ** 2)) < 1e-5
  loss = correction_loss(recipe, jnp.float32(error), trained, landmarks, views)
  assert float(loss) < 1e-6


def test_the_dynamic_target_leads_from_the_highest_cell_to_the_truth_in_the_window():
  landmarks = np.array([[[20.0, 31.0], [40.0, 9.0], [50.0, 50.0]]], np.float32)
  cells = np.array([[[5, 7], [9, 3], [1, 12]]])
  heatmaps = np.zeros((1, CELLS, CELLS, 3), np.float32)
  for k, (x, y) in enumerate(cells[0]):
    heatmaps[0, y, x, k] = 1

  target = np.asarray(dynamic_target(landmarks, heatmaps, ARGMAX))
  gradient_of = jax.jit(jax.grad(lambda h: dynamic_target(landmarks, h, ARGMAX).sum()))

  expected = np.clip(to_heatmap(landmarks) - cells, -2.5, 2.5)
  np.testing.assert_allclose(target, expected, atol=1e-5)
  assert not np.asarray(gradient_of(jnp.asarray(heatmaps))).any()


@pytest.mark.slow
def test_landmarks_in_views_are_where_the_heatmaps_of_an_ideal_network_are():
  """Pulled back, heatmaps drawn at `landmarks_in_views` lie on the landmarks, under their names.

  Mirrored views included.
  """
  landmarks = np.random.default_rng(1).uniform(20, CROP - 20, (8, len(FLIP), 2)).astype(np.float32)
  views = views_of(RECIPE, 3, np.arange(8, dtype=np.int32))
  assert views.mirrored.any() and not views.mirrored.all()

  heatmaps = np.asarray(encode(CODEC, landmarks_in_views(landmarks, views)))
  combined, _ = combine(heatmaps[None], views, reduce="mean")
  decoded, _ = decode(CODEC, combined[0])

  assert np.linalg.norm(decoded - landmarks, axis=-1).mean() < 0.5
  missing = np.full_like(landmarks, np.nan)
  assert np.isnan(landmarks_in_views(missing, views)).all()


def test_the_loss_through_the_global_softargmax_counts_distances_of_mean_positions():
  landmarks = make_batch()["landmarks"]
  landmarks[1, 0] = np.nan
  recipe = dataclasses.replace(RECIPE, head="global_softargmax", num_views=1, ranges=STILL)
  heatmaps = random_heatmaps(2, 1, len(landmarks))

  weights = np.exp(10 * heatmaps.astype(np.float64))
  weights /= weights.sum((3, 4), keepdims=True)
  row, column = np.mgrid[:CELLS, :CELLS][..., None]
  position = np.stack([(weights * column).sum((3, 4)), (weights * row).sum((3, 4))], -1)[:, 0]
  expected = np.nansum((position - to_heatmap(landmarks)) ** 2)

  assert landmark_loss(recipe, heatmaps, landmarks) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["correction_static", "correction_dynamic"])
def test_the_loss_of_the_correction_is_its_distance_from_its_target(head):
  recipe = dataclasses.replace(RECIPE, head=head, codec=ARGMAX)
  landmarks = make_batch()["landmarks"]
  landmarks[0, 2] = np.nan
  heatmaps = random_heatmaps(2, len(landmarks))

  views = views_of(recipe, 0, np.arange(len(landmarks), dtype=np.int32))
  in_views = landmarks_in_views(landmarks, views)
  if head == "correction_static":
    target = static_target(in_views, ARGMAX)
  else:
    target = dynamic_target(in_views, heatmaps, ARGMAX)
  known = np.isfinite(in_views).all(-1)
  assert not known.all()

  # Where nothing is annotated, anything may be predicted.
  exact = jnp.where(known[..., None], target, 7.0)
  assert float(correction_loss(recipe, exact, heatmaps, landmarks, views)) < 1e-9  # rounding
  loss = float(correction_loss(recipe, exact + 0.5, heatmaps, landmarks, views))
  assert loss == pytest.approx(0.5 * known.sum() / 2)


@dataclasses.dataclass(frozen=True)
class KnowsBoth:
  """Predicts heatmaps with peaks on given cells, and the displacement that is missing."""

  cells: tuple
  displacement: tuple

  def apply(self, variables: dict, images: jax.Array, train: bool) -> Output:
    codec = HeatmapCodec(size=CELLS, stride=1, sigma=1.0)
    heatmaps = codec.encode(jnp.asarray(self.cells, jnp.float32)[None])
    displacement = jnp.asarray(self.displacement, jnp.float32)[None]
    return Output(heatmaps[None].repeat(len(images), 1), displacement.repeat(len(images), 0))


def test_predictions_are_the_highest_cell_and_the_displacement():
  model = KnowsBoth(
    cells=((3, 4), (7, 9), (12, 2)), displacement=((0.25, -0.5), (0, 0), (1.0, 0.125))
  )
  images = np.zeros((2, CROP, CROP, 3), np.uint8)

  landmarks, _, _ = predict_step({}, images, model=model, codec=ARGMAX)

  expected = np.array([[3.25, 3.5], [7, 9], [13, 2.125]])
  np.testing.assert_allclose(to_heatmap(np.asarray(landmarks)), np.stack([expected] * 2), atol=1e-5)


def test_the_correction_adds_one_layer_to_the_network():
  fan = FAN(1, len(FLIP), 16, depth=2)
  images = jnp.zeros((2, CROP, CROP, 3))
  key = jax.random.key(0)
  variables = jax.eval_shape(lambda: CorrectedFAN(fan).init(key, images, False))
  alone = jax.eval_shape(lambda: fan.init(key, images, False))

  corrected, plain = (
    jax.tree.map(jnp.shape, tree) for tree in (variables["params"], alone["params"])
  )
  assert corrected == {"fan": plain, "correction": {"kernel": (16, 6), "bias": (6,)}}

  output = jax.eval_shape(lambda v: CorrectedFAN(fan).apply(v, images, False), variables)
  assert output.heatmaps.shape == (1, 2, CELLS, CELLS, 3)
  assert output.displacement.shape == (2, 3, 2)


@pytest.mark.heavy
@pytest.mark.parametrize(
  "head",
  ["correction_static", "correction_dynamic", "global_softargmax", "global_softargmax_prior"],
)
def test_every_head_overfits_four_images(head):
  fan = FAN(1, len(FLIP), 8, depth=1, axis_name=steps.DEVICES)
  recipe = dataclasses.replace(
    RECIPE,
    model=CorrectedFAN(fan) if head.startswith("correction") else fan,
    codec=ARGMAX,
    tx=optax.adam(3e-3),
    head=head,
    num_views=1,
    ranges=STILL,
  )

  _, log = run(recipe, initial_state(recipe), make_batch(4), devices=2, count=60)

  losses = [metrics["loss"] for metrics in log]
  assert np.mean(losses[-5:]) < 0.5 * losses[0]
