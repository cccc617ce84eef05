"""From what a detector draws around a face to the box around its landmarks, brows to chin.

A detector's box reaches higher, to the hair, and how it lies about the landmarks is its own. Each
map here is a median: with s = sqrt(width * height) of the detector's box, the landmark box is
centred (right, down) s away from its centre and has a fixed width and height in units of s.
"""

import numpy as np

# right, down, width and height of the landmark box in units of s.
_YUNET = (0.003, 0.142, 0.890, 0.869)
_MTCNN = (0.003, 0.142, 0.890, 0.869)


def from_yunet(boxes: np.ndarray) -> np.ndarray:
  """Landmark boxes of YuNet's boxes.

  Args:
    boxes: (N, 4) x0, y0, x1, y1, px.

  Returns:
    (N, 4) float64, px.
  """
  return _around_landmarks(boxes, _YUNET)


def from_mtcnn(boxes: np.ndarray) -> np.ndarray:
  """Landmark boxes of MTCNN's boxes.

  Args:
    boxes: (N, 4) x0, y0, x1, y1, px.

  Returns:
    (N, 4) float64, px.
  """
  return _around_landmarks(boxes, _MTCNN)


def _around_landmarks(boxes: np.ndarray, rule: tuple[float, float, float, float]) -> np.ndarray:
  """Boxes (N, 4) moved and resized by a rule: right, down, width, height in units of s."""
  boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
  sides = boxes[:, 2:] - boxes[:, :2]
  size = np.sqrt(sides.prod(-1, keepdims=True))
  centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + size * rule[:2]
  half = size * rule[2:] / 2
  return np.concatenate([centre - half, centre + half], -1)
