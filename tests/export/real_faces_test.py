"""What is exported of the shipped networks equals the library on 100 real faces."""

import genuine_crops
import jax
import jax.export
import numpy as np
import pytest
from quick_xla import QUICKLY

from fal_jax import build, predict
from fal_jax.export import run as export
from fal_jax.export import verify
from fal_jax.export.options import Options
from fal_jax.weights import exported, named

FACES = 100
BATCHES = (1, 3, 17)
LIMIT = 1e-3  # px of the crop
pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def crops():
  """(FACES, S, S, 3) uint8."""
  return genuine_crops.of_helen(FACES)


def in_batches(call, images, batch):
  """Landmarks (N, K, 2) and scores (N, K) of all images in batches of one size; the rest wraps."""
  padded = np.concatenate([images, images[: -len(images) % batch]])
  results = [call(padded[first : first + batch])[:2] for first in range(0, len(padded), batch)]
  return [np.concatenate([each[i] for each in results])[: len(images)] for i in (0, 1)]


@pytest.mark.parametrize("name", ["free-68", "w300-68"])
def test_stablehlo_and_safetensors_of_a_shipped_network_equal_it(
  name, crops, tmp_path, monkeypatch
):
  monkeypatch.setattr(verify, "differences", lambda *_: {})
  export.run(Options(weights=name, out=tmp_path / "out", formats=("stablehlo", "safetensors")))

  model, read = named.load(name), exported.load(tmp_path / "out")
  jax.tree.map(np.testing.assert_array_equal, read.variables, model.variables)

  setup = build.setup(model.config)
  native = predict._predict_step(setup.network, setup.codec)
  expected = in_batches(lambda images: native(model.variables, images), crops, 20)
  content = exported.read_file(tmp_path / "out", "model.stablehlo")
  call = jax.jit(jax.export.deserialize(bytearray(content)).call, compiler_options=QUICKLY)
  for batch in BATCHES:
    points, scores = in_batches(call, crops[: 100 if batch == 17 else 12], batch)
    distance = np.linalg.norm(points - expected[0][: len(points)], axis=-1).max()
    print(f"{name}, batch {batch}: {distance:.1e} px of the crop")
    assert distance < LIMIT
    np.testing.assert_allclose(scores, expected[1][: len(scores)], atol=1e-5)
