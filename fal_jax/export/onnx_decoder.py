"""`HeatmapCodec.decode` as an ONNX graph."""

from typing import assert_never

import numpy as np
import onnx

from fal_jax.export import onnx_peaks
from fal_jax.export.onnx_graph import Graph, Tensor
from fal_jax.heatmap import HeatmapCodec


def decode(
  graph: Graph, codec: HeatmapCodec, heatmaps: Tensor, *, displacement: Tensor | None = None
) -> None:
  """Writes the decoder, with the tensors "landmarks" and "scores".

  Landmarks (B, K, 2) float32 are crop px, scores (B, K) float32 the highest values, both with the
  rules of `HeatmapCodec.decode` for borders, equal peaks and NaN.

  Args:
    graph: where to.
    codec: the decoder.
    heatmaps: (B, K, H, H) float32.
    displacement: (B, K, 2) float32, heatmap px, what a head adds to the positions.
  """
  flat = graph.add("Reshape", heatmaps, [0, 0, -1], name="peak/flat_map")
  best = graph.add("ArgMax", flat, name="peak/index", axis=2)  # the first of equal ones
  value = graph.add("GatherElements", flat, best, name="peak/value", axis=2)
  size = np.array(codec.size)
  row = graph.add("Div", best, size, name="peak/row")
  column = graph.add("Mod", best, size, name="peak/column")
  cell = graph.add("Concat", column, row, name="peak/cell", axis=2)
  cell = graph.add("Cast", cell, name="peak/position", to=onnx.TensorProto.FLOAT)

  def window(side: int) -> Tensor:
    """(B, K, side * side) float32."""
    return onnx_peaks.windows(graph, heatmaps, row, column, map_size=codec.size, size=side)

  match codec.decoding:
    case "argmax":
      position = cell
    case "quarter_offset":
      side = onnx_peaks.higher_neighbour(graph, window(3))
      quarter = graph.add("Mul", side, 0.25, name="decoder/quarter")
      position = graph.add("Add", cell, quarter, name="decoder/position")
    case "local_softargmax":
      mean = onnx_peaks.softmax_mean(
        graph, window(codec.window), size=codec.window, temperature=codec.temperature
      )
      position = graph.add("Add", cell, mean, name="decoder/position")
    case "global_softargmax":
      mean = onnx_peaks.softmax_mean(graph, flat, size=codec.size, temperature=codec.temperature)
      position = graph.add("Add", mean, (codec.size - 1) / 2, name="decoder/position")
    case "dark":
      summit = onnx_peaks.log_parabola(graph, window(3))
      position = graph.add("Add", cell, summit, name="decoder/position")
    case "calibrated":
      heat = window(codec.window)
      start = onnx_peaks.softmax_mean(graph, heat, size=codec.window, temperature=codec.temperature)
      centre = onnx_peaks.gaussian_fit(graph, heat, start, size=codec.window, sigma=codec.sigma)
      position = graph.add("Add", cell, centre, name="decoder/position")
    case _:
      assert_never(codec.decoding)

  if displacement is not None:
    position = graph.add("Add", position, displacement, name="correction/position")

  # Pixel-centre: heatmap px to crop px, the inverse of `affine.shrink`.
  scaled = graph.add("Mul", position, float(codec.stride), name="decoder/scaled")
  crop_px = graph.add("Add", scaled, (codec.stride - 1) / 2, name="decoder/crop_px")

  total = graph.add("ReduceSum", flat, [2], name="broken/total")
  broken = graph.add("IsNaN", total, name="broken/channel")
  graph.add("Where", broken, np.nan, crop_px, name="landmarks")
  scores = graph.add("Where", broken, np.nan, value, name="broken/scores")
  graph.add("Squeeze", scores, [2], name="scores")
