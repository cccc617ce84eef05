"""FAN (Face Alignment Network): stacked hourglasses, of which the paper trains two.

Source: Bulat and Tzimiropoulos, ICCV 2017.

Modules carry the names of the published PyTorch state dicts (`conv1`, `m0`, `b1_4`, `top_m_0`,
`bl0` ...), so that an import is a change of layout and not a table.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from fal_jax.ops.batch_norm import EPSILON
from fal_jax.ops.convolution import convolve, convolve_to_float32
from fal_jax.ops.layers import Conv, Norm, initialiser, rematerialised, upsample

Pool = Literal["avg", "max"]


def _pool(images: jax.Array, pool: Pool) -> jax.Array:
  reduce = nn.avg_pool if pool == "avg" else nn.max_pool
  return reduce(images, window_shape=(2, 2), strides=(2, 2))


def _conv(features: int, size: int, *, name: str, dtype: jnp.dtype | None) -> nn.Conv:
  return Conv(
    features,
    (size, size),
    use_bias=False,
    kernel_init=initialiser,
    name=name,
    dtype=dtype,
    conv_general_dilated=convolve,
  )


class _ConvFrozenBias(Conv):
  """A convolution whose bias receives no gradient.

  The bias shifts whole channels, and every path from here ends in a BatchNorm, which cancels the
  shift: the true gradient is zero, and Adam would amplify its rounding noise to steps of full size,
  different ones on every number of devices.
  """

  def param(self, name: str, *args: Any, **kwargs: Any) -> Any:
    value = super().param(name, *args, **kwargs)
    return jax.lax.stop_gradient(value) if name == "bias" else value


class ConvBlock(nn.Module):
  """The hierarchical, parallel, multi-scale residual block: (B, H, W, C) to (B, H, W, features).

  Three pre-activated 3x3 convolutions in a row, whose results are concatenated.
  """

  features: int
  norm: Callable[..., nn.Module]
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    conv = functools.partial(_conv, dtype=self.dtype)
    half = self.features // 2
    quarter = self.features // 4

    first = conv(half, 3, name="conv1")(self.norm(name="bn1")(images, train))
    second = conv(quarter, 3, name="conv2")(self.norm(name="bn2")(first, train))
    third = conv(quarter, 3, name="conv3")(self.norm(name="bn3")(second, train))

    residual = images
    if images.shape[-1] != self.features:
      normed = self.norm(name="downsample_0")(images, train)
      residual = conv(self.features, 1, name="downsample_2")(normed)

    return jnp.concatenate([first, second, third], -1) + residual


class Hourglass(nn.Module):
  """`depth` times down by 2 and up again, with a skip connection at every resolution.

  Keeps the shape (B, H, W, features).
  """

  features: int
  norm: Callable[..., nn.Module]
  depth: int = 4
  pool: Pool = "avg"
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    def block(name: str, inputs: jax.Array) -> jax.Array:
      return ConvBlock(self.features, self.norm, self.dtype, name=name)(inputs, train)

    def level(depth: int, inputs: jax.Array) -> jax.Array:
      skip = block(f"b1_{depth}", inputs)
      low = block(f"b2_{depth}", _pool(inputs, self.pool))
      low = level(depth - 1, low) if depth > 1 else block("b2_plus_1", low)
      return skip + upsample(block(f"b3_{depth}", low))

    return level(self.depth, images)


class FAN(nn.Module):
  """Stacked hourglasses on a stem that shrinks the image by a factor of 4.

  Source: Bulat and Tzimiropoulos 2017; Bulat et al. 2021, Sec. 5.1 (two stacks, width 256).

  Attributes:
    num_stacks: hourglasses in a row; each one's heatmaps are returned, and all are supervised.
    num_landmarks: K.
    features: width of the hourglasses; the stem widths are 1/4 and 1/2 of it.
    depth: how often each hourglass halves the resolution.
    pool: "avg" as in the published PyTorch models, "max" as in the Lua training code.
    momentum: share of the running statistics that each training step keeps; PyTorch's 0.1 is the
      other share.
    epsilon: of BatchNorm, added to the variances; published weights were trained with 1e-5. A
      channel that is silent on nearly all images has a variance of that order, and turns the rare
      image that excites it into a hundred standard deviations: 1e-3 bounds it.
    axis_name: device axis over which BatchNorm takes its statistics; None outside pmap.
    dtype: precision of convolutions and of what lies between them, e.g. bfloat16; None for that of
      the images and weights. Weights, statistics and heatmaps are float32 all the same.
    remat: whether to rematerialise the activations of each hourglass and block in the backward
      pass instead of keeping them.
  """

  num_stacks: int = 2
  num_landmarks: int = 68
  features: int = 256
  depth: int = 4
  pool: Pool = "avg"
  momentum: float = 0.9
  axis_name: str | None = None
  dtype: jnp.dtype | None = None
  remat: bool = False
  epsilon: float = EPSILON

  @property
  def stride(self) -> int:
    """Image px per heatmap px: the stem's convolution and its pooling halve the image each."""
    return 4

  @property
  def size_multiple(self) -> int:
    """Px; an image side must be a multiple of it, so that every hourglass halves evenly."""
    return self.stride * 2**self.depth

  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    """Predicts heatmaps.

    Args:
      images: (B, H, W, 3) float32 RGB in [0, 1]; H and W are multiples of 4 * 2**depth.
      train: whether BatchNorm uses (and updates) the statistics of this batch.

    Returns:
      (S, B, H / 4, W / 4, K) float32, one set per stack, the last one being the prediction.
    """
    heatmaps, _ = self.heatmaps_and_features(images, train)
    return heatmaps

  @nn.compact
  def heatmaps_and_features(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Predicts heatmaps, and gives what the last ones are made from; arguments as in a plain call.

    Args:
      images: (B, H, W, 3) float32 RGB in [0, 1].
      train: as in a plain call.

    Returns:
      heatmaps: (S, B, H / 4, W / 4, K) float32.
      features: (B, H / 4, W / 4, features) float32.
    """
    features = self.features
    norm = functools.partial(Norm, self.momentum, self.axis_name, self.epsilon)
    before_norm = functools.partial(
      _ConvFrozenBias, kernel_init=initialiser, dtype=self.dtype, conv_general_dilated=convolve
    )

    parts: list[Any] = [ConvBlock, Hourglass]
    if self.remat:
      parts = [*map(rematerialised, parts)]
    block, hourglass = (functools.partial(part, norm=norm, dtype=self.dtype) for part in parts)

    # Explicit padding: XLA's SAME would pad 2 before and 3 after, a shift of half a pixel against
    # PyTorch.
    stem = before_norm(features // 4, (7, 7), strides=2, padding=((3, 3), (3, 3)), name="conv1")
    x = norm(name="bn1")(stem(images), train)
    x = _pool(block(features // 2, name="conv2")(x, train), self.pool)
    x = block(features // 2, name="conv3")(x, train)
    x = block(features, name="conv4")(x, train)

    stacks = []
    for i in range(self.num_stacks):
      y = hourglass(features, depth=self.depth, pool=self.pool, name=f"m{i}")(x, train)
      y = block(features, name=f"top_m_{i}")(y, train)
      y = before_norm(features, (1, 1), name=f"conv_last{i}")(y)
      y = norm(name=f"bn_end{i}")(y, train)
      last = Conv(
        self.num_landmarks,
        (1, 1),
        kernel_init=initialiser,
        dtype=self.dtype,
        conv_general_dilated=convolve_to_float32,
        name=f"l{i}",
      )
      heatmaps = last(y)
      stacks.append(heatmaps)

      if i + 1 < self.num_stacks:
        x = x + before_norm(features, (1, 1), name=f"bl{i}")(y)
        x = x + before_norm(features, (1, 1), name=f"al{i}")(heatmaps)

    return jnp.stack(stacks), y.astype(heatmaps.dtype)
