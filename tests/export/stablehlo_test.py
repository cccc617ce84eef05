"""model.stablehlo computes what the library does, for any number of images, on any platform."""

import functools
import re
from typing import get_args

import exports
import jax
import jax.export
import numpy as np
import pytest
import tiny_dataset
from fan_variables import random_variables
from quick_xla import QUICKLY

from fal_jax import build, steps
from fal_jax.export import stablehlo
from fal_jax.heads import Head
from fal_jax.heatmap import Decoding


def random_network(**changes):
  """Setup and variables of a small network."""
  setup = build.setup(tiny_dataset.config("nowhere", **changes))
  return setup, random_variables(setup.network, exports.IMAGES[:1].astype(np.float32))


def check(setup, variables, batches):
  """Compares the file with the prediction step."""
  native = jax.jit(
    functools.partial(steps.predict_step, model=setup.network, codec=setup.codec),
    compiler_options=QUICKLY,
  )
  content = stablehlo.write(setup, variables)
  read = jax.jit(jax.export.deserialize(bytearray(content)).call, compiler_options=QUICKLY)

  expected = [np.asarray(array) for array in native(variables, exports.IMAGES)[:2]]
  for batch in batches:
    landmarks, scores = read(exports.IMAGES[:batch])
    assert landmarks.shape == (batch, tiny_dataset.MARKUP, 2)
    np.testing.assert_allclose(landmarks, expected[0][:batch], atol=1e-3)
    np.testing.assert_allclose(scores, expected[1][:batch], atol=1e-5)
  assert np.ptp(expected[0], 0).max() > 1  # the landmarks are those of each image


@pytest.mark.slow
def test_batches_of_any_size_get_the_landmarks_of_the_prediction_step():
  check(*random_network(), batches=(1, 3, 17))


@pytest.mark.slow
@pytest.mark.parametrize("decode", [name for name in get_args(Decoding) if "local" not in name])
def test_every_decoder_comes_along(decode):
  check(*random_network(codec__decode=decode), batches=(17,))


@pytest.mark.slow
@pytest.mark.parametrize("head", [name for name in get_args(Head) if name != "heatmaps"])
def test_every_head_comes_along(head):
  decode = "argmax" if "correction" in head else "global_softargmax"
  check(*random_network(head=head, codec__decode=decode), batches=(17,))


@pytest.mark.slow
def test_it_is_for_all_platforms_and_holds_nothing_that_one_of_them_lacks():
  content = stablehlo.write(*random_network(model__remat=True))
  read = jax.export.deserialize(bytearray(content))

  assert read.platforms == ("cpu", "cuda", "tpu")
  # JAX itself resolves this one, which refuses an empty batch, before it compiles.
  assert set(re.findall(r"custom_call *@?(\w+)", read.mlir_module())) <= {"shape_assertion"}
  (images,) = read.in_avals
  assert str(images.shape) == "(batch, 64, 64, 3)" and images.dtype == np.uint8
