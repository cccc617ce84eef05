"""Agreement of views: nothing for a network that follows them, known for one that does not look."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick_xla import QUICKLY
from step_fixtures import CODEC, CROP, FLIP, RECIPE, STORED, views_of

from fal_jax import metrics, siamese, steps
from fal_jax.augment import ViewRange
from fal_jax.consistency import agreement
from fal_jax.heatmap import HeatmapCodec

EYES_AND_NOSE = np.array([[20.0, 24.0], [44.0, 26.0], [32.0, 27.0]])  # crop px
VIEWS = 6
# Reads perfect heatmaps exactly.
EXACT = dataclasses.replace(CODEC, decoding="calibrated", sigma=1.5)


class Fake:
  """A network whose heatmaps are Gaussians at points that it finds in the images."""

  stride, size_multiple = 4, 4

  def __init__(self, find, codec: HeatmapCodec = EXACT):
    self._find, self._codec = find, codec

  def apply(self, variables, images, train):
    return self._codec.encode(self._find(images))[None]


def spread_of(landmarks):
  """(B,) px, of landmarks (B, V, K, 2): the mean over landmarks, which is reported."""
  return metrics.view_spread(np.asarray(landmarks)).mean(-1)


def recipe_of(find, **ranges) -> steps.Recipe:
  return dataclasses.replace(
    RECIPE, model=Fake(find), codec=EXACT, num_views=VIEWS, ranges=ViewRange(**ranges)
  )


def landmarks_of(
  recipe: steps.Recipe, stored: np.ndarray, views_of=agreement.random_views
) -> np.ndarray:
  """(B, V, K, 2) crop px, of stored crops (B, Hs, Hs, 3) uint8 with the numbers 5, 6, ..."""
  predict = functools.partial(agreement.predict_in_views, recipe=recipe, views_of=views_of)
  index = np.arange(5, 5 + len(stored), dtype=np.int32)
  batch = {"image": stored, "index": index}
  return np.asarray(jax.jit(predict, compiler_options=QUICKLY)({}, batch), np.float64)


def centre(weights: jax.Array) -> jax.Array:
  """(B, 2): centre of mass of (B, H, W)."""
  x, y = jnp.meshgrid(jnp.arange(CROP), jnp.arange(CROP))
  total = weights.sum((1, 2))
  return jnp.stack([(weights * axis[None]).sum((1, 2)) / total for axis in (x, y)], -1)


def find_spots(images: jax.Array) -> jax.Array:
  """The green spot left of the red one, the green one right of it, and the red one: (B, 3, 2)."""
  green, nose = images[..., 1], centre(images[..., 0])
  is_left = jnp.arange(CROP)[None, None] < nose[:, None, None, 0]
  return jnp.stack([centre(green * is_left), centre(green * ~is_left), nose], 1)


@pytest.fixture(scope="module")
def face():
  """A stored crop (1, Hs, Hs, 3) uint8 that shows these landmarks: green, green and red."""
  rows, columns = np.mgrid[:STORED, :STORED]
  image = np.zeros((STORED, STORED, 3))
  for (x, y), channel in zip(EYES_AND_NOSE + (STORED - CROP) / 2, (1, 1, 0), strict=True):
    image[..., channel] += 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
  return image.round().astype(np.uint8)[None]


@pytest.mark.slow
def test_a_network_that_follows_the_views_agrees_with_itself(face):
  landmarks = landmarks_of(recipe_of(find_spots, colour=(1.0, 1.0)), face)

  np.testing.assert_allclose(landmarks, np.tile(EYES_AND_NOSE, (1, VIEWS, 1, 1)), atol=0.1)
  assert spread_of(landmarks)[0] < 0.05


@pytest.mark.slow
def test_a_network_that_does_not_look_has_the_spread_computed_by_hand(face):
  places = np.array([[10.0, 20.0], [40.0, 22.0], [33.0, 50.0]])
  recipe = recipe_of(lambda images: jnp.tile(jnp.asarray(places), (len(images), 1, 1)))
  stored = np.repeat(face, 3, 0)

  landmarks = landmarks_of(recipe, stored)

  views = views_of(recipe, jnp.int32(0), jnp.arange(5, 8))
  assert 0 < views.mirrored.sum() < views.mirrored.size
  expected = np.empty((3, VIEWS, 3, 2))
  for view in range(VIEWS):
    for row in range(3):
      m = np.vstack([views.view_from_crop[view, row], [0, 0, 1]])
      named = places[list(FLIP)] if views.mirrored[view, row] else places
      expected[row, view] = np.linalg.solve(m, np.c_[named, np.ones(3)].T)[:2].T
  np.testing.assert_allclose(landmarks, expected, atol=0.01)

  by_hand = [np.mean([np.sqrt(face[:, k].var(0).sum()) for k in range(3)]) for face in expected]
  np.testing.assert_allclose(spread_of(landmarks), by_hand, rtol=1e-3)
  assert min(by_hand) > 3


@pytest.mark.slow
def test_colour_is_part_of_the_views(face):
  """A network that moves its points with the brightness."""

  def find(images):
    x = 8 + 200 * images.mean((1, 2, 3))
    return jnp.broadcast_to(jnp.stack([x, 0 * x + 8], -1)[:, None], (len(images), 3, 2))

  still = {"rotation": 0.0, "scale": (1.0, 1.0), "mirror": 0.0}

  grey = spread_of(landmarks_of(recipe_of(find, **still, colour=(1.0, 1.0)), face))
  bright = spread_of(landmarks_of(recipe_of(find, **still), face))

  assert grey[0] < 1e-3
  assert bright[0] > 0.3


def test_landmarks_come_back_from_views_as_they_went():
  recipe = recipe_of(find_spots)
  views = views_of(recipe, jnp.int32(0), jnp.arange(4))
  landmarks = jnp.asarray(np.random.default_rng(0).uniform(0, CROP, (4, 3, 2)), jnp.float32)

  @jax.jit
  def there_and_back(landmarks, views):
    there = siamese.landmarks_in_views(landmarks, views, flip=jnp.array(FLIP))
    return agreement.landmarks_from_views(there, views, flip=jnp.array(FLIP))

  back = there_and_back(landmarks, views)

  np.testing.assert_allclose(back, np.broadcast_to(landmarks, back.shape), atol=1e-3)


def test_shifted_crops_cover_one_heatmap_cell_evenly_and_change_nothing_else():
  views = agreement.shifted_views(RECIPE, jnp.arange(2))

  shift = np.asarray(views.view_from_crop[:, 0, :, 2])
  assert shift.shape == (16, 2)
  np.testing.assert_allclose(np.unique(shift), [-1.5, -0.5, 0.5, 1.5])  # px, of a cell of 4
  assert len(np.unique(shift, axis=0)) == 16
  np.testing.assert_array_equal(views.view_from_crop[:, 0], views.view_from_crop[:, 1])
  assert (np.asarray(views.view_from_crop[..., :2]) == np.eye(2)).all()
  assert not views.mirrored.any()
  assert (np.asarray(views.colour) == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(("decoding", "least", "most"), [("calibrated", 0, 0.05), ("argmax", 1, 2)])
def test_a_moving_crop_moves_what_is_read_off_cells(face, decoding, least, most):
  """The highest cell of a 4-px cell is off by an even spread along both axes: 1.6 px together."""
  codec = dataclasses.replace(EXACT, decoding=decoding)
  recipe = dataclasses.replace(recipe_of(find_spots), codec=codec)

  landmarks = landmarks_of(recipe, face, agreement.shifted_views)

  assert landmarks.shape == (1, 16, 3, 2)
  assert least <= spread_of(landmarks)[0] < most


def test_two_views_spread_by_half_their_distance():
  landmarks = np.zeros((2, 2, 2, 2))
  landmarks[0, 1] = [[6.0, 8.0], [0.0, 2.0]]  # from the mean: 5 and 1 px

  np.testing.assert_allclose(spread_of(landmarks), [3.0, 0.0])


def test_error_in_views_is_what_they_share_and_what_they_differ_in():
  """Mean squared error = squared error of the mean + squared spread, for each landmark."""
  random = np.random.default_rng(0)
  true = random.uniform(0, 64, (5, 1, 2))
  landmarks = true[:, None] + random.normal(1, 2, (5, 7, 1, 2))
  norm = np.array([10.0, 20.0, 30.0, 40.0, np.nan])
  seen = agreement.InViews(landmarks, true, norm)

  shared, spread = agreement.shared_errors(seen), agreement.spreads(seen)

  squared = ((landmarks - true[:, None]) ** 2).sum(-1).mean((1, 2))
  np.testing.assert_allclose(np.hypot(shared, spread)[:4], 100 * np.sqrt(squared[:4]) / norm[:4])
  assert np.isnan([shared[4], spread[4]]).all()


def test_views_that_differ_evenly_share_no_error():
  true = np.array([[[10.0, 10.0], [np.nan, np.nan]]])
  landmarks = np.array([[[[7.0, 10.0], [3.0, 3.0]], [[13.0, 10.0], [3.0, 3.0]]]])
  seen = agreement.InViews(landmarks, true, np.array([30.0]))

  assert agreement.shared_errors(seen) == pytest.approx(0)
  assert agreement.spreads(seen) == pytest.approx(5)  # 3 px of one landmark, 0 of the other
