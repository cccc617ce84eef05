"""The codec's own error: known distances come out, and the recommended temperature is the best."""

import math

import numpy as np
import pytest
from compiled import decode, encode

from fal_jax.codec_report import roundtrip
from fal_jax.heatmap import HeatmapCodec

# Mean distance of a random point of a unit square to its centre: what rounding to cells loses.
UNIT_SQUARE = (math.sqrt(2) + math.asinh(1)) / 6


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    ({"encoding": "rounded", "decoding": "argmax"}, UNIT_SQUARE),
    ({"encoding": "rounded", "decoding": "quarter_offset"}, UNIT_SQUARE),
    ({"decoding": "argmax"}, UNIT_SQUARE),
    ({"decoding": "quarter_offset"}, UNIT_SQUARE / 2),
    ({"sigma": 1.0}, 0.136),
    ({"sigma": 1.5}, 0.029),
    ({"sigma": 2.0}, 0.0095),
  ],
)
def test_random_points_come_back_with_the_known_error(options, expected):
  points = 4 * np.random.default_rng(0).uniform(8, 56, (70, 50, 2))

  decoded = roundtrip.roundtrip(HeatmapCodec(**options), points)

  error = np.linalg.norm(decoded - points, axis=-1).mean() / 4
  assert error == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 2), (256, 2), (3, 100, 2)])
def test_batching_changes_neither_shape_nor_values(shape):
  points = np.random.default_rng(1).uniform(30, 220, shape)
  codec = HeatmapCodec()
  expected = decode(codec, encode(codec, points))[0]

  np.testing.assert_allclose(roundtrip.roundtrip(codec, points), expected, atol=1e-3)


def loop_error(sigma: float, window: int, temperature: float) -> float:
  """Mean error of Eq. 4-5 over the offsets of a cell, one point and one cell at a time."""
  cells = range(-(window // 2), window // 2 + 1)

  errors = []
  for px in np.arange(-11.5, 12) / 24:
    for py in np.arange(-11.5, 12) / 24:
      total, mean = 0.0, np.zeros(2)
      for y in cells:
        for x in cells:
          heat = math.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
          weight = math.exp(temperature * heat)
          total += weight
          mean += weight * np.array([x, y])
      errors.append(np.hypot(*(mean / total - [px, py])))
  return float(np.mean(errors))


@pytest.mark.parametrize(("sigma", "window", "temperature"), [(1, 5, 10), (1.5, 3, 4), (2, 7, 20)])
def test_the_error_at_a_temperature_is_that_of_a_loop(sigma, window, temperature):
  codec = HeatmapCodec(
    sigma=sigma, window=window, temperature=99, decoding="argmax", encoding="rounded"
  )

  errors = roundtrip.errors_by_temperature(codec, np.array([1, temperature], np.float32))

  assert float(errors[1]) == pytest.approx(loop_error(sigma, window, temperature), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("sigma", "window", "low", "high"),
  # Neighbours of the best of a few temperatures at which errors were measured elsewhere.
  [(1, 3, 4, 10), (1, 5, 5, 6), (1.5, 5, 6, 8), (1.5, 7, 6, 10), (2, 5, 8, 20)],
)
def test_the_recommended_temperature_errs_least(sigma, window, low, high):
  codec = HeatmapCodec(sigma=sigma, window=window)

  recommended = roundtrip.recommend_temperature(codec)

  assert low <= recommended <= high
  assert recommended == roundtrip.recommend_temperature(codec)
  others = np.geomspace(recommended / 3, recommended * 3, 50).astype(np.float32)
  least = roundtrip.errors_by_temperature(codec, np.array([recommended], np.float32))[0]
  assert least <= 1.001 * roundtrip.errors_by_temperature(codec, others).min()


@pytest.mark.filterwarnings("ignore:codec.amplitude")
@pytest.mark.parametrize("sigma", [2, 8])
def test_lower_peaks_need_a_higher_temperature_in_proportion(sigma):
  low_peaks = HeatmapCodec(sigma=sigma, amplitude="normalised")

  at_low_peaks = roundtrip.recommend_temperature(low_peaks)
  at_peaks_of_one = roundtrip.recommend_temperature(HeatmapCodec(sigma=sigma))

  assert at_low_peaks == pytest.approx(2 * math.pi * sigma**2 * at_peaks_of_one, rel=0.01)


def test_a_window_of_one_cell_leaves_the_temperature_alone():
  assert roundtrip.recommend_temperature(HeatmapCodec(window=1, temperature=3.5)) == 3.5
