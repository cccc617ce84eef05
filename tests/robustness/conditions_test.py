"""Conditions do to a face what their names say, and nothing else."""

import cv2
import numpy as np
import pytest

from fal_jax import affine
from fal_jax.crop import CropRule, crop_from_image
from fal_jax.robustness import conditions
from fal_jax.robustness.conditions import CONDITIONS, Condition

RULE = CropRule(size=64, stored_size=104, face=50)
BY_NAME = {condition.name: condition for condition in CONDITIONS}
NONE = np.full((5, 2), np.nan)


def noise() -> np.ndarray:
  """(64, 64, 3) uint8."""
  return np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def test_there_are_as_many_as_the_config_says_under_names_of_their_own():
  assert len(BY_NAME) == len(CONDITIONS) == 18


@pytest.mark.parametrize(
  ("name", "box"),
  [
    ("box 10 % right", (20, 30, 120, 110)),
    ("box 10 % left", (0, 30, 100, 110)),
    ("box 10 % down", (10, 40, 110, 120)),
    ("box 10 % up", (10, 20, 110, 100)),
    ("box 10 % smaller", (15, 34, 105, 106)),
    ("box 10 % larger", (5, 26, 115, 114)),
  ],
)
def test_a_displaced_box_is_cut_out_as_if_the_detector_had_drawn_it(name, box):
  crop = crop_from_image(np.array([10, 30, 110, 110]), RULE)

  displaced = affine.compose(BY_NAME[name].view_from_crop(RULE), crop)

  np.testing.assert_allclose(displaced, crop_from_image(np.array(box), RULE), atol=1e-9)


@pytest.mark.parametrize("angle", [10, -10])
def test_a_box_turned_clockwise_shows_the_face_turned_the_other_way(angle):
  view = BY_NAME[f"turned {angle} degrees"].view_from_crop(RULE)

  turned = affine.apply(view, np.array([[31.5, 31.5], [41.5, 31.5]]))

  np.testing.assert_allclose(turned[0], [31.5, 31.5])
  down = turned[1, 1] - turned[0, 1]  # of a point to the right of the centre
  assert down == pytest.approx(-10 * np.sin(np.radians(angle)))


def test_without_any_change_the_crop_stays():
  np.testing.assert_allclose(Condition("none").view_from_crop(RULE), np.eye(2, 3), atol=1e-12)
  for unchanged in (
    conditions.gamma(noise(), exponent=1.0),
    conditions.saturation(noise(), factor=1.0),
    conditions.contrast(noise(), factor=1.0),
    conditions.blur(noise(), sigma=0.1),
    conditions.coarsen(noise(), factor=1.0),
    conditions.noise(noise(), "a.jpg", deviation=0.0),
    conditions.cover(noise(), "a.jpg", box=50, share=0.0),
  ):
    np.testing.assert_array_equal(unchanged, noise())


@pytest.mark.parametrize("name", [c.name for c in CONDITIONS if c.change])
def test_images_stay_images_whatever_the_landmarks(name):
  landmarks = np.random.default_rng(1).normal(32, 8, (20, 2))
  for points in (landmarks, NONE, np.full((5, 2), 30.0), np.linspace([0, 0], [60, 60], 5)):
    before = noise()
    changed = BY_NAME[name].change(before, points, "a.jpg")
    assert changed.dtype == np.uint8 and changed.shape == before.shape
    np.testing.assert_array_equal(before, noise())  # the cached crop is not written to


def test_gamma_is_a_power_of_the_fraction_of_white():
  image = np.array([[[0, 64, 255]]], np.uint8)
  bright = conditions.gamma(image, exponent=0.5)
  np.testing.assert_array_equal(bright, [[[0, round(255 * (64 / 255) ** 0.5), 255]]])


