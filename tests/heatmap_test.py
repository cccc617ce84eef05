"""HeatmapCodec: encoding and decoding against loops, the round trip against its known error."""

import dataclasses
from typing import get_args

import jax
import numpy as np
import pytest
from compiled import decode, encode

from fal_jax import affine
from fal_jax.errors import InputError
from fal_jax.heatmap import Decoding, HeatmapCodec

# Of the tests of all decoders: of one shape, so that each decoder is compiled once.
CHANNELS = 501


def interior_points(count: int = 4000, seed: int = 0) -> np.ndarray:
  """(1, count, 2) crop px, uniformly random, at least 8 heatmap px from the border."""
  return (4 * np.random.default_rng(seed).uniform(8, 56, (1, count, 2))).astype(np.float32)


def roundtrip_error(codec: HeatmapCodec, points: np.ndarray) -> float:
  """Mean distance in heatmap px between points and what comes back of them."""
  landmarks, _ = jax.jit(lambda points: codec.decode(codec.encode(points)))(points)
  return float(np.linalg.norm(np.asarray(landmarks) - points, axis=-1).mean() / codec.stride)


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "expected"), [(1, 0.1346), (1.5, 0.02912), (2, 0.00949)])
def test_roundtrip_error_of_the_local_softargmax_is_the_known_one(sigma, expected):
  """Measured once by an independent implementation.

  After an intentional change, update these and the table in
  fal_jax/codec_report/README.md.
  """
  error = roundtrip_error(HeatmapCodec(sigma=sigma), interior_points())
  assert error == pytest.approx(expected, rel=0.02)


IN_A_CELL = 0.3826  # the mean distance of a random point in a unit square from its centre


@pytest.mark.slow
@pytest.mark.parametrize(
  ("encoding", "decoding", "expected"),
  [
    ("rounded", "argmax", IN_A_CELL),
    ("rounded", "quarter_offset", IN_A_CELL),  # a symmetric peak: nothing to correct
    ("continuous", "argmax", IN_A_CELL),
    ("continuous", "quarter_offset", IN_A_CELL / 2),  # the same, in a square of half the side
  ],
)
def test_roundtrip_error_of_the_baselines_is_that_of_a_random_point_in_a_cell(
  encoding, decoding, expected
):
  codec = HeatmapCodec(encoding=encoding, decoding=decoding)
  assert roundtrip_error(codec, interior_points()) == pytest.approx(expected, rel=0.02)


def test_the_amplitude_of_equation_1_ruins_the_softargmax_and_raises_a_warning():
  with pytest.warns(UserWarning, match="Eq. 1"):
    codec = HeatmapCodec(sigma=2, amplitude="normalised")

  assert roundtrip_error(codec, interior_points()) == pytest.approx(0.341, rel=0.03)


def test_encode_equals_a_loop_over_cells():
  points = np.array([[10.0, 200.0], [-7.5, 30.0], [127.25, 128.5]], np.float32)
  codec = HeatmapCodec(size=64, sigma=1.7)

  expected = np.zeros((64, 64, 3))
  for k, (x, y) in enumerate(points):
    cx, cy = (x + 0.5) / 4 - 0.5, (y + 0.5) / 4 - 0.5
    for row in range(64):
      for column in range(64):
        expected[row, column, k] = np.exp(-((column - cx) ** 2 + (row - cy) ** 2) / (2 * 1.7**2))

  np.testing.assert_allclose(encode(codec, points), expected, atol=1e-5)


def test_rounded_encoding_centres_every_peak_on_a_cell():
  heatmaps = np.asarray(encode(HeatmapCodec(encoding="rounded"), interior_points(50)))
  np.testing.assert_allclose(heatmaps.max((-3, -2)), 1)


