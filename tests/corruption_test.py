"""Corruptions: each does what it is called, as often as asked, and nothing when off."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick_xla import QUICKLY

from fal_jax import corruption
from fal_jax.corruption import Corruption
from fal_jax.errors import InputError

SIZE = 32
# All of them, each always or as strong as it may be used.
ALL = Corruption(
  flat_background=1.0,
  gain=0.2,
  gamma=0.8,
  clipping=1.0,
  grey=1.0,
  blur=1.0,
  low_resolution=1.0,
  noise=1.0,
  occluder=1.0,
)


def photo(seed: int = 0) -> jax.Array:
  """(SIZE, SIZE, 3) float32: smooth colours with some noise, far from black and white."""
  row, column = np.mgrid[:SIZE, :SIZE][..., None] / SIZE
  image = 0.5 + 0.2 * np.sin(4 * row + 3 * column + np.arange(3))
  return jnp.asarray(image + np.random.default_rng(seed).normal(0, 0.03, image.shape), jnp.float32)


def face() -> jax.Array:
  """(5, 2) px: a cloud in the middle of the image."""
  return jnp.asarray([[12, 12], [20, 12], [16, 16], [13, 20], [19, 20]], jnp.float32)


def many(function, *arguments, count=200, **options) -> np.ndarray:
  """(count, SIZE, SIZE, 3), under as many keys."""
  keys = jax.random.split(jax.random.key(0), count)
  of_all = jax.vmap(lambda key: function(key, *arguments, **options))
  return np.asarray(jax.jit(of_all, compiler_options=QUICKLY)(keys))


ONES = (
  (corruption.flat_background, (face(),)),
  (corruption.clipping, ()),
  (corruption.grey, ()),
  (corruption.low_resolution, ()),
  (corruption.occluder, (photo(1),)),
)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "arguments"), ONES)
def test_it_happens_as_often_as_its_probability_says(function, arguments):
  image = photo()
  for probability in (0.0, 0.3, 1.0):
    results = many(function, image, *arguments, probability=probability, count=200)
    changed = (np.abs(results - np.asarray(image)) > 1e-6).any((1, 2, 3)).mean()
    assert changed == pytest.approx(probability, abs=0.1)


def test_a_flat_background_is_one_colour_far_from_the_face_and_the_face_stays():
  image = photo()
  results = many(corruption.flat_background, image, face(), probability=1.0)

  corners = results[:, [0, 0, -1, -1], [0, -1, 0, -1]]
  np.testing.assert_allclose(corners, corners[:, :1].repeat(4, 1), atol=1e-3)
  centre = np.broadcast_to(image[14:19, 14:19], (200, 5, 5, 3))
  np.testing.assert_allclose(results[:, 14:19, 14:19], centre, atol=0.05)


def test_a_face_of_which_too_little_is_annotated_has_no_background():
  missing = face().at[1:].set(jnp.nan)
  results = many(corruption.flat_background, photo(), missing, probability=1.0, count=20)
  np.testing.assert_array_equal(results, np.broadcast_to(photo(), results.shape))


def test_gain_moves_channels_apart_and_gamma_all_alike():
  image = jnp.full((4, 4, 3), 0.5)

  gains = many(corruption.gain_and_gamma, image, gain=0.1, gamma=0.0, count=2000)[:, 0, 0]
  assert np.log(gains / 0.5).std(0) == pytest.approx([0.1] * 3, rel=0.1)
  assert np.abs(np.corrcoef(gains.T)[np.triu_indices(3, 1)]).max() < 0.1

  powers = many(corruption.gain_and_gamma, image, gain=0.0, gamma=0.7, count=2000)[:, 0, 0]
  exponents = np.log(powers) / np.log(0.5)
  np.testing.assert_allclose(exponents[:, 0], exponents[:, 2], rtol=1e-4)
  logs = np.log(exponents[:, 0])
  assert (np.abs(logs) <= 0.7 + 1e-4).all() and logs.std() == pytest.approx(0.7 / 3**0.5, rel=0.1)


def test_clipping_leaves_large_flat_areas():
  results = many(corruption.clipping, photo(), probability=1.0)
  flat = ((results == 0) | (results == 1)).mean((1, 2, 3))
  assert results.min() == 0 and results.max() == 1
  assert flat.mean() > 0.3


def test_grey_has_the_luma_of_the_image_in_all_channels():
  image = photo()
  result = corruption.grey(jax.random.key(0), image, probability=1.0)
  luma = np.asarray(image) @ [0.299, 0.587, 0.114]
  np.testing.assert_allclose(result, luma[..., None].repeat(3, -1), atol=1e-5)


def test_a_blur_keeps_flat_areas_and_the_mean_and_takes_detail_away():
  rng = np.random.default_rng(0)
  rough = jnp.asarray(rng.uniform(size=(SIZE, SIZE, 3)), jnp.float32)

  results = many(corruption.blur, rough, probability=1.0, sigma=1.6)
  flat = many(corruption.blur, jnp.full((SIZE, SIZE, 3), 0.3), probability=1.0, sigma=1.6)

  np.testing.assert_allclose(flat, 0.3, atol=1e-5)
  np.testing.assert_allclose(results.mean((1, 2, 3)), rough.mean(), atol=0.01)
  deviations = results.std((1, 2, 3))
  assert deviations.max() < 1.001 * rough.std() and deviations.min() < 0.4 * rough.std()


def test_a_lower_resolution_keeps_the_means_of_blocks_of_a_smooth_image():
  row, column = np.mgrid[:SIZE, :SIZE][..., None]
  ramp = jnp.asarray((row + 2 * column + np.arange(3)) / 100, jnp.float32)
  results = many(corruption.low_resolution, ramp, probability=1.0, count=20)
  np.testing.assert_allclose(results[:, 4:-4, 4:-4], [ramp[4:-4, 4:-4]] * 20, atol=1e-5)


def test_noise_has_at_most_its_deviation_and_is_of_one_colour_or_three():
  image = jnp.full((SIZE, SIZE, 3), 0.5)
  results = many(corruption.noise, image, probability=1.0, deviation=0.12) - 0.5

  deviations = results.std((1, 2, 3))
  assert deviations.max() < 0.13 and deviations.mean() == pytest.approx(0.06, rel=0.2)
  of_one_colour = (np.abs(results[..., 0] - results[..., 1]) < 1e-6).all((1, 2))
  assert of_one_colour.mean() == pytest.approx(0.5, abs=0.12)


def test_an_occluder_covers_a_part_with_a_colour_or_with_the_other_image():
  image, other = photo(), jnp.full((SIZE, SIZE, 3), 2.0)
  results = many(corruption.occluder, image, other, probability=1.0)

  covered = (np.abs(results - np.asarray(image)) > 1e-3).any(-1).mean((1, 2))
  assert 0 < covered.mean() < 0.2 and covered.max() < 0.5
  assert 0.2 < (results.max((1, 2, 3)) > 1.9).mean() < 0.7


@pytest.mark.slow
def test_all_together_stay_images_and_differ_by_view_and_example():
  images = jnp.stack([jnp.stack([photo(0), photo(1)])] * 2)  # (V, B, ...)
  landmarks = jnp.broadcast_to(face(), (2, 2, 5, 2))
  index = jnp.array([5, 9])
  key = jax.random.key(0)

  corrupt = jax.jit(corruption.corrupt_views, static_argnames="amounts", compiler_options=QUICKLY)
  results = np.asarray(corrupt(key, images, landmarks, index, amounts=ALL))
  swapped = np.asarray(corrupt(key, images[:, ::-1], landmarks[:, ::-1], index[::-1], amounts=ALL))

  assert np.isfinite(results).all() and results.min() >= 0 and results.max() <= 1
  assert np.abs(results[0] - results[1]).max() > 0.1
  # With two examples, each is covered by the other, wherever in the batch they are.
  np.testing.assert_allclose(swapped[:, ::-1], results, atol=1e-5)


def test_nothing_is_the_default():
  assert Corruption().is_none
  for field in dataclasses.fields(Corruption):
    is_amount = field.name in ("blur_sigma", "noise_deviation")
    changed = dataclasses.replace(Corruption(), **{field.name: 0.5})
    assert changed.is_none == is_amount


@pytest.mark.parametrize(
  ("options", "named"),
  [
    ({"blur": 1.5}, "config.corruption.blur must be a probability from 0 to 1, got 1.5"),
    ({"grey": -0.1, "noise": float("nan")}, "grey must be .*\n.*noise must be"),
    ({"gamma": 9.0}, "gamma must be from 0 to 3"),
    ({"blur_sigma": 0.1}, "blur_sigma must be at least"),
  ],
)
def test_impossible_amounts_are_refused_all_at_once(options, named):
  with pytest.raises(InputError, match=named):
    Corruption(**options)