def test_saturation_keeps_brightness_and_greys_and_zero_is_opencv_s_grey():
  image = noise() // 4 + 96  # nothing clips

  np.testing.assert_allclose(
    conditions.saturation(image, factor=0.0)[..., 0].astype(int),
    cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
    atol=1,
  )
  more = conditions.saturation(image, factor=1.5)
  np.testing.assert_allclose(
    cv2.cvtColor(more, cv2.COLOR_RGB2GRAY).astype(int),
    cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
    atol=2,
  )
  assert more.std(-1).mean() == pytest.approx(1.5 * image.std(-1).mean(), rel=0.02)


def test_contrast_is_about_middle_grey_and_clips():
  image = np.array([[[128, 130, 20]]], np.uint8)
  np.testing.assert_array_equal(conditions.contrast(image, factor=3.0), [[[128, 134, 0]]])


def test_a_background_keeps_the_face_and_paints_the_corners():
  angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
  landmarks = 32 + 10 * np.stack([np.cos(angles), np.sin(angles)], -1)
  landmarks = np.concatenate([landmarks, NONE])

  painted = conditions.background(noise(), landmarks, colour=(255, 0, 7))

  # The standard deviation of points on a circle is its radius over the square root of two.
  edge = 2.4 * 10 / np.sqrt(2)
  y, x = np.mgrid[:64, :64]
  radius = np.hypot(x - 32, y - 32)
  np.testing.assert_array_equal(painted[radius < edge - 2], noise()[radius < edge - 2])
  assert (painted[radius > edge + 2] == (255, 0, 7)).all()


def test_blur_keeps_the_mean_and_widens_a_point_by_its_sigma_however_wide():
  point = np.zeros((64, 64, 3), np.uint8)
  point[28:36, 28:36] = 255  # of variance (8^2 - 1) / 12 along each axis

  blurred = conditions.blur(point, sigma=4.0)[..., 0].astype(float)

  assert blurred.mean() == pytest.approx(point[..., 0].mean(), rel=0.02)
  columns = blurred.sum(0) / blurred.sum()
  mean = columns @ np.arange(64)
  variance = columns @ (np.arange(64) - mean) ** 2
  assert mean == pytest.approx(31.5, abs=0.01)
  assert variance == pytest.approx((8**2 - 1) / 12 + 4.0**2, rel=0.03)


def test_a_coarse_image_is_made_of_means_and_shifts_nothing():
  x = np.arange(64)
  ramp = np.broadcast_to((3 * x).astype(np.uint8)[None, :, None], (64, 64, 3))
  coarse = conditions.coarsen(ramp, factor=0.25)
  np.testing.assert_allclose(coarse[:, 4:-4].astype(int), ramp[:, 4:-4].astype(int), atol=1)

  stripes = np.where(np.arange(64)[None, :, None] % 2, 200, 100) * np.ones((64, 64, 3))
  flat = conditions.coarsen(stripes.astype(np.uint8), factor=0.5)
  np.testing.assert_array_equal(flat, 150)


def test_noise_has_its_deviation_and_is_the_face_s_own():
  grey = np.full((64, 64, 3), 128, np.uint8)

  noisy = conditions.noise(grey, "a.jpg", deviation=0.1)

  assert (noisy.astype(float) - 128).std() == pytest.approx(25.5, rel=0.03)
  np.testing.assert_array_equal(noisy, conditions.noise(grey, "a.jpg", deviation=0.1))
  assert (noisy != conditions.noise(grey, "b.jpg", deviation=0.1)).mean() > 0.9


@pytest.mark.parametrize("face", ["a.jpg", "b.jpg", "c.jpg"])
def test_a_cover_hides_its_share_of_the_box_and_a_larger_one_all_of_a_smaller(face):
  white = np.full((64, 64, 3), 255, np.uint8)
  before = np.zeros((64, 64), bool)
  for share in (0.1, 0.3, 0.6, 1.0):
    hidden = (conditions.cover(white, face, box=50, share=share) == 128).all(-1)
    assert hidden.sum() == pytest.approx(share * 50**2, rel=0.12)
    assert hidden[7:57, 7:57].sum() == hidden.sum()  # within the box
    assert hidden[before].all()
    before = hidden
