"""A trained network with its decoder as an ONNX model: uint8 crops in, landmarks out.

A new network is one function from images to heatmaps, as `onnx_mobile_unet.heatmaps` is, and one
`case` in `_network`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from fal_jax.build import Setup
from fal_jax.errors import InputError
from fal_jax.export import onnx_decoder, onnx_fan, onnx_mobile_unet
from fal_jax.export.onnx_graph import Graph, Tensor
from fal_jax.heads import CorrectedFAN
from fal_jax.hourglass import FAN
from fal_jax.mobile_unet import MobileUNet
from fal_jax.network import Network


def write(
  setup: Setup, variables: Mapping[str, Any], *, name: str = "", licence: str = ""
) -> onnx.ModelProto:
  """Writes what `steps.predict_step` computes.

  The graph is of opset 18, of standard operators alone, and for batches of any size B:

  * input `images` (B, S, S, 3) uint8, upright RGB crops;
  * output `landmarks` (B, K, 2) float32, x and y in crop px, pixel-centre;
  * output `scores` (B, K) float32, the heatmaps' highest values;
  * output `heatmaps` (B, H, H, K) float32, of the last stack.

  Everything is computed in float32, whatever the precision of the network in JAX.

  Args:
    setup: of the network; its codec is the decoder.
    variables: `params` and `batch_stats`, of NumPy or JAX arrays.
    name: of the network, for the file's metadata.
    licence: of the weights, likewise.

  Returns:
    The model, checked by ONNX; `SerializeToString()` is the file.

  Raises:
    InputError: there is no writer for this kind of network.
  """
  size, cells, num_landmarks = setup.crop.size, setup.codec.size, setup.markup.num
  graph = Graph()

  images = graph.input(
    "images", np.uint8, ("batch", size, size, 3), doc="upright RGB crops of faces"
  )
  numbers = graph.add("Cast", images, name="input/float", to=onnx.TensorProto.FLOAT)
  unit = graph.add("Div", numbers, 255.0, name="input/unit")
  channels_first = graph.add("Transpose", unit, name="input/channels_first", perm=[0, 3, 1, 2])

  heatmaps, displacement = _network(graph, setup.network, variables, channels_first)
  onnx_decoder.decode(graph, setup.codec, heatmaps, displacement=displacement)
  graph.add("Transpose", heatmaps, name="heatmaps", perm=[0, 2, 3, 1])

  for output, shape, doc in (
    ("landmarks", (num_landmarks, 2), "x, y in px of the crop, (0, 0) is a pixel's centre"),
    ("scores", (num_landmarks,), "the heatmaps' highest values"),
    ("heatmaps", (cells, cells, num_landmarks), "of the last stack"),
  ):
    graph.output(output, np.float32, ("batch", *shape), doc=doc)

  metadata = {"name": name, "licence": licence}
  metadata |= {"crop_size": str(size), "num_landmarks": str(num_landmarks)}
  return graph.model(metadata)


def _network(
  graph: Graph, network: Network, variables: Mapping[str, Any], images: Tensor
) -> tuple[Tensor, Tensor | None]:
  """Writes a network; a new one is a `case` here.

  Args:
    graph: where to.
    network: the network.
    variables: `params` and `batch_stats`.
    images: (B, 3, S, S) float32 RGB in [0, 1].

  Returns:
    heatmaps: (B, K, H, H) float32, of the last stack.
    displacement: (B, K, 2) float32, heatmap px, see `network.Output`; None without one.
  """
  match network:
    case FAN():
      heatmaps, _ = onnx_fan.heatmaps_and_features(graph, network, variables, images)
      return heatmaps, None

    case CorrectedFAN(fan=fan):
      of_fan = {kind: tree["fan"] for kind, tree in variables.items()}
      heatmaps, features = onnx_fan.heatmaps_and_features(graph, fan, of_fan, images)
      dense = variables["params"]["correction"]
      return heatmaps, onnx_fan.correction(graph, dense, features, fan.num_landmarks)

    case MobileUNet():
      return onnx_mobile_unet.heatmaps(graph, network, variables, images), None

    case other:
      raise InputError(
        f"There is no ONNX writer for the network {type(other).__name__}, only for FAN and "
        "MobileUNet: add one as the first lines of fal_jax/export/onnx_model.py say."
      )
