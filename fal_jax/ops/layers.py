"""The layers that networks are made of; they know neither faces nor which network they are in."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fal_jax.ops.batch_norm import EPSILON, STATISTICS, affine_relu, batch_norm_relu

# PyTorch's default for convolutions, under which the published networks were trained.
initialiser = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class _Layer(nn.Module):
  """A layer whose weights are compared with their shapes, and nothing else.

  Flax traces the initialiser of every weight at every use to learn its shape, which takes half of
  the time that the network takes to trace.
  """

  def param(self, name: str, *args: Any, **kwargs: Any) -> Any:
    value: Any = self.get_variable("params", name)
    _, shape, *_ = args  # after the initialiser
    if value is not None and value.shape == tuple(shape):
      return value
    return super().param(name, *args, **kwargs)  # draws it, or raises


class Conv(_Layer, nn.Conv):
  """Flax's convolution as a `_Layer`."""


class Norm(_Layer):
  """BatchNorm and ReLU, with statistics over all devices of `axis_name`."""

  momentum: float = 0.9
  axis_name: str | None = None
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    shape = images.shape[-1:]
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
    variance = self.variable("batch_stats", "var", jnp.ones, shape)

    if not train:
      return affine_relu(images, mean.value, variance.value, scale, bias, epsilon=self.epsilon)

    images, batch_mean, batch_variance = batch_norm_relu(
      images, scale, bias, self.axis_name, self.epsilon
    )
    mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
    variance.value = self.momentum * variance.value + (1 - self.momentum) * batch_variance
    return images


def upsample(images: jax.Array) -> jax.Array:
  """Nearest neighbour, x2: every pixel becomes a 2 x 2 block.

  That keeps pixel centres where `affine.shrink(2)` has them.

  Args:
    images: (B, H, W, C).

  Returns:
    (B, 2 * H, 2 * W, C).
  """
  batch, height, width, channels = images.shape
  blocks = jnp.broadcast_to(images[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
  return blocks.reshape(batch, 2 * height, 2 * width, channels)


def rematerialised(part: type[nn.Module]) -> type[nn.Module]:
  """A module, called as `part(images, train)`, whose backward pass computes its activations anew.

  What BatchNorm has gathered, over devices too, is kept.
  """
  keep = jax.checkpoint_policies.save_only_these_names(STATISTICS)
  return nn.remat(part, static_argnums=(2,), policy=keep)
