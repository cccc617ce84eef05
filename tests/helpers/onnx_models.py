"""ONNX models as onnxruntime runs them, and our decoder as a model of its own."""

import numpy as np
import onnx
import onnxruntime

from fal_jax.export import onnx_decoder
from fal_jax.export.onnx_graph import Graph
from fal_jax.heatmap import HeatmapCodec


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
  """The model, ready to run on one thread."""
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = options.inter_op_num_threads = 1
  return onnxruntime.InferenceSession(
    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
  )


def decoder(codec: HeatmapCodec, num_landmarks: int) -> onnx.ModelProto:
  """From `heatmaps` (B, H, H, K) float32 to `landmarks` (B, K, 2) and `scores` (B, K)."""
  graph = Graph()
  size = codec.size
  shape = ("batch", size, size, num_landmarks)
  heatmaps = graph.input("heatmaps", np.float32, shape, doc="")
  channels_first = graph.add("Transpose", heatmaps, name="channels_first", perm=[0, 3, 1, 2])
  onnx_decoder.decode(graph, codec, channels_first)
  graph.output("landmarks", np.float32, ("batch", num_landmarks, 2), doc="")
  graph.output("scores", np.float32, ("batch", num_landmarks), doc="")
  return graph.model({})
