"""Decoders alone, without data: tables of their errors on perfect, low, wide and noisy heatmaps."""

import dataclasses
import functools
import itertools
import warnings
from typing import Any, get_args

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fal_jax import build, heatmap
from fal_jax.heatmap import HeatmapCodec
from fal_jax.output import markdown

# Encodings and decodings to compare: both baselines, and every decoder of continuous heatmaps.
PAIRS = (
  ("rounded", "argmax"),
  ("rounded", "quarter_offset"),
  *(("continuous", name) for name in get_args(heatmap.Decoding)),
)
SIGMAS = (1.0, 1.5, 2.0, 3.0)  # heatmap px
HEIGHTS = (1.0, 0.5, 0.25)  # of the peak
WIDTHS = (1.0, 1.15)  # of the peak, as a multiple of the codec's sigma
# Kind, and standard deviation as a fraction of the peak's height.
NOISES = (
  ("none", 0.0),
  ("white", 0.02),
  ("white", 0.1),
  ("blurred", 0.05),
)
POINTS = 4000
MAP = 32  # heatmap px, side of the maps


def mean_error(
  key: jax.Array,
  codec: HeatmapCodec,
  *,
  height: float = 1.0,
  relative_width: float = 1.0,
  noise: jax.Array | None = None,
) -> jax.Array:
  """Mean error of a decoder on random points away from the border.

  Args:
    key: of the points.
    codec: encoder and decoder, of stride 1.
    height: of the peaks.
    relative_width: of the peaks, as a multiple of the codec's sigma.
    noise: (MAP, MAP, POINTS) to be added, as a fraction of the height; None for none.

  Returns:
    Scalar float32, heatmap px.
  """
  point_key, _ = jax.random.split(key)
  points = jax.random.uniform(point_key, (POINTS, 2), minval=4, maxval=codec.size - 5)
  # Zeros too, so that one program serves both.
  added = jnp.zeros((MAP, MAP, POINTS)) if noise is None else height * noise
  return _mean_error(codec, points, added, height=height, relative_width=relative_width)


@functools.partial(jax.jit, static_argnames="blurred")
def grain(key: jax.Array, *, blurred: bool) -> jax.Array:
  """Noise of standard deviation 1 for `mean_error`. It costs more than most decoders: make it once.

  Args:
    key: may be that of `mean_error`, which takes the points from another part of it.
    blurred: whether it is smooth (a Gaussian of 1 heatmap px over white noise, brought to the same
      deviation), as the errors of a network's heatmaps are.

  Returns:
    (MAP, MAP, POINTS) float32.
  """
  _, noise_key = jax.random.split(key)
  grain = jax.random.normal(noise_key, (MAP, MAP, POINTS))
  if not blurred:
    return grain
  cells = jnp.arange(MAP)
  blur = jnp.exp(-0.5 * (cells[:, None] - cells[None, :]) ** 2)
  grain = jnp.einsum("ij,jlk,lm->imk", blur, grain, blur, precision=jax.lax.Precision.HIGHEST)
  return grain / grain.std()


@functools.partial(jax.jit, static_argnames=("codec", "relative_width"))
def _mean_error(
  codec: HeatmapCodec,
  points: jax.Array,
  added: jax.Array,
  *,
  height: float,
  relative_width: float,
) -> jax.Array:
  """`mean_error` of points (M, 2), with noise (H, W, M) added to their heatmaps."""
  sigma = codec.sigma * relative_width
  drawn = HeatmapCodec(size=codec.size, stride=1, sigma=sigma, encoding=codec.encoding)
  landmarks, _ = codec.decode(height * drawn.encode(points) + added)
  return jnp.linalg.norm(landmarks - points, axis=-1).mean()


def perfect(config: ConfigDict) -> str:
  """Markdown: the error of every decoder on perfect heatmaps against sigma.

  Args:
    config: gives window and temperature.

  Returns:
    A row per decoder, a column per sigma, heatmap px.
  """
  rows = []
  for encode, decode in PAIRS:
    codecs = [
      small_codec(config, sigma=sigma, encoding=encode, decoding=decode) for sigma in SIGMAS
    ]
    errors = [mean_error(jax.random.key(0), codec) for codec in codecs]
    rows.append([f"{encode} + {decode}", *map(_cell, errors)])
  return markdown.table(["encode + decode", *(f"sigma {sigma:g}" for sigma in SIGMAS)], rows)


def disturbed(config: ConfigDict) -> str:
  """Markdown: the error of the decoders on low, wide and noisy peaks.

  Args:
    config: gives sigma, window and temperature.

  Returns:
    A row per disturbance, a column per decoder, heatmap px.
  """
  # Noise anywhere on the map ruins the global soft-argmax.
  names = [name for name in get_args(heatmap.Decoding) if name != "global_softargmax"]
  codecs = [small_codec(config, decoding=name) for name in names]

  key = jax.random.key(0)
  grains = {"white": grain(key, blurred=False), "blurred": grain(key, blurred=True)}
  rows = []
  for height, width, (kind, amount) in itertools.product(HEIGHTS, WIDTHS, NOISES):
    noise = amount * grains[kind] if amount else None
    errors = [
      mean_error(key, codec, height=height, relative_width=width, noise=noise) for codec in codecs
    ]
    noise_name = kind if kind == "none" else f"{kind} {amount:g}"
    rows.append([f"{height:g}", f"{width:g}", noise_name, *map(_cell, errors)])
  return markdown.table(["peak", "width", "noise", *names], rows)


def report(config: ConfigDict) -> str:
  """Both tables with their explanations, as the text of a Markdown file."""
  options = f"window {config.codec.window}, temperature {config.codec.temperature:g}"
  return f"""# Decoders alone

Mean error in heatmap px over {POINTS:,} random points away from the border, {options}.

## Perfect heatmaps

{perfect(config)}

## Low, wide and noisy peaks, continuous, sigma {config.codec.sigma:g}

Width as a multiple of sigma; noise as a fraction of the peak's height, white or blurred by 1
heatmap px.

{disturbed(config)}
"""


def codec(config: ConfigDict, **changes: Any) -> HeatmapCodec:
  """The config's codec with other options.

  Without its warning: the report itself says what is wrong with Eq. 1's amplitude.
  """
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    return dataclasses.replace(build.codec(config), **changes)


def small_codec(config: ConfigDict, **changes: Any) -> HeatmapCodec:
  """The same on the small maps of these tables, with peaks of 1, continuous unless changed."""
  options = {"amplitude": "peak_one", "encoding": "continuous", **changes}
  return codec(config, size=MAP, stride=1, **options)


def _cell(error: jax.Array) -> str:
  return f"{float(error):.4f}"
