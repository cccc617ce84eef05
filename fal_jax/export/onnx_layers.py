"""Layers of `ops/layers.py` as ONNX nodes, for the graphs of all networks.

Tensors are (B, C, H, W) as ONNX has them. Nodes carry the names of Flax's modules.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fal_jax.export.onnx_graph import Graph, Tensor


@dataclasses.dataclass(frozen=True)
class Module:
  """A Flax module's place in the graph, and what it has learnt.

  Attributes:
    graph: its part of the graph.
    params: its part of the tree of parameters.
    statistics: its part of the tree of running statistics.
    epsilon: of every BatchNorm in it.
  """

  graph: Graph
  params: Mapping[str, Any]
  statistics: Mapping[str, Any]
  epsilon: float

  def __getitem__(self, name: str) -> "Module":
    """A module inside."""
    statistics = self.statistics.get(name, {})
    return Module(self.graph.inside(name), self.params[name], statistics, self.epsilon)

  def __contains__(self, name: str) -> bool:
    return name in self.params


def convolution(
  module: Module, x: Tensor, *, norm: Module | None = None, stride: int = 1, groups: int = 1
) -> Tensor:
  """A convolution that keeps pixel centres where Flax's has them, (B, C, H, W) float32.

  Args:
    module: has `kernel` (h, w, C / groups, O) and maybe `bias` (O,).
    x: its input.
    norm: a BatchNorm that alone reads the result, which becomes a part of the weights.
    stride: along both axes.
    groups: of channels, none of which sees another.

  Returns:
    (B, O, H', W') float32.
  """
  kernel = np.asarray(module.params["kernel"], np.float64)
  bias = np.asarray(module.params["bias"], np.float64) if "bias" in module else None
  if norm is not None:
    scale, shift = _scale_and_shift(norm)
    kernel = kernel * scale
    bias = shift + (0 if bias is None else bias * scale)

  rows, columns = ((side - 1) // 2 for side in kernel.shape[:2])
  weights = [kernel.transpose(3, 2, 0, 1)] + ([] if bias is None else [bias])
  return module.graph.add(
    "Conv",
    x,
    *weights,
    name="conv",
    kernel_shape=kernel.shape[:2],
    strides=[stride, stride],
    pads=[rows, columns, rows, columns],
    group=groups,
  )


def norm_relu(module: Module, x: Tensor) -> Tensor:
  """`layers.Norm` with its running statistics, (B, C, H, W) float32.

  Runtimes fuse the operator BatchNormalization with its neighbours, which they do not do with a
  product and a sum; its own mean and variance are 0 and 1.
  """
  scale, shift = _scale_and_shift(module)
  zero, one = np.zeros_like(scale), np.ones_like(scale)
  y = module.graph.add("BatchNormalization", x, scale, shift, zero, one, name="norm", epsilon=0.0)
  return relu(module, y)


def relu(module: Module, x: Tensor) -> Tensor:
  """Its positive part, (B, C, H, W) float32."""
  return module.graph.add("Relu", x, name="relu")


def upsample(module: Module, x: Tensor) -> Tensor:
  """Nearest neighbour, x2, (B, C, H, W) float32: every pixel becomes a 2 x 2 block."""
  no_roi = np.zeros(0, np.float32)
  scales = np.array([1, 1, 2, 2], np.float32)
  return module.graph.add(
    "Resize",
    x,
    no_roi,
    scales,
    name="upsample",
    mode="nearest",
    coordinate_transformation_mode="asymmetric",
    nearest_mode="floor",
  )


def _scale_and_shift(norm: Module) -> tuple[np.ndarray, np.ndarray]:
  """What a BatchNorm multiplies with and adds, (C,) float64 each."""
  scale, bias = (np.asarray(norm.params[part], np.float64) for part in ("scale", "bias"))
  mean, variance = (np.asarray(norm.statistics[part], np.float64) for part in ("mean", "var"))
  slope = scale / np.sqrt(variance + norm.epsilon)
  return slope, bias - mean * slope
