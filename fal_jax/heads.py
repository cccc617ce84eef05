"""What Table 1 of the paper compares heatmaps with.

A learnt correction of the argmax, and training through a global soft-argmax.

Source: Bulat et al. 2021, Sec. 4.1.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from fal_jax import affine
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN
from fal_jax.network import Output

Head = Literal["heatmaps", "correction_static", "correction_dynamic", "global_softargmax"]


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
    return Output(heatmaps, displacement.reshape(len(images), num_landmarks, 2))


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
