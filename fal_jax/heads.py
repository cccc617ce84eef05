"""What the paper's ablations compare heatmaps with.

A learnt correction of the argmax, and training through a soft-argmax: over the whole map, with or
without a prior (Sec. 4.1), or over the local window beside the heatmap loss (Sec. 4.3).

Source: Bulat et al. 2021, Sec. 4.1 and 4.3.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.special import rel_entr

from fal_jax import affine, losses, peaks
from fal_jax.errors import InputError
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN
from fal_jax.network import Network, Output

Head = Literal[
  "heatmaps",
  "correction_static",
  "correction_dynamic",
  "global_softargmax",
  "global_softargmax_prior",
]


class CorrectedFAN(nn.Module):
  """FAN, and a displacement of each landmark from its highest cell.

  Global pooling and a fully connected layer, as in DeepCut.

  Attributes:
    fan: the network.
  """

  fan: FAN

  @property
  def stride(self) -> int:
    """Image px per heatmap px."""
    return self.fan.stride

  @property
  def size_multiple(self) -> int:
    """Px; an image side must be a multiple of it."""
    return self.fan.size_multiple

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> Output:
    """Predicts heatmaps and displacements.

    Args:
      images: (B, H, W, 3) float32 RGB in [0, 1].
      train: whether BatchNorm uses (and updates) the statistics of this batch.

    Returns:
      FAN's heatmaps (S, B, H / 4, W / 4, K), and displacements (B, K, 2).
    """
    num_landmarks = self.fan.num_landmarks
    heatmaps, features = self.fan.heatmaps_and_features(images, train)
    displacement = nn.Dense(2 * num_landmarks, name="correction")(features.mean((1, 2)))
    # Not `len`, which an export for any number of images does not know.
    return Output(heatmaps, displacement.reshape(images.shape[0], num_landmarks, 2))


def with_head(plain: Network, head: str) -> Network:
  """Adds what `config.head` predicts beside heatmaps.

  Args:
    plain: the network itself.
    head: see `Head`.

  Returns:
    `plain`, or a network around it.

  Raises:
    InputError: the head needs a network of another kind.
  """
  if not head.startswith("correction"):
    return plain
  if not isinstance(plain, FAN):
    raise InputError(
      f"config.head={head} reads features that only FAN has: set --config.model.name=fan "
      "or --config.head=heatmaps."
    )
  return CorrectedFAN(plain)


def static_target(landmarks: jax.Array, codec: HeatmapCodec) -> jax.Array:
  """What rounding to cells loses, independent of the prediction.

  Source: Bulat et al. 2021, Sec. 4.1: "measuring the heatmap encoding errors". These are the errors
  of rounded heatmaps drawn in the same frame, so of those that are trained with
  `siamese.frame = "view"`; heatmaps rounded in the crop's frame have others.

  Args:
    landmarks: (..., K, 2) float32, px of the network's input, the view.
    codec: gives size and stride.

  Returns:
    (..., K, 2) float32, heatmap px, within half a cell.
  """
  position = affine.apply(affine.shrink(codec.stride), landmarks)
  return position - jnp.floor(position + 0.5)


def dynamic_target(landmarks: jax.Array, heatmaps: jax.Array, codec: HeatmapCodec) -> jax.Array:
  """The offset from the currently predicted highest cell to the truth.

  Deviation: at most the reach of the codec's window along each axis. A peak somewhere else entirely
  is the fault of the heatmaps, and its square would drown everything a correction can do.

  Args:
    landmarks: (..., K, 2) float32, px of the network's input.
    heatmaps: (..., H, W, K) float32, predicted; they receive no gradient.
    codec: its decoder gives the prediction.

  Returns:
    (..., K, 2) float32, heatmap px.
  """
  predicted, _ = codec.decode(jax.lax.stop_gradient(heatmaps))
  reach = codec.window / 2
  return jnp.clip((landmarks - predicted) / codec.stride, -reach, reach)


def window_positions(
  heatmaps: jax.Array, landmarks: jax.Array, codec: HeatmapCodec
) -> tuple[jax.Array, jax.Array]:
  """What the local soft-argmax reads in the window around each true cell, and what it should.

  Source: Bulat et al. 2021, Sec. 4.3, "explicitly using the local window loss during training".
  Deviation: the window lies where the highest cell should be. Around the highest cell there is, it
  would teach heatmaps that are still wrong the best of wrong places.

  Args:
    heatmaps: (S, ..., H, W, K) float32.
    landmarks: (..., K, 2) float32, px of the network's input.
    codec: gives size, stride, window and temperature.

  Returns:
    position: (S, ..., K, 2) float32, heatmap px.
    target: the same shape; NaN where the landmark is not annotated or outside the heatmap.
  """
  target = affine.apply(affine.shrink(codec.stride), landmarks)
  cell = jnp.floor(target + 0.5)
  inside = ((cell >= 0) & (cell < codec.size)).all(-1, keepdims=True)  # False where NaN
  target = jnp.where(inside, target, jnp.nan)
  cell = jnp.where(inside, cell, 0)

  def of_stack(heatmaps: jax.Array) -> jax.Array:
    x, y = cell[..., 0].astype(jnp.int32), cell[..., 1].astype(jnp.int32)
    patch = peaks.windows(heatmaps, x, y, codec.window)
    return cell + peaks.softmax_mean(patch, codec.temperature)

  position = jax.vmap(of_stack)(heatmaps)
  return position, jnp.broadcast_to(target, position.shape)


def global_softargmax_loss(
  heatmaps: jax.Array, landmarks: jax.Array, codec: HeatmapCodec, *, prior: bool
) -> jax.Array:
  """Squared error of the mean position under a softmax over the whole map.

  The heatmaps may look like anything, unless there is a prior for them.

  Source: Bulat et al. 2021, Sec. 4.1, after [29].

  Args:
    heatmaps: (S, ..., H, W, K) float32.
    landmarks: (..., K, 2) float32, px of the network's input, NaN where not annotated.
    codec: gives size, stride and temperature.
    prior: whether `prior_divergence` is added.

  Returns:
    Scalar, heatmap px squared, summed over everything.
  """
  position = peaks.softmax_mean(heatmaps, codec.temperature) + (codec.size - 1) / 2
  target = affine.apply(affine.shrink(codec.stride), landmarks)
  loss = losses.point_l2(position, jnp.broadcast_to(target, position.shape))
  return loss + prior_divergence(heatmaps, landmarks, codec) if prior else loss


def prior_divergence(heatmaps: jax.Array, landmarks: jax.Array, codec: HeatmapCodec) -> jax.Array:
  """How far the softmax of each whole map is from the Gaussian that it should be.

  Source: Bulat et al. 2021, Sec. 4.1, "adding a Gaussian prior"; which one is not stated. This is
  the Jensen-Shannon regulariser of Nibali et al., Numerical Coordinate Regression with
  Convolutional Neural Networks (DSNT), 2018, Sec. 3.3, with weight 1.

  Args:
    heatmaps: (S, ..., H, W, K) float32.
    landmarks: (..., K, 2) float32, px of the network's input; one that is not annotated or whose
      Gaussian lies outside does not count.
    codec: gives the Gaussians and the temperature.

  Returns:
    Scalar, nats, summed over everything.
  """
  gaussians = codec.encode(landmarks)
  mass = gaussians.sum((-3, -2), keepdims=True)
  counts = mass > 0.5  # about a twentieth of a whole Gaussian
  wanted = gaussians / jnp.where(counts, mass, 1)

  predicted = jax.nn.softmax(codec.temperature * heatmaps, axis=(-3, -2))
  wanted = jnp.broadcast_to(wanted, predicted.shape)
  middle = (predicted + wanted) / 2
  divergence = rel_entr(predicted, middle) + rel_entr(wanted, middle)
  return jnp.where(counts, divergence, 0).sum() / 2
