"""Boxes become crops: pixels are where the map says, whether the image grows or shrinks."""

import numpy as np
import pytest
from scipy import ndimage

from fal_jax import affine
from fal_jax.crop import CropRule, crop_from_image, detector_box, extract
from fal_jax.errors import InputError

RULE = CropRule(size=64, stored_size=104, face=55)


def blob(centre: tuple[float, float], *, sigma: float, size: tuple[int, int]) -> np.ndarray:
  """(H, W, 3) uint8 with one soft disc."""
  rows, columns = np.mgrid[: size[0], : size[1]]
  disc = np.exp(-((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2) / (2 * sigma**2))
  return np.repeat(np.round(250 * disc)[..., None], 3, -1).astype(np.uint8)


def centre_of_mass(image: np.ndarray) -> np.ndarray:
  """(2,) x, y of an (H, W, 3) image's brightness."""
  row, column = ndimage.center_of_mass(image[..., 0].astype(np.float64))
  return np.array([column, row])


def noise(size: tuple[int, int]) -> np.ndarray:
  """(H, W, 3) uint8."""
  return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)


def sample(image: np.ndarray, dst_from_image: np.ndarray, size: int) -> np.ndarray:
  """Bilinear samples of an image by SciPy, (size, size, 3) float64; black outside.

  SciPy wants (row, column) and the map from the result.
  """
  inverse = affine.invert(np.asarray(dst_from_image, np.float64))
  matrix = inverse[::-1, [1, 0]]
  offset = inverse[::-1, 2]

  channels = [
    ndimage.affine_transform(
      image[..., c].astype(np.float64), matrix, offset, (size, size), order=1, mode="grid-constant"
    )
    for c in range(3)
  ]
  return np.stack(channels, -1)


@pytest.mark.parametrize("box", [(10, 20, 110, 80), (10.25, 20.5, 40, 90.75), (-30, -50, 5, 10)])
def test_the_box_s_centre_goes_to_the_crop_s_and_its_larger_side_is_the_face(box):
  box = np.array(box)

  crop = crop_from_image(box, RULE)

  np.testing.assert_allclose(affine.apply(crop, (box[:2] + box[2:]) / 2), [31.5, 31.5], atol=1e-9)
  corners = affine.apply(crop, box.reshape(2, 2))
  assert (corners[1] - corners[0]).max() == pytest.approx(RULE.face)
  assert crop.dtype == np.float64


def test_a_crop_keeps_proportions_and_is_not_rotated():
  crop = crop_from_image(np.array([0, 0, 30, 70]), RULE)
  assert crop[0, 0] == crop[1, 1] > 0 and crop[0, 1] == crop[1, 0] == 0


@pytest.mark.parametrize("scale", [3.7, 1.0, 0.73, 0.51])
def test_extract_equals_scipy_s_bilinear_samples_including_the_borders(scale):
  image = noise((61, 47))
  m = affine.similarity(
    angle=0.0, scale=scale, src_centre=np.array([9.3, 40.6]), dst_centre=np.array([20.2, 30.9])
  )

  difference = np.abs(extract(image, m, 48).astype(float) - sample(image, m, 48))

  assert difference.max() <= 255 / 32 + 0.5  # OpenCV may round positions to 1/32 px; never more
  assert difference.mean() < 2


@pytest.mark.parametrize(
  "shift", [(0, 0), (3, -5), (-20, 7), (47, 0), (48, 0), (-40, -50), (1000, -1000)]
)
def test_extract_at_whole_pixels_copies_them(shift):
  image = noise((40, 50))
  m = affine.translation(np.array(shift, float))
  nearly = m + np.array([[1e-6, 0, 2e-4], [0, -1e-6, -2e-4]])  # what a box in float32 adds

  np.testing.assert_array_equal(extract(image, m, 48), np.round(sample(image, m, 48)))
  np.testing.assert_array_equal(extract(image, nearly, 48), extract(image, m, 48))


def test_a_tenth_of_a_pixel_is_resampled():
  image = noise((40, 50))
  m = affine.translation(np.array([3.1, -5.0]))

  crop = extract(image, m, 48).astype(float)

  assert np.abs(crop - sample(image, m, 48)).max() <= 255 / 32 + 0.5
  assert np.abs(crop - extract(image, np.round(m), 48)).max() > 10


