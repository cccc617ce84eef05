"""Continuous heatmap encoding and decoding: Sections 3.2 and 3.3 of the paper."""

import dataclasses
import warnings
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from fal_jax import affine
from fal_jax.errors import InputError

Encoding = Literal["continuous", "rounded"]
Decoding = Literal["argmax", "quarter_offset", "local_softargmax", "global_softargmax"]
Amplitude = Literal["peak_one", "normalised"]


@dataclasses.dataclass(frozen=True, init=False)
class HeatmapCodec:
  """Landmarks to heatmaps and back; one object, so that training and evaluation cannot disagree.

  The options `encode` and `decode` are kept in the fields `encoding` and `decoding`, since the methods have those names.

  Attributes:
    size: rows and columns of a heatmap.
    stride: crop px per heatmap px.
    sigma: standard deviation of the Gaussian, heatmap px. The paper gives none (it calls sigma "the variance").
    window: odd side d of the patch that the local soft-argmax reads, heatmap px (Sec. 3.3, 5 in the paper).
    temperature: tau of Eq. 4 (10 in the paper).
    encoding: "continuous" centres the Gaussian on the real-valued position (Eq. 3); "rounded" on the nearest cell (Eq. 2).
    decoding: how a position is read off a heatmap; see the method `decode`.
    amplitude: "peak_one" draws Gaussians of height 1; "normalised" uses the factor 1 / (2 pi sigma^2) that Eq. 1 prints, with
      which tau = 10 makes the softmax nearly flat: perfect heatmaps then come back wrong by 0.24-0.34 heatmap px.
  """

  size: int
  stride: float
  sigma: float
  window: int
  temperature: float
  encoding: Encoding
  decoding: Decoding
  amplitude: Amplitude

  def __init__(
      self,
      *,
      size: int = 64,
      stride: float = 4,
      sigma: float = 1.5,
      window: int = 5,
      temperature: float = 10.0,
      encode: Encoding = "continuous",
      decode: Decoding = "local_softargmax",
      amplitude: Amplitude = "peak_one",
  ):
    choices_of = {"encode": (encode, Encoding), "decode": (decode, Decoding), "amplitude": (amplitude, Amplitude)}
    for name, (choice, choices) in choices_of.items():
      if choice not in get_args(choices):
        raise InputError(f"codec.{name} is {choice!r}; choose one of {', '.join(get_args(choices))}.")
    for name, number in (("size", size), ("stride", stride), ("sigma", sigma), ("temperature", temperature)):
      if not number > 0:
        raise InputError(f"codec.{name} must be positive, got {number}.")
    if window % 2 != 1 or not 1 <= window <= size:
      raise InputError(f"codec.window must be odd and at most the heatmap's size {size}, got {window}.")
    if amplitude == "normalised" and "softargmax" in decode:
      warnings.warn(
          "codec.amplitude='normalised' is Eq. 1 as printed: a soft-argmax at temperature 10 cannot read such low peaks. "
          "Scale the temperature by 2 pi sigma^2, or keep amplitude='peak_one'.",
          stacklevel=2,
      )
    values = (size, stride, sigma, window, temperature, encode, decode, amplitude)
    for field, value in zip(dataclasses.fields(self), values, strict=True):
      object.__setattr__(self, field.name, value)

  def encode(self, landmarks: jax.Array) -> jax.Array:
    """Draws one Gaussian per landmark.

    Source: Bulat et al. 2021, Eq. 1-3.
    Deviation: peak 1 by default (see `amplitude`), and (x + 0.5) / stride - 0.5 for x / stride (see `affine.shrink`).

    Args:
      landmarks: (..., K, 2) float, crop px. One that is not finite (not annotated) gives an empty channel; one outside the crop
        gives the tail that reaches inside.

    Returns:
      (..., H, W, K) float32.
    """
    centre = affine.apply(affine.shrink(self.stride), jnp.asarray(landmarks, jnp.float32))
    if self.encoding == "rounded":
      centre = jnp.floor(centre + 0.5)  # half always up; jnp.round would go to the even cell
    known = jnp.isfinite(centre).all(-1)
    cells = jnp.arange(self.size, dtype=jnp.float32)
    # (..., cells, K) profiles along x and y: the Gaussian is separable.
    x, y = (jnp.exp(-0.5 * ((cells[:, None] - centre[..., None, :, axis]) / self.sigma) ** 2) for axis in (0, 1))
    if self.amplitude == "normalised":
      y = y / (2 * jnp.pi * self.sigma**2)
    return jnp.where(known[..., None, None, :], y[..., :, None, :] * x[..., None, :, :], 0)

  def decode(self, heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Reads sub-pixel landmarks off heatmaps.

    "argmax" takes the highest cell; "quarter_offset" moves it by 0.25 px along each axis towards the higher neighbour;
    "local_softargmax" adds the expectation of a softmax over the window around it; "global_softargmax" is that expectation over
    the whole map. A window at the border counts only the cells that exist, which pulls a peak on the outermost cell inwards by
    about 0.27 heatmap px (sigma 2).

    Source: Bulat et al. 2021, Sec. 3.3, Eq. 4-5.
    Deviation: the offset is centred with (d - 1) / 2, not d / 2: our window cells are counted from zero.

    Args:
      heatmaps: (..., H, W, K) float32, peaks of about 1.

    Returns:
      landmarks: (..., K, 2) float32, crop px. Of equal peaks the first in reading order wins, so a constant channel decodes near
        the first cell; a channel holding NaN gives NaN, for that landmark alone.
      scores: (..., K) float32, the heatmap's highest value.
    """
    if heatmaps.shape[-3:-1] != (self.size, self.size):
      raise InputError(f"heatmaps must be (..., {self.size}, {self.size}, K) for this codec, got {heatmaps.shape}.")
    heatmaps = jnp.asarray(heatmaps, jnp.float32)
    x, y, scores = _peaks(heatmaps)
    if self.decoding == "global_softargmax":
      position = _expectation(heatmaps, self.temperature)
    else:
      position = jnp.stack([x, y], -1).astype(jnp.float32)
      if self.decoding == "quarter_offset":
        position = position + 0.25 * jnp.sign(_slope(heatmaps, x, y))
      elif self.decoding == "local_softargmax":
        radius = self.window // 2
        position = position + _expectation(_windows(heatmaps, x, y, radius), self.temperature) - radius
    broken = jnp.isnan(heatmaps).any((-3, -2))  # asked for outright: a maximum may pass over NaN on some backends
    landmarks = affine.apply(affine.invert(affine.shrink(self.stride)), position)
    return jnp.where(broken[..., None], jnp.nan, landmarks), jnp.where(broken, jnp.nan, scores)


def _peaks(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Column, row and value (..., K) of the highest cell: first the best row, then the best cell in it.

  One argmax over the flattened map would compare (value, index) pairs cell by cell, three times slower on CPU.
  """
  y = jnp.argmax(heatmaps.max(-2), -2)
  row = jnp.take_along_axis(heatmaps, y[..., None, None, :], -3)[..., 0, :, :]
  x = jnp.argmax(row, -2)
  return x, y, jnp.take_along_axis(row, x[..., None, :], -2)[..., 0, :]


def _windows(heatmaps: jax.Array, x: jax.Array, y: jax.Array, radius: int, *, outside: float = -jnp.inf) -> jax.Array:
  """The (..., d, d, K) patches around cells (x, y); cells beyond the map read `outside`."""
  height, width = heatmaps.shape[-3:-1]
  offsets = jnp.arange(-radius, radius + 1)
  rows, columns = y[..., None, :] + offsets[:, None], x[..., None, :] + offsets[:, None]  # (..., d, K)
  patch = jnp.take_along_axis(heatmaps, jnp.clip(rows, 0, height - 1)[..., :, None, :], -3)
  patch = jnp.take_along_axis(patch, jnp.clip(columns, 0, width - 1)[..., None, :, :], -2)
  inside = ((rows >= 0) & (rows < height))[..., :, None, :] & ((columns >= 0) & (columns < width))[..., None, :, :]
  return jnp.where(inside, patch, outside)


def _expectation(patch: jax.Array, temperature: float) -> jax.Array:
  """Mean cell (..., K, 2) as (x, y) under softmax(temperature * patch), counted from the patch's first cell. Eq. 4-5."""
  probability = jax.nn.softmax(temperature * patch, axis=(-3, -2))
  rows, columns = (jnp.arange(length, dtype=jnp.float32)[:, None] for length in patch.shape[-3:-1])
  return jnp.stack([(probability.sum(-3) * columns).sum(-2), (probability.sum(-2) * rows).sum(-2)], -1)


def _slope(heatmaps: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
  """Right minus left and lower minus upper neighbour, (..., K, 2); zero where one of the two is beyond the map."""
  cross = _windows(heatmaps, x, y, 1, outside=jnp.nan)
  slope = jnp.stack([cross[..., 1, 2, :] - cross[..., 1, 0, :], cross[..., 2, 1, :] - cross[..., 0, 1, :]], -1)
  return jnp.nan_to_num(slope)
