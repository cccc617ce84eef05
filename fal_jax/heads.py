"""What Table 1 of the paper compares heatmaps with: a learnt correction of the argmax, and training
through a global soft-argmax.

Source: Bulat et al. 2021, Sec. 4.2.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from fal_jax import affine
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN

Head = Literal["heatmaps", "correction_static", "correction_dynamic", "global_softargmax"]


class CorrectedFAN(nn.Module):
  """FAN, and a displacement of each landmark from its highest cell: global pooling and a fully
  connected layer, as in DeepCut.

  Attributes:
    fan: the network.
  """

  fan: FAN

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Predicts heatmaps and displacements.

    Args:
      images: (B, H, W, 3) float32 RGB in [0, 1].
      train: whether BatchNorm uses (and updates) the statistics of this batch.

    Returns:
      heatmaps: (S, B, H / 4, W / 4, K) float32, as FAN's.
      displacement: (B, K, 2) float32, heatmap px.
    """
    heatmaps, features = self.fan.heatmaps_and_features(images, train)
    displacement = nn.Dense(2 * self.fan.num_landmarks, name="correction")(features.mean((1, 2)))
    return heatmaps, displacement.reshape(len(images), self.fan.num_landmarks, 2)


def static_target(landmarks: jax.Array, codec: HeatmapCodec) -> jax.Array:
  """What rounding to cells loses, whatever the network says.

  Args:
    landmarks: (..., K, 2) float32, px of the network's input.
    codec: gives size and stride.

  Returns:
    (..., K, 2) float32, heatmap px, within half a cell.
  """
  position = affine.apply(affine.shrink(codec.stride), landmarks)
  return position - jnp.floor(position + 0.5)


def dynamic_target(landmarks: jax.Array, heatmaps: jax.Array, codec: HeatmapCodec) -> jax.Array:
  """What the highest cell of the present prediction is away from the truth.

  Deviation: at most the reach of the codec's window along each axis. A peak that is altogether
  elsewhere is the heatmaps' fault, and its square would drown everything a correction can do.

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