@pytest.mark.parametrize(("scale", "factor"), [(0.49, 2), (1 / 3, 3), (0.19, 5)])
def test_extract_averages_areas_first_when_the_image_shrinks(scale, factor):
  # Not multiples of the factor: the last row and column of areas are completed with black.
  height, width = 203, 187
  image = noise((height, width))
  m = affine.similarity(
    angle=0.0, scale=scale, src_centre=np.array([90.3, 101.6]), dst_centre=np.array([23.2, 24.9])
  )

  rows, columns = -(-height // factor), -(-width // factor)
  padded = np.zeros((rows * factor, columns * factor, 3))
  padded[:height, :width] = image
  small = padded.reshape(rows, factor, columns, factor, 3).mean((1, 3))
  middle = (factor - 1) / 2
  dst_from_small = m @ np.array([[factor, 0, middle], [0, factor, middle], [0, 0, 1]])

  difference = np.abs(extract(image, m, 48).astype(float) - sample(small, dst_from_small, 48))
  assert difference.max() <= 255 / 32 + 1 and difference.mean() < 1


def test_a_fine_chequerboard_shrinks_to_grey():
  """Bilinear samples of every fifth pixel alone would show black and white."""
  board = (255 * (np.indices((200, 200)).sum(0) % 2)).astype(np.uint8)
  small = extract(np.repeat(board[..., None], 3, -1), affine.shrink(5), 40)
  assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 12


@pytest.mark.parametrize("side", [20, 55, 90, 111, 275, 700])
def test_a_bright_spot_is_where_the_map_says(side):
  """From 2.75 times larger to 12 times smaller."""
  box = np.array([0.3 * side, 0.4 * side, 1.3 * side, 1.2 * side])
  spot = 0.87 * side + 0.13, 0.71 * side + 0.37
  image = blob(spot, sigma=max(2.0, side / 20), size=(int(1.5 * side), int(1.7 * side)))
  crop = crop_from_image(box, RULE)

  shown = centre_of_mass(extract(image, crop, RULE.size))

  np.testing.assert_allclose(shown, affine.apply(crop, np.array(spot)), atol=0.05)


def test_outside_the_image_the_crop_is_black():
  white = np.full((40, 40, 3), 255, np.uint8)
  crop = extract(white, crop_from_image(np.array([20, 20, 60, 60]), RULE), RULE.size)
  assert crop[:20, :20].min() == 255 and not crop[-20:].any() and not crop[:, -20:].any()


def test_a_box_far_from_the_image_gives_a_black_crop():
  box = np.array([5000, 5000, 5050, 5050])
  assert not extract(noise((40, 40)), crop_from_image(box, RULE), RULE.size).any()


@pytest.mark.parametrize("side", [1e5, 1e8, 1e11])
def test_a_box_a_million_times_the_image_costs_no_memory(side):
  box = np.array([-side, -side, side, side])
  crop = extract(noise((40, 50)), crop_from_image(box, RULE), RULE.size)
  assert crop.shape == (64, 64, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1)])
def test_images_of_one_row_or_column_can_be_cropped(size):
  image = np.full((*size, 3), 200, np.uint8)
  crop = extract(image, crop_from_image(np.array([-1, -1, 3, 3]), RULE), RULE.size)
  assert crop.shape == (64, 64, 3) and 190 <= crop.max() <= 200


@pytest.mark.parametrize(
  ("box", "named"),
  [
    ((np.nan, 0, 10, 10), "four finite numbers"),
    ((0, 0, np.inf, 10), "four finite numbers"),
    ((0, 0, 1e300, 10), "four finite numbers"),
    ((0, 0, 10), "four finite numbers"),
    ((50, 40, 30, 90), "corners x0, y0, x1, y1"),
    ((5, 40, 30, 20), "corners x0, y0, x1, y1"),
    ((5, 5, 5, 5), "no area"),
    ((0, 0, 0, 0), "no area"),
  ],
)
def test_bad_boxes_are_refused_in_one_sentence(box, named):
  with pytest.raises(InputError, match=named) as error:
    crop_from_image(np.array(box), RULE)
  assert "\n" not in str(error.value)


def test_the_crop_is_the_middle_of_the_stored_square():
  centre = affine.apply(RULE.crop_from_stored, np.full(2, (RULE.stored_size - 1) / 2, np.float32))
  np.testing.assert_array_equal(centre, [31.5, 31.5])
  np.testing.assert_array_equal(RULE.crop_from_stored[:, :2], np.eye(2))


@pytest.mark.parametrize(
  ("options", "named"),
  [
    ({"box": "tight"}, "dataset, landmarks, detector"),
    ({"size": 256, "stored_size": 200}, "at least crop.size"),
    ({"face": 0.0}, "positive"),
    ({"face": float("nan")}, "positive"),
  ],
)
def test_bad_rules_are_refused_in_one_sentence(options, named):
  with pytest.raises(InputError, match=named) as error:
    CropRule(**options)
  assert "\n" not in str(error.value)


def test_a_detector_s_box_is_always_the_same_for_a_face_and_another_for_another():
  box = np.array([10.0, 20, 110, 180])

  first = detector_box(box, "afw/1.jpg")

  np.testing.assert_array_equal(detector_box(box, "afw/1.jpg"), first)
  assert not np.allclose(detector_box(box, "afw/1.jpg#1"), first)
  np.testing.assert_allclose(first, [15.1564, 21.7757, 103.9145, 163.7887], atol=1e-4)
  np.testing.assert_allclose(detector_box(3 * box + 7, "afw/1.jpg"), 3 * first + 7)


def test_detectors_boxes_miss_the_tight_ones_by_as_much_as_was_measured():
  box = np.array([0.0, 0, 200, 50])  # sqrt(w h) is 100

  boxes = np.array([detector_box(box, f"face {number}") for number in range(2000)])

  centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - [100, 25]
  sides = boxes[:, 2:] - boxes[:, :2]
  np.testing.assert_allclose(centres.std(0), [3.0, 4.5], rtol=0.05)
  np.testing.assert_allclose(centres.mean(0), 0, atol=0.3)
  np.testing.assert_allclose(sides[:, 0] / sides[:, 1], 4)
  assert np.log(sides[:, 1] / 50).std() == pytest.approx(0.052, rel=0.05)
