"""Random views: their ranges, and that landmarks land where the rendered image shows them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fal_jax import affine
from fal_jax.augment import ColourMode, View, ViewRange, render_view, sample_view
from fal_jax.errors import InputError

SIZE, STORED = 64, 104
CROP_FROM_STORED = affine.translation(np.full(2, (SIZE - STORED) / 2, np.float32))


@functools.partial(jax.jit, static_argnames="ranges")
def sample(keys: jax.Array, ranges: ViewRange) -> View:
  return jax.vmap(lambda key: sample_view(key, size=SIZE, ranges=ranges))(keys)


def sample_many(count: int, ranges: ViewRange) -> View:
  """The first `count` of 2000 views: compiling for another number would cost more than sampling."""
  keys = jax.random.split(jax.random.key(0), 2000)
  return jax.tree.map(lambda a: a[:count], sample(keys, ranges))


def decompose(views: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Angle (N,) in degrees, scale (N,) and shift (N, 2) of the crop's centre in px, unmirrored."""
  maps = np.asarray(views.view_from_crop, np.float64)
  mirrored = np.asarray(views.mirrored)[:, None, None]
  maps = np.where(mirrored, affine.compose(affine.mirror(SIZE), maps), maps)

  angle = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
  scale = np.hypot(maps[:, 0, 0], maps[:, 1, 0])
  centre = np.full(2, (SIZE - 1) / 2)
  shift = affine.apply(maps, centre[None])[:, 0] - centre
  return angle, scale, shift


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
  """Values (N,) lie within the range and fill it, as evenly as chance allows: to five sigma."""
  assert values.min() >= low - 1e-4 and values.max() <= high + 1e-4

  counts, _ = np.histogram(values, 4, (low - 1e-4, high + 1e-4))
  assert np.abs(counts - len(values) / 4).max() < 5 * np.sqrt(len(values) * 3 / 16)

  edge = 0.02 * (high - low)
  assert values.min() < low + edge and values.max() > high - edge


@pytest.fixture(scope="module")
def sampled() -> View:
  ranges = ViewRange(
    rotation=25.0, scale=(0.8, 1.3), translation=0.125, mirror=0.5, colour=(0.7, 1.6)
  )
  return sample_many(2000, ranges)


def test_every_factor_is_uniform_over_its_whole_range(sampled):
  angle, scale, shift = decompose(sampled)

  assert_uniform(angle, -25, 25)
  assert_uniform(scale, 0.8, 1.3)
  for axis in range(2):
    assert_uniform(shift[:, axis], -0.125 * SIZE, 0.125 * SIZE)
  for factor in range(3):
    assert_uniform(np.asarray(sampled.colour[:, factor]), 0.7, 1.6)

  assert abs(int(sampled.mirrored.sum()) - 1000) < 5 * np.sqrt(500)


def test_factors_are_independent_of_each_other(sampled):
  angle, scale, shift = decompose(sampled)
  mirrored = np.asarray(sampled.mirrored, float)
  columns = [angle, scale, *shift.T, *np.asarray(sampled.colour).T, mirrored]

  correlation = np.corrcoef(columns) - np.eye(len(columns))

  assert np.abs(correlation).max() < 5 / np.sqrt(2000)


def test_the_default_ranges_are_the_paper_s():
  ranges = ViewRange()
  assert (ranges.rotation, ranges.scale) == (30, (0.85, 1.15))
  assert (ranges.colour, ranges.translation) == ((0.6, 1.4), 0)


FACTORS = r"must be two factors, 0 < smallest <= largest, got"
NOT_NEGATIVE = r"must be finite and not negative, got"


@pytest.mark.parametrize(
  ("ranges", "message"),
  [
    ({"scale": (1.2, 0.8)}, rf"config\.augment\.scale {FACTORS} \(1\.2, 0\.8\)\."),
    ({"scale": (0, 1)}, rf"config\.augment\.scale {FACTORS} \(0, 1\)\."),
    ({"scale": (1,)}, rf"config\.augment\.scale {FACTORS} \(1,\)\."),
    ({"scale": (1, float("inf"))}, rf"config\.augment\.scale {FACTORS} \(1, inf\)\."),
    ({"colour": (float("nan"), 1)}, rf"config\.augment\.colour {FACTORS} \(nan, 1\)\."),
    ({"mirror": 1.5}, r"config\.augment\.mirror must be in \[0, 1\], got 1\.5\."),
    ({"mirror": float("nan")}, r"config\.augment\.mirror must be in \[0, 1\], got nan\."),
    ({"rotation": -1.0}, rf"config\.augment\.rotation {NOT_NEGATIVE} -1\.0\."),
    ({"rotation": float("inf")}, rf"config\.augment\.rotation {NOT_NEGATIVE} inf\."),
    ({"translation": float("nan")}, rf"config\.augment\.translation {NOT_NEGATIVE} nan\."),
  ],
)
def test_invalid_ranges_are_refused_in_one_sentence(ranges, message):
  with pytest.raises(InputError, match=f"^{message}$"):
    ViewRange(**ranges)


