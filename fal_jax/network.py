"""What the library asks of a network, whatever is inside it.

A network is one file (`hourglass.py` is FAN, `mobile_unet.py` MobileUNet) and one `case` in
`build.network`. Training and prediction do not know which one it is. Two other places know both:
the bench (`bench/flops.py` counts their operations) and the export (`export/onnx_fan.py` and
`export/onnx_mobile_unet.py` state them as ONNX graphs). Three know FAN alone: `heads.CorrectedFAN`
(the correction heads read its features), `bench/torch_reference.py` (its PyTorch twin) and
`torch_import/`.
"""

from collections.abc import Callable
from typing import Any, Protocol

import flax.struct
import jax


@flax.struct.dataclass
class Output:
  """What a network says about images.

  Attributes:
    heatmaps: (S, B, H / stride, W / stride, K) float32, one set per stack; the last is the
      prediction, and all are supervised.
    displacement: (B, K, 2) float32, heatmap px, a learnt correction of the positions that are read
      off the last heatmaps; None for networks without one.
  """

  heatmaps: jax.Array
  displacement: jax.Array | None = None


class Network(Protocol):
  """A Flax module from images (B, H, W, 3) float32 in [0, 1] to heatmaps.

  Its call returns an `Output`, or the heatmaps alone. Its collections are `params` and, if it has
  running statistics, `batch_stats`: no other is saved or restored.
  """

  @property
  def stride(self) -> int:
    """Image px per heatmap px."""
    ...

  @property
  def size_multiple(self) -> int:
    """Px; the sides of the images must be multiples of it."""
    ...

  @property
  def init(self) -> Callable[..., Any]:
    """Flax's `Module.init`: key, images (B, H, W, 3), train -> fresh variables."""
    ...

  @property
  def apply(self) -> Callable[..., Any]:
    """Flax's `Module.apply`; call `predict` or `train` below."""
    ...


def predict(network: Network, variables: Any, images: jax.Array) -> Output:
  """The network with its running statistics.

  Args:
    network: any.
    variables: `params` and `batch_stats`.
    images: (B, H, W, 3) float32 RGB in [0, 1].

  Returns:
    Its output for these images.
  """
  return _output(network.apply(variables, images, False))


def train(network: Network, variables: Any, images: jax.Array) -> tuple[Output, Any]:
  """The network with the statistics of these images, which it also adds to its running ones.

  Args:
    network: any.
    variables: `params` and `batch_stats`.
    images: (B, H, W, 3) float32 RGB in [0, 1].

  Returns:
    Its output, and the new `batch_stats`; empty if it has none.
  """
  result, updated = network.apply(variables, images, True, mutable=["batch_stats"])
  return _output(result), updated.get("batch_stats", {})


def _output(result: Any) -> Output:
  return result if isinstance(result, Output) else Output(heatmaps=result)
