"""model.stablehlo: the prediction step with its weights, as jax.export writes it."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from fal_jax import steps
from fal_jax.build import Setup

# All in one file; it runs on whichever of them there is.
PLATFORMS = ("cpu", "cuda", "tpu")


def write(setup: Setup, variables: Any, *, platforms: Sequence[str] = PLATFORMS) -> bytes:
  """Lowers the prediction step, for any number of images.

  jax.export refuses operations whose meaning another release may change (custom calls), so that the
  file can be read for as long as JAX promises, and what one of the platforms lacks.

  Args:
    setup: gives network, decoder and the crop's size S.
    variables: `params` and `batch_stats`; they become constants.
    platforms: where it shall run, names of jax.export.

  Returns:
    What `jax.export.deserialize` reads: its `call` takes images (B, S, S, 3) uint8 and returns
    landmarks (B, K, 2) float32, crop px, and scores (B, K) float32.
  """
  constants = jax.tree.map(np.asarray, variables)

  def predict(images: jax.Array) -> tuple[jax.Array, jax.Array]:
    landmarks, scores, _ = steps.predict_step(
      constants, images, model=setup.network, codec=setup.codec
    )
    return landmarks, scores

  size = setup.crop.size
  shape = jax.export.symbolic_shape(f"batch, {size}, {size}, 3")
  images = jax.ShapeDtypeStruct(shape, jnp.uint8)
  return bytes(jax.export.export(jax.jit(predict), platforms=platforms)(images).serialize())
