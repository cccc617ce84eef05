"""FAN as an ONNX graph: an independent statement of `hourglass.py` and of the head in `heads.py`.

Tensors are (B, C, H, W) as ONNX has them. Nodes carry the names of Flax's modules.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fal_jax.export.onnx_graph import Graph, Tensor
from fal_jax.export.onnx_layers import Module, convolution, norm_relu, relu, upsample
from fal_jax.hourglass import FAN, Pool


def heatmaps_and_features(
  graph: Graph, fan: FAN, variables: Mapping[str, Any], images: Tensor
) -> tuple[Tensor, Tensor]:
  """Writes `FAN.heatmaps_and_features`.

  Deviation: every convolution is computed in float32, also that of a bfloat16 network.

  Args:
    graph: where to.
    fan: the network.
    variables: `params` and `batch_stats`.
    images: (B, 3, H, W) float32 RGB in [0, 1].

  Returns:
    heatmaps: (B, K, H / 4, W / 4) float32, those of the last stack.
    features: (B, C, H / 4, W / 4) float32, what they are made from.
  """
  net = Module(graph, variables["params"], variables["batch_stats"], fan.epsilon)

  x = relu(net["bn1"], convolution(net["conv1"], images, norm=net["bn1"], stride=2))
  x = _pool(net["conv2"], _block(net["conv2"], x), fan.pool)
  x = _block(net["conv3"], x)
  x = _block(net["conv4"], x)

  for i in range(fan.num_stacks):
    y = _hourglass(net[f"m{i}"], x, depth=fan.depth, pool=fan.pool)
    y = _block(net[f"top_m_{i}"], y)
    norm = net[f"bn_end{i}"]
    y = relu(norm, convolution(net[f"conv_last{i}"], y, norm=norm))
    heatmaps = convolution(net[f"l{i}"], y)

    if i + 1 < fan.num_stacks:
      from_features, from_heatmaps = net[f"bl{i}"], net[f"al{i}"]
      x = from_features.graph.add("Add", x, convolution(from_features, y), name="add")
      x = from_heatmaps.graph.add("Add", x, convolution(from_heatmaps, heatmaps), name="add")

  return heatmaps, y


def correction(
  graph: Graph, dense: Mapping[str, np.ndarray], features: Tensor, num_landmarks: int
) -> Tensor:
  """Writes the displacements of `heads.CorrectedFAN`.

  Args:
    graph: where to.
    dense: of its fully connected layer, `kernel` (C, 2 * K) and `bias` (2 * K,).
    features: (B, C, H, W) float32.
    num_landmarks: K.

  Returns:
    (B, K, 2) float32, heatmap px.
  """
  graph = graph.inside("correction")
  mean = graph.add("GlobalAveragePool", features, name="mean")
  flat = graph.add("Flatten", mean, name="flat_mean")
  kernel, bias = (np.asarray(dense[part], np.float32) for part in ("kernel", "bias"))
  displacement = graph.add("Gemm", flat, kernel, bias, name="dense")
  return graph.add("Reshape", displacement, [-1, num_landmarks, 2], name="displacement")


def _hourglass(module: Module, inputs: Tensor, *, depth: int, pool: Pool) -> Tensor:
  """`hourglass.Hourglass`, (B, C, H, W) float32 in and out; calls itself for what is inside."""
  outer, inner, back = module[f"b1_{depth}"], module[f"b2_{depth}"], module[f"b3_{depth}"]

  skip = _block(outer, inputs)
  low = _block(inner, _pool(inner, inputs, pool))
  if depth > 1:
    low = _hourglass(module, low, depth=depth - 1, pool=pool)
  else:
    low = _block(module["b2_plus_1"], low)

  return back.graph.add("Add", skip, upsample(back, _block(back, low)), name="add_skip")


def _block(module: Module, x: Tensor) -> Tensor:
  """`hourglass.ConvBlock`, (B, C, H, W) to (B, features, H, W) float32."""
  first = convolution(module["conv1"], norm_relu(module["bn1"], x))
  second = convolution(module["conv2"], norm_relu(module["bn2"], first))
  third = convolution(module["conv3"], norm_relu(module["bn3"], second))

  residual = x
  if "downsample_2" in module:
    residual = convolution(module["downsample_2"], norm_relu(module["downsample_0"], x))

  joined = module.graph.add("Concat", first, second, third, name="concat", axis=1)
  return module.graph.add("Add", joined, residual, name="add")


def _pool(module: Module, x: Tensor, pool: Pool) -> Tensor:
  """Halves both axes, (B, C, H, W) float32."""
  op = "AveragePool" if pool == "avg" else "MaxPool"
  return module.graph.add(op, x, name="pool", kernel_shape=[2, 2], strides=[2, 2])
