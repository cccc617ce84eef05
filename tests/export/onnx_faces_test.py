"""The shipped networks as ONNX models, on 100 real faces: native to 1e-3 px of the crop.

No landmark is left out. argmax, quarter_offset and dark would jump by a quarter of a cell or more
if two cells differed by less than rounding, 2e-6; on these faces none do.
"""

import dataclasses
from typing import get_args

import genuine_crops
import jax
import numpy as np
import onnx_models
import pytest

from fal_jax import build, network, predict
from fal_jax.export import onnx_model
from fal_jax.heatmap import Decoding
from fal_jax.weights import pretrained

FACES = 100
BATCHES = (1, 3, 17)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crops():
  """(FACES, S, S, 3) uint8."""
  return genuine_crops.of_helen(FACES)


@pytest.fixture(scope="module", params=["free-68", "w300-68"])
def shipped(request, crops):
  """Setup, variables, and JAX's heatmaps (FACES, H, H, K) of a shipped network."""
  model = pretrained.load(request.param)
  setup = build.setup(model.config)
  heatmaps_of = jax.jit(
    lambda images: network.predict(setup.network, model.variables, images / 255).heatmaps[-1]
  )
  heatmaps = [heatmaps_of(part.astype(np.float32)) for part in np.split(crops, 5)]
  return setup, model.variables, np.concatenate(heatmaps)


def test_batches_of_any_size_get_the_landmarks_of_the_aligner(shipped, crops):
  setup, variables, heatmaps = shipped
  native = predict._predict_step(setup.network, setup.codec)
  expected = [native(variables, part) for part in np.split(crops, 5)]
  points, scores = (np.concatenate([each[i] for each in expected]) for i in (0, 1))

  session = onnx_models.session(onnx_model.write(setup, variables))

  for batch in BATCHES:
    starts = range(0, FACES, batch)
    parts = [session.run(None, {"images": crops[first : first + batch]}) for first in starts]
    got, got_scores, got_heatmaps = map(np.concatenate, zip(*parts, strict=True))
    distance = np.linalg.norm(got - points, axis=-1)
    of_scores, of_heatmaps = np.abs(got_scores - scores), np.abs(got_heatmaps - heatmaps)
    print(
      f"batch {batch}: landmarks {distance.max():.1e} px, scores {of_scores.max():.1e}, "
      f"heatmaps {of_heatmaps.max():.1e}"
    )
    assert distance.max() < 1e-3
    np.testing.assert_allclose(got_scores, scores, atol=1e-5)
    np.testing.assert_allclose(got_heatmaps, heatmaps, atol=1e-5)


@pytest.mark.parametrize("decoding", get_args(Decoding))
def test_every_decoder_gives_the_landmarks_of_the_codec(shipped, crops, decoding):
  setup, variables, heatmaps = shipped
  codec = dataclasses.replace(setup.codec, decoding=decoding)
  points, _ = map(np.asarray, jax.jit(codec.decode)(heatmaps))

  session = onnx_models.session(
    onnx_model.write(dataclasses.replace(setup, codec=codec), variables)
  )
  got, *_ = session.run(None, {"images": crops})

  distance = np.linalg.norm(got - points, axis=-1)
  print(f"{decoding}: {distance.max():.1e} px")
  assert distance.max() < 1e-3


def test_a_learnt_correction_is_added_to_the_highest_cells(shipped, crops):
  plain, variables, _ = shipped
  config = plain.config.copy_and_resolve_references()
  config.head, config.codec.decode = "correction_dynamic", "argmax"
  setup = build.setup(config)
  rng = np.random.default_rng(0)
  features, outputs = config.model.features, 2 * plain.markup.num
  correction = {
    "kernel": 0.2 * rng.normal(size=(features, outputs)),
    "bias": rng.normal(size=outputs),
  }
  corrected = {kind: {"fan": tree} for kind, tree in variables.items()}
  corrected["params"]["correction"] = jax.tree.map(np.float32, correction)

  native = predict._predict_step(setup.network, setup.codec)
  points = np.concatenate([native(corrected, part)[0] for part in np.split(crops, 5)])
  got, *_ = onnx_models.session(onnx_model.write(setup, corrected)).run(None, {"images": crops})

  offsets = (points + 0.5) / setup.codec.stride - 0.5
  assert (offsets % 1).std() > 0.2  # corrections as large as cells
  assert np.linalg.norm(got - points, axis=-1).max() < 1e-3
