"""The paper's functions as whole compiled programs.

Called op by op, JAX compiles every operation for itself, which takes ten times as long as compiling
the function. What can be traced also runs op by op, so nothing is left untested.
"""

import jax
import numpy as np
from quick_xla import QUICKLY
from step_fixtures import FLIP

from fal_jax import affine, heads, siamese
from fal_jax.augment import View
from fal_jax.heatmap import HeatmapCodec

encode = jax.jit(HeatmapCodec.encode, static_argnums=0)  # codec, landmarks
decode = jax.jit(HeatmapCodec.decode, static_argnums=0)  # codec, heatmaps
decode_with_covariance = jax.jit(HeatmapCodec.decode_with_covariance, static_argnums=0)
warp = jax.jit(affine.warp, static_argnums=2)  # image, dst_from_src, size of the result
window_positions = jax.jit(heads.window_positions, static_argnums=2, compiler_options=QUICKLY)
prior_divergence = jax.jit(heads.prior_divergence, static_argnums=2, compiler_options=QUICKLY)

_landmarks_in_views = jax.jit(siamese.landmarks_in_views, compiler_options=QUICKLY)
_combine = jax.jit(siamese.combine, static_argnames=("stride", "reduce"), compiler_options=QUICKLY)


def landmarks_in_views(landmarks: np.ndarray, views: View) -> jax.Array:
  """The same of the landmarks of `step_fixtures`, in crop px: (V, B, K, 2) float32."""
  return _landmarks_in_views(landmarks, views, flip=np.array(FLIP))


def combine(
  heatmaps: np.ndarray, views: View, *, reduce: siamese.Reduce
) -> tuple[jax.Array, jax.Array]:
  """The same of their heatmaps (S, V, B, H, W, K), whose stride is 4."""
  return _combine(heatmaps, views, stride=4, flip=np.array(FLIP), reduce=reduce)