def test_all_invalid_ranges_are_named_at_once():
  with pytest.raises(InputError) as caught:
    ViewRange(rotation=-1.0, scale=(2, 1), mirror=7)
  lines = str(caught.value).splitlines()
  assert [line.split()[0].removeprefix("config.augment.") for line in lines] == [
    "scale",
    "mirror",
    "rotation",
  ]


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_probabilities_zero_and_one_of_a_mirror_mean_never_and_always(mirror):
  views = sample_many(100, ViewRange(mirror=mirror))

  assert (np.asarray(views.mirrored) == bool(mirror)).all()
  determinants = np.linalg.det(np.asarray(views.view_from_crop)[:, :, :2])
  assert (np.sign(determinants) == (-1 if mirror else 1)).all()


def test_ranges_of_no_width_give_the_crop_itself():
  views = sample_many(5, ViewRange(rotation=0, scale=(1, 1), mirror=0, colour=(1, 1)))

  identity = np.broadcast_to(np.eye(3)[:2], (5, 2, 3))
  np.testing.assert_allclose(views.view_from_crop, identity, atol=1e-5)
  np.testing.assert_array_equal(views.colour, 1)


def render(stored: jax.Array, view: View, colour_mode: ColourMode = "photometric") -> jax.Array:
  return render_view(
    stored, view, crop_from_stored=CROP_FROM_STORED, size=SIZE, colour_mode=colour_mode
  )


render_many = jax.jit(jax.vmap(render))


def plain_view(
  view_from_crop: np.ndarray, *, colour: tuple[float, float, float] = (1, 1, 1)
) -> View:
  """A batch of one."""
  maps = jnp.asarray(view_from_crop, jnp.float32)[None]
  return View(maps, jnp.zeros(1, bool), jnp.asarray([colour], jnp.float32))


def random_stored(count: int = 1) -> np.ndarray:
  """(count, STORED, STORED, 3) uint8."""
  return np.random.default_rng(0).integers(0, 256, (count, STORED, STORED, 3), np.uint8)


def test_landmarks_land_where_the_rendered_image_shows_them():
  """A blob at a known point of the crop is rendered in many views and located by its centroid."""
  count = 64
  points = np.random.default_rng(0).uniform(20, SIZE - 20, (count, 1, 2))
  x, y = np.meshgrid(np.arange(STORED), np.arange(STORED))
  stored_points = affine.apply(affine.invert(CROP_FROM_STORED), points)[:, 0]
  squared = (x - stored_points[:, 0, None, None]) ** 2 + (y - stored_points[:, 1, None, None]) ** 2
  blobs = np.round(255 * np.exp(-squared / (2 * 2.5**2))).astype(np.uint8)
  stored = blobs[..., None].repeat(3, -1)
  views = sample_many(count, ViewRange(translation=0.05)).replace(colour=jnp.ones((count, 3)))

  images = np.asarray(render_many(stored, views), np.float64).mean(-1)

  rows, columns = np.mgrid[:SIZE, :SIZE]
  total = images.sum((1, 2))
  centroid_x = (images * columns).sum((1, 2)) / total
  centroid_y = (images * rows).sum((1, 2)) / total
  centroids = np.stack([centroid_x, centroid_y], -1)
  expected = np.asarray(affine.apply(views.view_from_crop, points.astype(np.float32)))[:, 0]
  assert np.linalg.norm(centroids - expected, axis=-1).max() < 0.05


def test_the_plain_view_is_the_middle_of_the_stored_pixels():
  stored = random_stored()
  margin = (STORED - SIZE) // 2

  image = render_many(stored, plain_view(np.eye(3)[:2]))

  assert image.shape == (1, SIZE, SIZE, 3) and image.dtype == jnp.float32
  np.testing.assert_allclose(image[0], stored[0, margin:-margin, margin:-margin] / 255, atol=1e-6)


def test_a_mirrored_view_shows_the_mirrored_image():
  stored = random_stored()
  plain = render_many(stored, plain_view(np.eye(3)[:2]))
  mirrored = render_many(stored, plain_view(affine.mirror(SIZE)))
  np.testing.assert_allclose(mirrored, plain[:, :, ::-1], atol=1e-6)


def test_a_mirrored_sample_is_the_mirror_image_of_the_same_sample_without_mirror():
  stored = random_stored(64)
  plain, mirrored = (
    render_many(stored, sample_many(64, ViewRange(mirror=mirror))) for mirror in (0.0, 1.0)
  )
  np.testing.assert_allclose(mirrored, plain[:, :, ::-1], atol=1e-3)


