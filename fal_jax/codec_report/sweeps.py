"""What the codec's figures show: its error by position in a cell, by its settings, and by noise."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fal_jax import affine
from fal_jax.codec_report import decoder_tables
from fal_jax.codec_report.roundtrip import errors_by_temperature, roundtrip
from fal_jax.heatmap import HeatmapCodec

MAX_LANDMARKS = 1000  # that are encoded and decoded under each setting
BINS = 25  # of a cell
ENCODINGS = ("rounded", "continuous")
DECODINGS = ("argmax", "local_softargmax", "calibrated")
SIGMAS = (0.75, 1.0, 1.5, 2.0, 3.0)  # heatmap px; each compiles anew, as each window and size does
WINDOWS = (3, 5, 7, 9)  # heatmap px
TEMPERATURES = np.geomspace(1, 100, 81)
STRIDES = (8, 4, 2)  # crop px per heatmap px
NOISES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # fraction of the peak's height
NOISY_DECODINGS = ("argmax", "quarter_offset", "local_softargmax", "dark", "calibrated")

# Name of a curve -> what it shows, ready for JSON.
Curves = dict[str, Any]


def sample(crop_landmarks: np.ndarray, codec: HeatmapCodec) -> np.ndarray:
  """The landmarks that the figures are made of.

  Args:
    crop_landmarks: (N, K, 2) crop px, NaN where not annotated.
    codec: gives the map.

  Returns:
    (M, 2) float64 crop px: those whose largest window lies inside the map, since the border adds
    errors of its own; evenly taken over all faces where there are more than `MAX_LANDMARKS`. All of
    them where the map is too small for that.
  """
  annotated = crop_landmarks[np.isfinite(crop_landmarks).all(-1)]
  position = affine.apply(affine.shrink(codec.stride), annotated)
  reach = max(WINDOWS) // 2
  inside = ((position >= reach) & (position <= codec.size - 1 - reach)).all(-1)
  chosen = annotated[inside] if inside.any() else annotated
  rows = np.linspace(0, len(chosen) - 1, min(len(chosen), MAX_LANDMARKS)).round().astype(int)
  return chosen[rows]


def by_position(codec: HeatmapCodec, landmarks: np.ndarray) -> Curves:
  """The error along an axis against where in its cell a landmark lies along that axis.

  Args:
    codec: gives everything but encoding and decoding.
    landmarks: (M, 2) crop px.

  Returns:
    `position`, the centres of `BINS` bins from -0.5 to 0.5 heatmap px, 0 being the centre of the
    cell; and by "encode + decode" the mean signed error (`signed`) and the mean of its absolute
    value (`absolute`) in each, heatmap px, None in an empty bin.
  """
  position = affine.apply(affine.shrink(codec.stride), landmarks)
  offset = position - np.floor(position + 0.5)
  bins = np.clip(((offset + 0.5) * BINS).astype(int), 0, BINS - 1)
  curves: Curves = {"position": ((np.arange(BINS) + 0.5) / BINS - 0.5).tolist()}
  for encoding in ENCODINGS:
    for decoding in DECODINGS:
      method = _peak_one(codec, encoding=encoding, decoding=decoding)
      error = (roundtrip(method, landmarks) - landmarks) / codec.stride
      curves[f"{encoding} + {decoding}"] = {
        "signed": _means(bins, error),
        "absolute": _means(bins, np.abs(error)),
      }
  return curves


def by_setting(codec: HeatmapCodec, landmarks: np.ndarray) -> dict[str, Curves]:
  """The mean error of continuous heatmaps against each setting, the others being the codec's.

  Args:
    codec: gives the settings.
    landmarks: (M, 2) crop px.

  Returns:
    `sigma`, `window` and `temperature`: `x`, the values, and by decoder the mean errors in heatmap
    px; `size`: `x`, the sides of heatmaps, and the mean errors in crop px. A decoder that a setting
    does not concern has one error for all. Temperatures are measured on points that fill a cell.
  """

  @functools.cache
  def error(**changes: Any) -> float:
    """Crop px."""
    decoded = roundtrip(_peak_one(codec, encoding="continuous", **changes), landmarks)
    return float(np.linalg.norm(decoded - landmarks, axis=-1).mean())

  def errors(setting: str, values: list[Any], decodings: tuple[str, ...]) -> Curves:
    """Heatmap px."""
    return {
      decoding: [
        error(decoding=decoding, **{setting: value}) / codec.stride
        if decoding in decodings
        else error(decoding=decoding) / codec.stride
        for value in values
      ]
      for decoding in DECODINGS
    }

  windows = [window for window in WINDOWS if window <= codec.size]
  side = round(codec.size * codec.stride)
  strides = [stride for stride in STRIDES if side % stride == 0 and side // stride >= codec.window]
  local = _peak_one(codec, encoding="continuous", decoding="local_softargmax")
  by_temperature = errors_by_temperature(local, TEMPERATURES.astype(np.float32))
  return {
    "sigma": {"x": list(SIGMAS), **errors("sigma", list(SIGMAS), DECODINGS[1:])},
    "window": {"x": windows, **errors("window", windows, DECODINGS[1:])},
    "temperature": {
      "x": TEMPERATURES.tolist(),
      **errors("temperature", [codec.temperature] * len(TEMPERATURES), ()),
      "local_softargmax": np.asarray(by_temperature).tolist(),
    },
    "size": {
      "x": [side // stride for stride in strides],
      **{
        decoding: [
          error(decoding=decoding, size=side // stride, stride=stride) for stride in strides
        ]
        for decoding in DECODINGS
      },
    },
  }


def by_noise(config: ConfigDict) -> dict[str, Curves]:
  """The mean error of every decoder on noisy heatmaps of random points.

  Args:
    config: gives sigma, window and temperature.

  Returns:
    `white` and `blurred`: `x`, the noise as a fraction of the peak's height, and by decoder the
    mean errors, heatmap px.
  """
  key = jax.random.key(0)
  curves: dict[str, Curves] = {}
  for kind in ("white", "blurred"):
    grain = decoder_tables.grain(key, blurred=kind == "blurred")
    curves[kind] = {"x": list(NOISES)}
    for decoding in NOISY_DECODINGS:
      method = decoder_tables.small_codec(config, decoding=decoding)
      curves[kind][decoding] = [
        float(decoder_tables.mean_error(key, method, noise=noise * grain)) for noise in NOISES
      ]
  return curves


def _peak_one(codec: HeatmapCodec, **changes: Any) -> HeatmapCodec:
  return dataclasses.replace(codec, amplitude="peak_one", **changes)


def _means(bins: np.ndarray, values: np.ndarray) -> list[float | None]:
  """The means of values (M, 2) in `BINS` bins (M, 2); None in an empty one."""
  count = np.bincount(bins.ravel(), minlength=BINS)
  total = np.bincount(bins.ravel(), values.ravel(), minlength=BINS)
  return [float(t / n) if n else None for t, n in zip(total, count, strict=True)]
