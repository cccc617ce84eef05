"""Continuous heatmap encoding and decoding: Sections 3.2 and 3.3 of the paper."""

import dataclasses
import warnings
from typing import Literal, assert_never, get_args

import jax
import jax.numpy as jnp

from fal_jax import affine, peaks
from fal_jax.errors import InputError

Encoding = Literal["continuous", "rounded"]
Decoding = Literal[
  "argmax", "quarter_offset", "local_softargmax", "global_softargmax", "dark", "calibrated"
]
Amplitude = Literal["peak_one", "normalised"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeatmapCodec:
  """Landmarks to heatmaps and back; one object, so that training and evaluation cannot disagree.

  Attributes:
    size: rows and columns of a heatmap.
    stride: crop px per heatmap px.
    sigma: standard deviation of the Gaussian, heatmap px. The paper gives none (it calls sigma "the
      variance").
    window: odd side d of the window around the peak that is read, heatmap px (Sec. 3.3; 5 by
      Sec. 4.3).
    temperature: tau of Eq. 4 (10 by Sec. 5.1).
    encoding: "continuous" centres the Gaussian on the real-valued position (Eq. 3); "rounded" on
      the nearest cell (Eq. 2).
    decoding: how a position is read off a heatmap; see the method `decode`.
    amplitude: "peak_one" draws Gaussians of height 1; "normalised" uses the factor 1 / (2 pi
      sigma^2) that Eq. 1 prints, with which tau = 10 makes the softmax nearly flat: even perfect
      heatmaps are then decoded with errors of 0.24-0.34 heatmap px.
  """

  size: int = 64
  stride: float = 4
  sigma: float = 1.5
  window: int = 5
  temperature: float = 10.0
  encoding: Encoding = "continuous"
  decoding: Decoding = "local_softargmax"
  amplitude: Amplitude = "peak_one"

  def __post_init__(self) -> None:
    # Messages name the keys of the config, where users set these values.
    for key, choice, choices in (
      ("encode", self.encoding, Encoding),
      ("decode", self.decoding, Decoding),
      ("amplitude", self.amplitude, Amplitude),
    ):
      if choice not in get_args(choices):
        options = ", ".join(get_args(choices))
        raise InputError(f"codec.{key} is {choice!r}; choose one of {options}.")

    for key in ("size", "stride", "sigma", "temperature"):
      if not getattr(self, key) > 0:
        raise InputError(f"codec.{key} must be positive, got {getattr(self, key)}.")

    if self.window % 2 != 1 or not 1 <= self.window <= self.size:
      raise InputError(
        f"codec.window must be odd and at most the heatmap's size {self.size}, got {self.window}."
      )
    if self.decoding == "calibrated" and self.window < 3:
      raise InputError(
        "codec.decode='calibrated' fits a window of at least 3 x 3 cells, "
        f"but codec.window is {self.window}."
      )
    soft = self.decoding in ("local_softargmax", "global_softargmax")
    if self.amplitude == "normalised" and soft:
      warnings.warn(
        "codec.amplitude='normalised' is Eq. 1 as printed: a soft-argmax at temperature 10 cannot "
        "read such low peaks. Scale the temperature by 2 pi sigma^2, or keep amplitude='peak_one'.",
        stacklevel=3,
      )

  @jax.named_scope("encode")
  def encode(self, landmarks: jax.Array) -> jax.Array:
    """Draws one Gaussian per landmark.

    Source: Bulat et al. 2021, Eq. 1-3.
    Deviation: peak 1 by default (see `amplitude`), and (x + 0.5) / stride - 0.5 instead of
    x / stride (see `affine.shrink`).

    Args:
      landmarks: (..., K, 2) float, crop px. One that is not finite (not annotated) gives an empty
        channel; one outside the crop gives the tail that reaches inside.

    Returns:
      (..., H, W, K) float32.
    """
    centre = affine.apply(affine.shrink(self.stride), jnp.asarray(landmarks, jnp.float32))
    if self.encoding == "rounded":
      centre = jnp.floor(centre + 0.5)  # halves always up; jnp.round would go to the even cell
    known = jnp.isfinite(centre).all(-1)

    # The Gaussian is separable: (..., cells, K) profiles along x and y.
    cells = jax.lax.broadcast_to_rank(
      jnp.arange(self.size, dtype=jnp.float32)[:, None], centre.ndim
    )
    x, y = (
      jnp.exp(-0.5 * ((cells - centre[..., None, :, axis]) / self.sigma) ** 2) for axis in (0, 1)
    )
    if self.amplitude == "normalised":
      y = y / (2 * jnp.pi * self.sigma**2)

    return jnp.where(known[..., None, None, :], y[..., :, None, :] * x[..., None, :, :], 0)

  def decode(self, heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Reads sub-pixel landmarks off heatmaps; jitted, one call decodes a whole batch.

    "argmax" takes the highest cell; "quarter_offset" moves it by 0.25 px along each axis towards
    the higher neighbour; "local_softargmax" adds the expectation of a softmax over the window
    around it, and "global_softargmax" is that expectation over the whole map. "dark" puts a
    parabola through the logarithms of 3 x 3 cells. "calibrated", ours, fits the Gaussian that the
    network was taught to the window: it is unbiased, also at the border.

    A window at the border counts only the cells that exist, which pulls the soft-argmax of a peak
    on the outermost cell inwards by about 0.27 heatmap px (sigma 2).

    Source: Bulat et al. 2021, Sec. 3.3, Eq. 4-5.

    Args:
      heatmaps: (..., H, W, K) float32, peaks of about 1.

    Returns:
      landmarks: (..., K, 2) float32, crop px. Of equal peaks the first in reading order wins, so a
        constant channel decodes near the first cell; a channel holding NaN gives NaN, for that
        landmark alone.
      scores: (..., K) float32, the heatmap's highest value.
    """
    landmarks, scores, _ = self.decode_with_covariance(heatmaps)
    return landmarks, scores

  def decode_with_covariance(self, heatmaps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Decodes as `decode` does, and measures how far the heat around each landmark spreads.

    Args:
      heatmaps: (..., H, W, K) float32, peaks of about 1.

    Returns:
      landmarks: (..., K, 2) float32, crop px, as `decode`.
      scores: (..., K) float32, as `decode`.
      covariance: (..., K, 2, 2) float32, crop px squared: second moment of the window's heat about
        the landmark. The window truncates it, so it serves to compare landmarks and directions; it
        is not a confidence region.

    Raises:
      InputError: the heatmaps do not have the codec's size.
    """
    if heatmaps.shape[-3:-1] != (self.size, self.size):
      raise InputError(
        f"heatmaps must be (..., {self.size}, {self.size}, K) for this codec, got {heatmaps.shape}."
      )
    decode_images = jnp.vectorize(self._decode_image, signature="(h,w,k)->(k,p),(k),(k,p,p)")
    return decode_images(jnp.asarray(heatmaps, jnp.float32))

  def _decode_image(self, heatmaps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`decode_with_covariance` of one image's heatmaps (H, W, K), which is vmapped over all."""
    x, y, scores = peaks.peak_cells(heatmaps)
    cell = jnp.stack([x, y], -1).astype(jnp.float32)
    patch = peaks.windows(heatmaps, x, y, self.window)

    match self.decoding:
      case "argmax":
        offset = jnp.zeros_like(cell)
      case "quarter_offset":
        offset = 0.25 * peaks.higher_neighbour(peaks.windows(heatmaps, x, y, 3))
      case "local_softargmax":
        offset = peaks.softmax_mean(patch, self.temperature)
      case "global_softargmax":
        offset = peaks.softmax_mean(heatmaps, self.temperature) + (self.size - 1) / 2 - cell
      case "dark":
        offset = peaks.log_parabola(peaks.windows(heatmaps, x, y, 3))
      case "calibrated":
        start = peaks.softmax_mean(patch, self.temperature)
        offset = peaks.gaussian_fit(patch, start, sigma=self.sigma)
      case _:
        assert_never(self.decoding)

    landmarks = affine.apply(affine.invert(affine.shrink(self.stride)), cell + offset)
    covariance = self.stride**2 * peaks.second_moment(patch, offset)

    # On CPU max may skip NaN; a sum does not, and is 5x faster than an elementwise isnan.
    broken = jnp.isnan(heatmaps.sum((0, 1)))
    landmarks = jnp.where(broken[:, None], jnp.nan, landmarks)
    scores = jnp.where(broken, jnp.nan, scores)
    covariance = jnp.where(broken[:, None, None], jnp.nan, covariance)
    return landmarks, scores, covariance
