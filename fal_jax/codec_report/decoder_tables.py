"""What each decoder makes of heatmaps that are perfect, low, wide or noisy: tables about the codec
alone, without any data.
"""

import dataclasses
import functools
import itertools
from typing import Any, get_args

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fal_jax import build, heatmap
from fal_jax.heatmap import HeatmapCodec

# Encodings and decodings to compare: both baselines, and every decoder of continuous heatmaps.
PAIRS = (
  ("rounded", "argmax"),
  ("rounded", "quarter_offset"),
  *(("continuous", name) for name in get_args(heatmap.Decoding)),
)
SIGMAS = (1.0, 1.5, 2.0, 3.0)  # heatmap px
HEIGHTS = (1.0, 0.5, 0.25)  # of the peak
WIDER = (1.0, 1.15)  # the peak's width in parts of the codec's sigma
NOISES = (
  ("none", 0.0),
  ("white", 0.02),
  ("white", 0.1),
  ("blurred", 0.05),
)  # kind, deviation in parts of the height
POINTS = 4000
MAP = 32  # heatmap px, side of the maps


@functools.partial(jax.jit, static_argnames=("codec", "wider", "blurred"))
def mean_error(
  key: jax.Array,
  codec: HeatmapCodec,
  *,
  height: float = 1.0,
  wider: float = 1.0,
  noise: float = 0.0,
  blurred: bool = False,
) -> jax.Array:
  """Mean error of a decoder on random points away from the border.

  Args:
    key: of the points and the noise.
    codec: encoder and decoder, of stride 1.
    height: of the peaks.
    wider: width of the peaks in parts of the codec's sigma.
    noise: its standard deviation in parts of the height.
    blurred: whether the noise is smooth (a Gaussian of 1 heatmap px over white noise, brought to
      the same deviation), as what is wrong about a network's heatmaps is.

  Returns:
    Scalar float32, heatmap px.
  """
  point_key, noise_key = jax.random.split(key)
  points = jax.random.uniform(point_key, (POINTS, 2), minval=4, maxval=codec.size - 5)
  drawn = HeatmapCodec(
    size=codec.size, stride=1, sigma=codec.sigma * wider, encoding=codec.encoding
  )
  heatmaps = height * drawn.encode(points)
  grain = jax.random.normal(noise_key, heatmaps.shape)
  if blurred:
    cells = jnp.arange(codec.size)
    blur = jnp.exp(-0.5 * (cells[:, None] - cells) ** 2)
    grain = jnp.einsum("ij,jlk,lm->imk", blur, grain, blur, precision=jax.lax.Precision.HIGHEST)
    grain = grain / grain.std()
  landmarks, _ = codec.decode(heatmaps + noise * height * grain)
  return jnp.linalg.norm(landmarks - points, axis=-1).mean()


def perfect(config: ConfigDict) -> str:
  """Markdown: the error of every decoder on perfect heatmaps against sigma, at the config's window
  and temperature.
  """
  lines = [
    "| encode + decode | " + " | ".join(f"sigma {sigma:g}" for sigma in SIGMAS) + " |",
    "|---|" + "---|" * len(SIGMAS),
  ]
  for encode, decode in PAIRS:
    codecs = [_codec(config, sigma=sigma, encoding=encode, decoding=decode) for sigma in SIGMAS]
    errors = [mean_error(jax.random.key(0), codec) for codec in codecs]
    lines.append(f"| {encode} + {decode} | " + " | ".join(map(_shown, errors)) + " |")
  return "\n".join(lines)


def disturbed(config: ConfigDict) -> str:
  """Markdown: the error of the decoders on low, wide and noisy peaks, at the config's sigma, window
  and temperature.
  """
  names = [
    name for name in get_args(heatmap.Decoding) if name != "global_softargmax"
  ]  # noise anywhere on the map ruins it
  lines = [
    "| peak | width | noise | " + " | ".join(names) + " |",
    "|---|---|---|" + "---|" * len(names),
  ]
  for height, wider, (kind, noise) in itertools.product(HEIGHTS, WIDER, NOISES):
    options = {"height": height, "wider": wider, "noise": noise, "blurred": kind == "blurred"}
    errors = [
      mean_error(jax.random.key(0), _codec(config, decoding=name), **options) for name in names
    ]
    noise_name = kind if kind == "none" else f"{kind} {noise:g}"
    lines.append(
      f"| {height:g} | {wider:g} | {noise_name} | " + " | ".join(map(_shown, errors)) + " |"
    )
  return "\n".join(lines)


def report(config: ConfigDict) -> str:
  """Both tables with what they are, as the text of a markdown file."""
  options = f"window {config.codec.window}, temperature {config.codec.temperature:g}"
  return (
    f"# Decoders alone\n\nMean error in heatmap px over {POINTS:,} random points away from the border, {options}.\n\n"
    f"## Perfect heatmaps\n\n{perfect(config)}\n\n"
    f"## Low, wide and noisy peaks, continuous, sigma {config.codec.sigma:g}\n\n"
    "Width in parts of sigma; noise in parts of the peak's height, white or blurred by 1 heatmap px.\n\n"
    f"{disturbed(config)}\n"
  )


def _codec(config: ConfigDict, **changes: Any) -> HeatmapCodec:
  options = {"amplitude": "peak_one", "encoding": "continuous", **changes}
  return dataclasses.replace(build.codec(config), size=MAP, stride=1, **options)


def _shown(error: jax.Array) -> str:
  return f"{float(error):.4f}"
