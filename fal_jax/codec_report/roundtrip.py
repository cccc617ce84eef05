"""What comes back of landmarks that are encoded as perfect heatmaps and decoded again: the codec's
own error.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from fal_jax.heatmap import HeatmapCodec

BATCH_SIZE = (
  256  # the one batch that compiles, whatever N and K: its heatmaps, 4 MiB, stay in a CPU's cache
)


def roundtrip(codec: HeatmapCodec, landmarks: np.ndarray) -> np.ndarray:
  """Encodes and decodes landmarks.

  Args:
    codec: both directions.
    landmarks: (..., 2) float, crop px. Not annotated ones may be NaN: what comes back for them
      means nothing.

  Returns:
    (..., 2) float64, crop px.
  """
  flat = landmarks.reshape(-1, 2).astype(np.float32)
  padded = np.pad(flat, ((0, -len(flat) % BATCH_SIZE), (0, 0)))
  decoded = [_roundtrip(codec, batch) for batch in padded.reshape(-1, BATCH_SIZE, 2)]
  return np.concatenate(decoded)[: len(flat)].reshape(landmarks.shape).astype(np.float64)


@functools.partial(jax.jit, static_argnums=0)
def _roundtrip(codec: HeatmapCodec, landmarks: jax.Array) -> jax.Array:
  return codec.decode(codec.encode(landmarks))[0]


@functools.partial(jax.jit, static_argnums=0)
def errors_by_temperature(codec: HeatmapCodec, temperatures: jax.Array) -> jax.Array:
  """Mean error of the local soft-argmax on perfect heatmaps, at many temperatures.

  Args:
    codec: gives sigma, window and amplitude; the rest of it does not matter.
    temperatures: (T,) float.

  Returns:
    (T,) float32, heatmap px: the mean over points that fill a quarter of a cell (the others mirror
    it), away from the border.
  """
  window = codec.window
  with warnings.catch_warnings():
    warnings.simplefilter(
      "ignore"
    )  # about Eq. 1's amplitude at temperature 10: here the temperature is what is sought
    local = HeatmapCodec(
      size=window,
      stride=1,
      sigma=codec.sigma,
      window=window,
      temperature=1.0,
      amplitude=codec.amplitude,
    )
  offsets = (jnp.arange(24) + 0.5) / 48
  points = window // 2 + jnp.stack(jnp.meshgrid(offsets, offsets), -1).reshape(-1, 2)
  heatmaps = local.encode(points)
  # softmax(tau * h) is the softmax at temperature 1 of tau * h: so tau can be an array, and one
  # compilation serves all.
  return jax.lax.map(
    lambda tau: jnp.linalg.norm(local.decode(tau * heatmaps)[0] - points, axis=-1).mean(),
    temperatures,
  )


def recommend_temperature(codec: HeatmapCodec) -> float:
  """The temperature at which the local soft-argmax errs least on perfect heatmaps of the codec's
  sigma, window and amplitude.

  Measured on a grid that is refined once, to 0.3 %. Too flat a softmax counts the whole window, too
  sharp a one only the highest cell; between the two the error has a single minimum. With a window
  of 1 the temperature does nothing: the codec's own is given.
  """
  if codec.window == 1:
    return codec.temperature
  peak = 1 / (2 * np.pi * codec.sigma**2) if codec.amplitude == "normalised" else 1.0
  low, high = np.log(0.05 / peak), np.log(2000 / peak)
  for _ in range(2):
    grid, step = np.linspace(low, high, 81, retstep=True)
    best = grid[np.argmin(errors_by_temperature(codec, np.exp(grid)))]
    low, high = best - step, best + step
  return float(np.exp(best))