def test_pixels_are_resampled_once():
  """Half a pixel forth in one map and back in the other leaves the pixels as they were.

  Two resamplings would blur them.
  """
  half = affine.translation(np.array([0.5, 0.5], np.float32))
  stored = random_stored()
  margin = (STORED - SIZE) // 2
  crop_from_stored = affine.compose(affine.invert(half), CROP_FROM_STORED)
  view = jax.tree.map(lambda a: a[0], plain_view(half))

  image = render_view(
    jnp.asarray(stored[0]),
    view,
    crop_from_stored=crop_from_stored,
    size=SIZE,
    colour_mode="photometric",
  )

  np.testing.assert_allclose(image, stored[0, margin:-margin, margin:-margin] / 255, atol=1e-6)


def test_a_channel_gain_scales_each_channel_by_its_own_factor_and_clips():
  stored = random_stored()
  view = jax.tree.map(lambda a: a[0], plain_view(np.eye(3)[:2], colour=(0.6, 1.0, 1.4)))
  margin = (STORED - SIZE) // 2

  image = render(jnp.asarray(stored[0]), view, "channel_gain")

  crop = stored[0, margin:-margin, margin:-margin] / 255
  expected = np.clip(crop * [0.6, 1.0, 1.4], 0, 1)
  np.testing.assert_allclose(image, expected, atol=1e-5)
  assert (expected == 1).any(), "nothing was clipped"


def test_brightness_contrast_and_saturation_do_what_they_are_called():
  stored = np.full((1, STORED, STORED, 3), (120, 80, 40), np.uint8)
  stored[:, :, STORED // 2 :] //= 2
  colours = np.float32(stored[0, 0, [0, -1]] / 255)  # left and right half

  def ends(colour):
    return np.asarray(render_many(stored, plain_view(np.eye(3)[:2], colour=colour)))[0, 0, [0, -1]]

  np.testing.assert_allclose(ends((1, 1, 1)), colours, atol=1e-5)
  np.testing.assert_allclose(ends((0.6, 1, 1)), 0.6 * colours, atol=1e-5)

  mean = colours.mean(0, keepdims=True)
  np.testing.assert_allclose(ends((1, 0.6, 1)), mean + 0.6 * (colours - mean), atol=1e-5)

  # Each step is clipped: what was too bright for white stays white as far as contrast is concerned.
  bright = np.clip(2.5 * colours, 0, 1)
  assert (2.5 * colours > 1).any()
  mean = bright.mean(0, keepdims=True)
  np.testing.assert_allclose(ends((2.5, 0.6, 1)), mean + 0.6 * (bright - mean), atol=1e-5)

  grey = ends((1, 1, 0))
  largest = colours.max(-1, keepdims=True)  # what HSV keeps
  np.testing.assert_allclose(grey, largest.repeat(3, -1), atol=1e-5)
  half = ends((1, 1, 0.5))
  np.testing.assert_allclose(half, (grey + colours) / 2, atol=1e-5)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_colours_stay_finite_and_within_zero_and_one(value, factor):
  stored = random_stored()
  stored[:, 10:60] = value

  image = np.asarray(render_many(stored, plain_view(np.eye(3)[:2], colour=(factor,) * 3)))

  assert np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1


@pytest.fixture(scope="module")
def darkest():
  """A function of one stored square that gives the darkest pixel of each of many views.

  They are random ones, and ones that reach as far out as the ranges allow, which chance alone would
  not hit.
  """
  centre = np.full(2, (SIZE - 1) / 2)
  angles = np.radians(np.linspace(-30, 30, 31))
  extreme = affine.similarity(
    angle=angles, scale=np.full(31, 0.85), src_centre=centre, dst_centre=centre
  )
  random = sample_many(481, ViewRange()).view_from_crop
  maps = jnp.concatenate([random, jnp.asarray(extreme, jnp.float32)])
  views = View(maps, jnp.zeros(len(maps), bool), jnp.ones((len(maps), 3)))

  @jax.jit
  def darkest_pixels(stored):
    return jax.vmap(lambda view: render(stored, view).min())(views)

  return darkest_pixels


@pytest.mark.slow
def test_a_stored_square_of_13_eighths_of_the_crop_leaves_no_view_a_black_corner(darkest):
  assert STORED / SIZE == 416 / 256
  assert darkest(np.full((STORED, STORED, 3), 255, np.uint8)).min() > 0.999


@pytest.mark.slow
def test_without_a_margin_most_views_have_black_corners(darkest):
  stored = np.zeros((STORED, STORED, 3), np.uint8)
  margin = (STORED - SIZE) // 2
  stored[margin:-margin, margin:-margin] = 255
  assert (darkest(stored) < 0.5).mean() > 0.5