def test_an_unannotated_landmark_gives_an_empty_channel_and_leaves_others_alone():
  points = np.array([[[np.nan, 3.0], [40.0, 50.0], [np.inf, 1.0]]], np.float32)

  heatmaps = np.asarray(encode(HeatmapCodec(), points))

  assert not heatmaps[..., 0].any() and not heatmaps[..., 2].any()
  alone = encode(HeatmapCodec(), points[:, 1:2])[..., 0]
  np.testing.assert_allclose(heatmaps[..., 1], alone, atol=1e-6)


def loop_decode(heatmap: np.ndarray, window: int, temperature: float) -> np.ndarray:
  """Eq. 4-5 for one (H, W) map, cell by cell; (2,) x, y in heatmap px."""
  height, width = heatmap.shape
  row, column = np.unravel_index(np.argmax(heatmap), heatmap.shape)

  total = 0.0
  mean = np.zeros(2)
  for y in range(row - window // 2, row + window // 2 + 1):
    for x in range(column - window // 2, column + window // 2 + 1):
      if 0 <= y < height and 0 <= x < width:
        weight = np.exp(temperature * (heatmap[y, x] - heatmap[row, column]))
        total += weight
        mean += weight * np.array([x, y])

  return mean / total


@pytest.mark.parametrize("window", [1, 3, 5, 7])
def test_local_softargmax_equals_a_loop_on_noise_including_the_borders(window):
  heatmaps = np.random.default_rng(window).normal(size=(16, 16, 40)).astype(np.float32)
  heatmaps[0, 0, 0] = heatmaps[15, 15, 1] = heatmaps[0, 15, 2] = heatmaps[7, 0, 3] = 9

  landmarks, scores = decode(HeatmapCodec(size=16, window=window), heatmaps)

  exact = heatmaps.astype(np.float64)
  expected = np.stack([loop_decode(exact[..., k], window, 10.0) for k in range(40)])
  expected = affine.apply(affine.invert(affine.shrink(4)), expected)
  np.testing.assert_allclose(landmarks, expected, atol=1e-3)
  np.testing.assert_array_equal(scores, heatmaps.max((0, 1)))


def test_global_softargmax_equals_the_expectation_over_the_map():
  heatmaps = np.random.default_rng(0).normal(size=(8, 8, 3)).astype(np.float32)
  codec = HeatmapCodec(size=8, decoding="global_softargmax", temperature=2.0)

  landmarks, _ = decode(codec, heatmaps)

  weights = np.exp(2.0 * heatmaps.astype(np.float64))
  weights /= weights.sum((0, 1))
  rows, columns = np.mgrid[:8, :8][..., None]
  expected = np.stack([(weights * columns).sum((0, 1)), (weights * rows).sum((0, 1))], -1)
  np.testing.assert_allclose(
    affine.apply(affine.shrink(4), np.asarray(landmarks)), expected, atol=1e-5
  )


def test_leading_axes_are_kept():
  points = np.random.default_rng(0).uniform(40, 200, (2, 3, 5, 2)).astype(np.float32)
  codec = HeatmapCodec()

  heatmaps = encode(codec, points)
  landmarks, scores = decode(codec, heatmaps)

  assert heatmaps.shape == (2, 3, 64, 64, 5)
  assert landmarks.shape == points.shape
  assert scores.shape == (2, 3, 5)


def test_of_two_equal_peaks_one_is_returned_and_not_a_mixture():
  heatmap = np.zeros((64, 64, 2), np.float32)
  heatmap[10, 40] = heatmap[50, 10] = 1

  landmarks, _ = decode(HeatmapCodec(decoding="argmax"), heatmap)

  position = affine.apply(affine.shrink(4), np.asarray(landmarks))
  np.testing.assert_allclose(position, [[40, 10], [40, 10]], atol=1e-4)


@pytest.mark.parametrize("decoding", get_args(Decoding))
def test_nan_in_one_channel_stays_there(decoding):
  codec = HeatmapCodec(decoding=decoding)
  heatmaps = np.array(encode(codec, interior_points(CHANNELS)))
  clean, _ = decode(codec, heatmaps)

  heatmaps[0, 3, 5, 1] = np.nan
  landmarks, scores = decode(codec, heatmaps)

  assert np.isnan(landmarks[0, 1]).all() and np.isnan(scores[0, 1])
  np.testing.assert_array_equal(np.delete(landmarks, 1, 1), np.delete(clean, 1, 1))


@pytest.mark.parametrize(
  "decoding", [decoding for decoding in get_args(Decoding) if decoding != "global_softargmax"]
)
def test_a_constant_map_decodes_near_its_first_cell(decoding):
  heights = np.linspace(-3, 3, CHANNELS, dtype=np.float32)
  heatmaps = np.broadcast_to(heights, (1, 64, 64, CHANNELS))

  landmarks, scores = decode(HeatmapCodec(decoding=decoding), heatmaps)

  position = affine.apply(affine.shrink(4), np.asarray(landmarks))
  assert (position >= -1e-5).all() and (position <= 2).all()
  np.testing.assert_array_equal(scores[0], heights)


@pytest.mark.parametrize("decoding", get_args(Decoding))
def test_mirrored_heatmaps_decode_to_mirrored_landmarks(decoding):
  codec = HeatmapCodec(decoding=decoding)
  heatmaps = np.asarray(encode(codec, interior_points(CHANNELS)))

  landmarks, _ = decode(codec, heatmaps)
  mirrored, _ = decode(codec, heatmaps[..., ::-1, :])

  np.testing.assert_allclose(
    affine.apply(affine.mirror(256), np.asarray(mirrored)), landmarks, atol=1e-3
  )


def test_a_border_peak_is_pulled_inwards_by_a_quarter_and_never_beyond_the_map():
  codec = HeatmapCodec(sigma=2)
  point = affine.apply(affine.invert(affine.shrink(4)), np.array([[0.0, 30.0]]))

  landmarks, _ = decode(codec, encode(codec, point))

  position = affine.apply(affine.shrink(4), np.asarray(landmarks))
  assert position[0, 0] == pytest.approx(0.27, abs=0.03)


@pytest.mark.parametrize("decoding", ["local_softargmax", "global_softargmax"])
def test_gradients_are_finite_on_flat_heatmaps(decoding):
  codec = HeatmapCodec(decoding=decoding)
  gradient_of_sum = jax.jit(jax.grad(lambda heatmaps: decode(codec, heatmaps)[0].sum()))
  gradient = gradient_of_sum(np.zeros((64, 64, 2), np.float32))
  assert np.isfinite(gradient).all()


def test_a_codec_is_changed_by_replacing_fields():
  codec = HeatmapCodec(decoding="dark", window=7)

  changed = dataclasses.replace(codec, sigma=2)

  assert changed.sigma == 2
  assert (changed.decoding, changed.window) == ("dark", 7)
  assert changed == HeatmapCodec(decoding="dark", window=7, sigma=2)


@pytest.mark.parametrize("change", [{"sigma": 0}, {"window": 4}, {"decoding": "magic"}])
def test_an_invalid_replacement_is_refused(change):
  with pytest.raises(InputError, match="codec"):
    dataclasses.replace(HeatmapCodec(), **change)


@pytest.mark.parametrize(
  ("options", "named"),
  [
    ({"decoding": "magic"}, "codec.decode is 'magic'; .*local_softargmax"),
    ({"encoding": "round"}, "codec.encode is 'round'; .*rounded"),
    ({"amplitude": "one"}, "codec.amplitude is 'one'; .*peak_one"),
    ({"window": 4}, "odd"),
    ({"window": 65}, "odd"),
    ({"sigma": 0}, "positive"),
    ({"temperature": -1}, "positive"),
    ({"decoding": "calibrated", "window": 1}, "window"),
  ],
)
def test_bad_options_are_refused_in_a_sentence_that_names_the_remedy(options, named):
  with pytest.raises(InputError, match=named):
    HeatmapCodec(**options)


def test_heatmaps_of_another_size_are_refused():
  with pytest.raises(InputError, match="64"):
    HeatmapCodec().decode(np.zeros((32, 32, 3), np.float32))
