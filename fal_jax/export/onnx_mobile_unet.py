"""MobileUNet as an ONNX graph: an independent statement of `mobile_unet.py`.

Tensors are (B, C, H, W) as ONNX has them. Nodes carry the names of Flax's modules. Every BatchNorm
stands behind a convolution that nothing else reads, and becomes a part of its weights.
"""

from collections.abc import Mapping
from typing import Any

from fal_jax.export.onnx_graph import Graph, Tensor
from fal_jax.export.onnx_layers import Module, convolution, relu, upsample
from fal_jax.mobile_unet import MobileUNet


def heatmaps(
  graph: Graph, network: MobileUNet, variables: Mapping[str, Any], images: Tensor
) -> Tensor:
  """Writes `MobileUNet.__call__`.

  Deviation: every convolution is computed in float32, also that of a bfloat16 network.

  Args:
    graph: where to.
    network: the network.
    variables: `params` and `batch_stats`.
    images: (B, 3, H, W) float32 RGB in [0, 1].

  Returns:
    (B, K, H / 4, W / 4) float32.
  """
  net = Module(graph, variables["params"], variables["batch_stats"], network.epsilon)

  x = relu(net["stem_bn"], convolution(net["stem"], images, norm=net["stem_bn"], stride=2))
  x = _block(net["stem_block"], x, adds=True)
  x = _block(net["stem_down"], x, stride=2)
  skips = []
  for level in range(network.depth):
    x = _block(net[f"skip_{level}"], x, adds=True)
    skips.append(x)
    x = _block(net[f"down_{level}"], x, stride=2)

  x = _block(net["bottom"], x, adds=True)
  for level in reversed(range(network.depth)):
    up = net[f"up_{level}"]
    x = up.graph.add("Add", skips[level], upsample(up, _block(up, x)), name="add_skip")
  return convolution(net["heatmaps"], _expansion(net["last"], x))


def _block(module: Module, x: Tensor, *, stride: int = 1, adds: bool = False) -> Tensor:
  """`mobile_unet.InvertedResidual`, (B, C, H, W) to (B, features, H / stride, W / stride) float32.

  Args:
    module: its place.
    x: its input.
    stride: along both axes.
    adds: whether the input, which has as many channels, is added to the projection.
  """
  projected = convolution(module["project"], _expansion(module["wide"], x, stride=stride))
  return module.graph.add("Add", x, projected, name="add") if adds else projected


def _expansion(module: Module, x: Tensor, *, stride: int = 1) -> Tensor:
  """`mobile_unet.Expansion`, (B, C, H, W) to (B, hidden, H / stride, W / stride) float32."""
  if "expand" in module:
    norm = module["expand_bn"]
    x = relu(norm, convolution(module["expand"], x, norm=norm))

  depthwise, norm = module["depthwise"], module["depthwise_bn"]
  hidden = depthwise.params["kernel"].shape[-1]
  return relu(norm, convolution(depthwise, x, norm=norm, stride=stride, groups=hidden))
