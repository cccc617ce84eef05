"""Every decoder as an ONNX graph reads the same heatmaps as the codec does in JAX.

Both get identical heatmaps, so that a tie is the same tie for both and nothing has to be left out:
argmax, quarter_offset and dark jump where two cells change their order.
"""

import functools
from typing import get_args

import jax
import numpy as np
import onnx_models
import pytest
from quick_xla import QUICKLY

from fal_jax import affine
from fal_jax.heatmap import Decoding, HeatmapCodec

SIZE = 16
TOLERANCE = 1e-3  # crop px


def gaussians(count: int, *, noise: float) -> np.ndarray:
  """(count, SIZE, SIZE) peaks of any height, also on borders, in corners and 2 cells beyond."""
  rng = np.random.default_rng(0)
  centres = rng.uniform(-2, SIZE + 1, (count, 2))
  centres[:8] = [[x, y] for x in (0, SIZE - 1) for y in (0, 0.3, SIZE - 1.4, SIZE - 1)]
  codec = HeatmapCodec(size=SIZE, sigma=1.5)
  maps = np.asarray(codec.encode(affine.apply(affine.invert(affine.shrink(4)), centres)))
  heights = rng.uniform(0.05, 1.3, count)
  return np.moveaxis(maps * heights, -1, 0) + noise * rng.normal(size=(count, SIZE, SIZE))


def ties() -> np.ndarray:
  """(N, SIZE, SIZE) maps with several highest cells, next to each other and apart."""
  maps = np.stack([np.full((SIZE, SIZE), value) for value in (0, 0.25, 1e-12)] * 2)
  maps[3, 10, 4] = maps[3, 3, 12] = 1  # apart: the upper one is the first
  maps[4, 7, 2:5] = maps[4, 8, 2:5] = 1  # a plateau
  maps[5, 0, 14:] = maps[5, 1, 14:] = 1  # in a corner
  return maps


def balanced() -> np.ndarray:
  """(2, SIZE, SIZE) maps on which the fit of the calibrated decoder is balanced on a ridge.

  There the slopes cancel, and rounding alone says to which side it falls: JAX's own answer depends
  on the number of images.
  """
  maps = np.stack([np.full((SIZE, SIZE), -3.0), np.zeros((SIZE, SIZE))])
  maps[1, ::2, ::2] = 1
  return maps


def spikes() -> np.ndarray:
  """(N, SIZE, SIZE) single cells in every corner and amid every side, on ground below zero."""
  places = (0, SIZE // 2, SIZE - 1)
  maps = np.full((9, SIZE, SIZE), -0.01)
  for number, (row, column) in enumerate((row, column) for row in places for column in places):
    maps[number, row, column] = 0.7
  return maps


def broken() -> np.ndarray:
  """(N, SIZE, SIZE) maps with NaN in a corner, under the peak, beside it, and everywhere."""
  maps = np.tile(gaussians(9, noise=0.0)[8], (4, 1, 1))
  row, column = np.unravel_index(maps[0].argmax(), maps[0].shape)
  maps[0, 0, 0] = maps[1, row, column] = maps[2, row, column - 1] = maps[3] = np.nan
  return maps


@functools.cache
def kinds_of_maps() -> dict[str, np.ndarray]:
  """All of them by name, made when the first test runs."""
  return {
    "gaussians": gaussians(60, noise=0.0),
    "noisy gaussians": gaussians(60, noise=0.03),
    "noise": np.random.default_rng(1).normal(size=(60, SIZE, SIZE)),
    "noise below zero": np.random.default_rng(2).normal(size=(30, SIZE, SIZE)) - 9,
    "ties": ties(),
    "balanced": balanced(),
    "spikes": spikes(),
    "broken": broken(),
  }


def check(codec: HeatmapCodec) -> None:
  """Decodes all maps in one batch of two, which are each other's transposes."""
  kinds = kinds_of_maps()
  one = np.concatenate(list(kinds.values())).astype(np.float32)
  heatmaps = np.stack([one, one.swapaxes(1, 2)]).transpose(0, 2, 3, 1)
  names = np.repeat(list(kinds), [len(maps) for maps in kinds.values()])

  session = onnx_models.session(onnx_models.decoder(codec, len(one)))
  landmarks, scores = session.run(None, {"heatmaps": heatmaps})

  decode = jax.jit(codec.decode, compiler_options=QUICKLY)
  expected, expected_scores = map(np.asarray, decode(heatmaps))
  np.testing.assert_array_equal(scores, expected_scores)
  assert (np.isnan(landmarks).any((0, 2)) == (names == "broken")).all()
  for name in kinds:
    reach = codec.stride * (codec.window // 2)
    arbitrary = codec.decoding == "calibrated" and name == "balanced"
    np.testing.assert_allclose(
      landmarks[:, names == name],
      expected[:, names == name],
      atol=2 * reach if arbitrary else TOLERANCE,
      err_msg=name,
    )


@pytest.mark.parametrize("decoding", get_args(Decoding))
def test_a_decoder_reads_what_the_codec_reads(decoding):
  check(HeatmapCodec(size=SIZE, decoding=decoding))


@pytest.mark.slow
@pytest.mark.parametrize("decoding", ["local_softargmax", "calibrated"])
@pytest.mark.parametrize(
  "options", [{"window": 3, "stride": 8}, {"window": 7, "sigma": 1.2, "temperature": 3.0}]
)
def test_it_follows_the_options_of_the_codec(decoding, options):
  check(HeatmapCodec(size=SIZE, decoding=decoding, **options))


def test_a_window_of_one_cell_is_that_cell():
  check(HeatmapCodec(size=SIZE, decoding="local_softargmax", window=1))
