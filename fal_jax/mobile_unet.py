"""MobileUNet: a U-Net of MobileNetV2's blocks, for CPUs and phones.

Sources: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018 (the
block); Ronneberger et al., U-Net, MICCAI 2015 (what goes down comes up again, with a skip
connection at every resolution); Bulat and Tzimiropoulos 2017 (input, stride and heatmaps of FAN).

Deviations from MobileNetV2:

* A kernel that halves the resolution is 4 x 4 and not 3 x 3, padded by one pixel on either side. It
  is centred between the second and the third of its pixels, where `affine.shrink(2)` has the centre
  of the result's; a 3 x 3 kernel cannot be, and lies half a pixel off. So the mirrored network
  gives exactly the mirrored heatmaps.
* No BatchNorm after the projection: the next block's first one, behind a linear layer, does its
  work. A projection so has neither scale nor shift to store, and is one matrix product.
* ReLU instead of ReLU6, whose bound is made for 8-bit arithmetic.
* Widths grow by half of `features` with each halving, from `features` where the heatmaps are.

Deviations from U-Net: skip connections are added as in an hourglass, not concatenated, and a block
that goes up narrows before nearest-neighbour upsampling, where a pixel is a quarter as many.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fal_jax.ops.batch_norm import EPSILON
from fal_jax.ops.convolution import convolve, convolve_to_float32
from fal_jax.ops.depthwise import convolve_depthwise
from fal_jax.ops.layers import Conv, Norm, initialiser, rematerialised, upsample

_HALVE = ((1, 1), (1, 1))  # padding of a 4 x 4 kernel with stride 2


class Expansion(nn.Module):
  """What comes before the projection of an inverted residual.

  (B, H, W, C) to (B, H / stride, W / stride, expansion * C): a 1 x 1 convolution that widens, and a
  depthwise one, each with BatchNorm and ReLU. With an expansion of 1 there is no first one.
  """

  expansion: int
  norm: Callable[..., nn.Module]
  stride: int = 1
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    conv = functools.partial(Conv, use_bias=False, kernel_init=initialiser, dtype=self.dtype)
    hidden = self.expansion * images.shape[-1]

    if self.expansion > 1:
      widened = conv(hidden, (1, 1), conv_general_dilated=convolve, name="expand")(images)
      images = self.norm(name="expand_bn")(widened, train)

    side = 3 if self.stride == 1 else 4
    filtered = conv(
      hidden,
      (side, side),
      strides=self.stride,
      padding=_HALVE,
      feature_group_count=hidden,
      conv_general_dilated=convolve_depthwise,
      name="depthwise",
    )(images)
    return self.norm(name="depthwise_bn")(filtered, train)


class InvertedResidual(nn.Module):
  """A narrow-wide-narrow block: (B, H, W, C) to (B, H / stride, W / stride, features).

  The result is linear; the input is added to it where the shapes agree.
  """

  features: int
  expansion: int
  norm: Callable[..., nn.Module]
  stride: int = 1
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    expansion = Expansion(self.expansion, self.norm, self.stride, self.dtype, name="wide")
    project = Conv(
      self.features,
      (1, 1),
      use_bias=False,
      kernel_init=initialiser,
      dtype=self.dtype,
      conv_general_dilated=convolve,
      name="project",
    )
    projected = project(expansion(images, train))
    return images + projected if projected.shape == images.shape else projected


class MobileUNet(nn.Module):
  """One U of inverted residuals on a stem that shrinks the image by a factor of 4.

  Attributes:
    num_landmarks: K.
    features: width at the resolution of the heatmaps; the stem has half of it, and each halving
      adds another half.
    depth: how often the U halves the resolution of the heatmaps.
    expansion: how many times wider a block is inside.
    momentum: share of the running statistics that each training step keeps.
    axis_name: device axis over which BatchNorm takes its statistics; None outside pmap.
    dtype: precision of convolutions and of what lies between them, e.g. bfloat16; None for that of
      the images and weights. Weights, statistics and heatmaps are float32 all the same.
    remat: whether to rematerialise the activations of each block in the backward pass instead of
      keeping them.
    epsilon: of BatchNorm, added to the variances, see `hourglass.FAN`.
  """

  num_landmarks: int = 68
  features: int = 32
  depth: int = 3
  expansion: int = 4
  momentum: float = 0.9
  axis_name: str | None = None
  dtype: jnp.dtype | None = None
  remat: bool = False
  epsilon: float = EPSILON

  @property
  def stride(self) -> int:
    """Image px per heatmap px: the stem halves the image twice."""
    return 4

  @property
  def size_multiple(self) -> int:
    """Px; an image side must be a multiple of it, so that the U halves evenly."""
    return self.stride * 2**self.depth

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    """Predicts heatmaps.

    Args:
      images: (B, H, W, 3) float32 RGB in [0, 1]; H and W are multiples of 4 * 2**depth.
      train: whether BatchNorm uses (and updates) the statistics of this batch.

    Returns:
      (1, B, H / 4, W / 4, K) float32.
    """
    norm = functools.partial(Norm, self.momentum, self.axis_name, self.epsilon)
    part: Any = rematerialised(InvertedResidual) if self.remat else InvertedResidual

    def block(name: str, inputs: jax.Array, features: int, **options: int) -> jax.Array:
      options = {"expansion": self.expansion, **options}
      return part(features, norm=norm, dtype=self.dtype, name=name, **options)(inputs, train)

    def level(number: int, inputs: jax.Array) -> jax.Array:
      width, wider = (self.features * (2 + each) // 2 for each in (number, number + 1))
      skip = block(f"skip_{number}", inputs, width)
      low = block(f"down_{number}", skip, wider, stride=2)
      is_last = number + 1 == self.depth
      low = block("bottom", low, wider) if is_last else level(number + 1, low)
      return skip + upsample(block(f"up_{number}", low, width))

    conv = functools.partial(Conv, kernel_init=initialiser, dtype=self.dtype)
    stem = conv(
      self.features // 2,
      (4, 4),
      strides=2,
      padding=_HALVE,
      use_bias=False,
      conv_general_dilated=convolve,
      name="stem",
    )
    x = norm(name="stem_bn")(stem(images), train)
    x = block("stem_block", x, self.features // 2, expansion=1)
    x = block("stem_down", x, self.features, stride=2)
    x = level(0, x)

    # The heatmaps are the projection of a last block.
    x = Expansion(self.expansion, norm, dtype=self.dtype, name="last")(x, train)
    last = conv(
      self.num_landmarks, (1, 1), conv_general_dilated=convolve_to_float32, name="heatmaps"
    )
    return last(x)[None]
