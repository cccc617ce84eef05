"""MediaPipe's face mesh with attention: 478 points, by its own detector or in a given box.

  python mediapipe_peer.py     questions as in wire.py

`FaceMesh` takes no box. Its landmark network is a graph of its own, which is given one here; the
box is not turned, while those that the detector hands on are turned upright by the eyes. All
weights are inside the package.
"""

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wire

WEIGHTS = {
  "face_landmark/face_landmark_with_attention.tflite": (
    "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4"
  ),
  "face_detection/face_detection_short_range.tflite": (
    "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
  ),
}
MAX_FACES = 5  # of which the one that is asked for counts

GRAPH = """
input_stream: "image"
input_stream: "roi"
input_side_packet: "with_attention"
output_stream: "landmarks"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""


class BoxedMesh:
  """The landmark network alone, in a box that is given."""

  def __init__(self) -> None:
    from google.protobuf import text_format
    from mediapipe.framework import calculator_pb2
    from mediapipe.python import packet_creator
    from mediapipe.python._framework_bindings import calculator_graph

    config = text_format.Parse(GRAPH, calculator_pb2.CalculatorGraphConfig())
    self._graph = calculator_graph.CalculatorGraph(graph_config=config)
    self._found: list[Any] = []
    self._graph.observe_output_stream("landmarks", lambda _, packet: self._found.append(packet))
    self._graph.start_run({"with_attention": packet_creator.create_bool(True)})
    self._time = 0

  def __call__(self, image: np.ndarray, box: Sequence[float]) -> list[Any]:
    """The mesh in a box.

    Args:
      image: (H, W, 3) uint8 RGB.
      box: x0, y0, x1, y1, px, pixel-centre.

    Returns:
      A NormalizedLandmarkList, or none where the network sees no face.
    """
    from mediapipe.framework.formats import rect_pb2
    from mediapipe.python import packet_creator, packet_getter
    from mediapipe.python._framework_bindings import image_frame

    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    rect = rect_pb2.NormalizedRect(
      x_center=((x0 + x1) / 2 + 0.5) / width,
      y_center=((y0 + y1) / 2 + 0.5) / height,
      width=(x1 - x0) / width,
      height=(y1 - y0) / height,
      rotation=0.0,
    )

    self._found.clear()
    self._time += 1
    pixels = packet_creator.create_image_frame(
      data=image, image_format=image_frame.ImageFormat.SRGB
    )
    for stream, packet in (("image", pixels), ("roi", packet_creator.create_proto(rect))):
      self._graph.add_packet_to_input_stream(stream=stream, packet=packet.at(self._time))
    self._graph.wait_until_idle()
    return [packet_getter.get_proto(packet) for packet in self._found]


def main() -> None:
  """Answers on the standard output."""
  answers = wire.take_stdout()
  try:
    import mediapipe
  except ImportError as error:
    sys.exit(
      f"mediapipe cannot be used here ({error}): pip install --require-hashes -r mediapipe.txt."
    )
  folder = Path(mediapipe.__file__).parent / "modules"
  weights = {Path(name).name: wire.checked(folder / name, WEIGHTS[name]) for name in WEIGHTS}

  mesh = mediapipe.solutions.face_mesh.FaceMesh(
    static_image_mode=True, max_num_faces=MAX_FACES, refine_landmarks=True
  )
  boxed = BoxedMesh()

  def align(image: np.ndarray, box: Sequence[float] | None) -> list[np.ndarray]:
    if box is None:
      found = mesh.process(image).multi_face_landmarks or []
    else:
      found = boxed(image, box)
    sides = image.shape[1], image.shape[0]
    fractions = [[(point.x, point.y) for point in face.landmark] for face in found]
    return [np.array(face) * sides - 0.5 for face in fractions]

  versions = {"mediapipe": importlib.metadata.version("mediapipe")}
  wire.serve(answers, align, versions=versions, weights=weights)


if __name__ == "__main__":
  main()
