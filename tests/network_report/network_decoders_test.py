"""Decoders of a trained network: every setting reads the same heatmaps as it would alone."""

import dataclasses
import functools
import typing

import jax
import numpy as np
import pytest
from quick_xla import QUICKLY
from step_fixtures import CODEC, CROP

from fal_jax import heatmap, steps
from fal_jax.heatmap import HeatmapCodec
from fal_jax.network_report import decoders


class Given:
  """A network whose last heatmaps are its variables."""

  stride, size_multiple = 4, 4

  def apply(self, variables, images, train):
    assert not train
    return jax.numpy.stack([0 * variables, variables])


def test_every_setting_differs_from_the_run_s_in_one_option():
  own = HeatmapCodec(temperature=7.0, window=11, decoding="dark")

  settings = decoders.settings(own)

  assert [codec.decoding for codec in settings["decoders"]] == list(
    typing.get_args(heatmap.Decoding)
  )
  assert {(codec.window, codec.temperature) for codec in settings["decoders"]} == {(11, 7.0)}
  assert [codec.window for codec in settings["windows"]] == [1, 3, 5, 7, 9, 11]
  assert {(codec.decoding, codec.temperature) for codec in settings["windows"]} == {
    ("local_softargmax", 7.0)
  }
  temperatures = [1, 3, 5, 7, 8, 10, 12, 15, 20, 30, 50, 100]
  assert [codec.temperature for codec in settings["temperatures"]] == temperatures
  assert {codec.window for codec in settings["temperatures"]} == {11}


@pytest.mark.filterwarnings("error")
def test_settings_that_the_codec_cannot_have_are_left_out():
  own = HeatmapCodec(size=7, window=1, amplitude="normalised", decoding="argmax")

  small = decoders.settings(own)

  assert [codec.window for codec in small["windows"]] == [1, 3, 5, 7]
  assert "calibrated" not in {codec.decoding for codec in small["decoders"]}


@pytest.mark.slow
def test_all_settings_read_the_last_heatmaps_as_each_does_alone():
  own = dataclasses.replace(CODEC, temperature=7.0)
  codecs = [
    own,
    dataclasses.replace(own, window=1),
    dataclasses.replace(own, window=7),
    dataclasses.replace(own, temperature=20.0),
    *(dataclasses.replace(own, decoding=name) for name in ("argmax", "dark", "calibrated")),
  ]
  heatmaps = np.random.default_rng(0).normal(size=(2, CODEC.size, CODEC.size, 3))
  heatmaps = heatmaps.astype(np.float32)
  images = np.zeros((2, CROP, CROP, 3), np.uint8)

  @functools.partial(jax.jit, compiler_options=QUICKLY)
  def read(heatmaps):
    together = decoders.decode_by_all(heatmaps, images, model=Given(), codecs=codecs)
    alone = [steps.predict_step(heatmaps, images, model=Given(), codec=codec) for codec in codecs]
    return together, [landmarks for landmarks, _, _ in alone]

  landmarks, alone = read(heatmaps)

  assert landmarks.shape == (2, len(codecs), 3, 2)
  for row, codec in enumerate(codecs):
    np.testing.assert_allclose(landmarks[:, row], alone[row], atol=1e-5, err_msg=str(codec))
  assert len(np.unique(landmarks[0, :, 0], axis=0)) == len(codecs) - 1
  # What the row "1 (argmax)" says.
  np.testing.assert_allclose(landmarks[:, 1], landmarks[:, 4], atol=1e-5)
