"""YuNet by OpenCV: one small network that sees all sizes of faces at once.

Source: Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector".
"""

from typing import Any

import cv2
import numpy as np

MIN_SCORE = 0.5  # as the map of its boxes was measured
MAX_OVERLAP = 0.3
MAX_FACES = 5000  # before overlapping boxes are dropped


def read_network(file: bytes) -> Any:
  """Makes the detector of the content of YuNet's ONNX file."""
  network, nothing = np.frombuffer(file, np.uint8), np.empty(0, np.uint8)
  return cv2.FaceDetectorYN.create(
    "onnx", network, nothing, (320, 320), MIN_SCORE, MAX_OVERLAP, MAX_FACES
  )


def detect(network: Any, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Finds faces.

  Args:
    network: from `read_network`.
    image: (H, W, 3) uint8 RGB.

  Returns:
    boxes (N, 4) float64 x0, y0, x1, y1, edges in px of the image, as the network draws them, and
    scores (N,) float32, 0 to 1; the surest first.
  """
  height, width = image.shape[:2]
  network.setInputSize((width, height))
  _, rows = network.detect(np.ascontiguousarray(image[..., ::-1]))  # it was trained on BGR
  rows = np.zeros((0, 15), np.float32) if rows is None else rows

  rows = rows[np.argsort(-rows[:, 14], kind="stable")]
  corner, size = rows[:, :2].astype(np.float64), rows[:, 2:4].astype(np.float64)
  return np.concatenate([corner, corner + size], -1), rows[:, 14]
