"""From what a detector draws around a face to the box around its landmarks, brows to chin.

A detector's box reaches higher, to the hair, and how it lies about the landmarks is its own. Each
rule here is a median over faces: with s = sqrt(width * height) of the detector's box, the landmark
box is centred (right, down) s away from its centre and has a fixed width and height in units of s.
What is left is about 0.03 s across, 0.04 s down and 5 % of the size (standard deviations); what
each rule was measured on stands in README.md.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fal_jax.errors import InputError


class Rule(NamedTuple):
  """Where the landmark box lies, in units of sqrt(width * height) of a detector's box.

  Attributes:
    right: its centre from that of the detector's box.
    down: the same, down.
    width: its own.
    height: its own.
  """

  right: float
  down: float
  width: float
  height: float


# Measured on the 1,810 faces of `fit` of our partial 300W, see `measure`.
YUNET = Rule(0.005, 0.146, 0.888, 0.872)
MTCNN = Rule(-0.007, 0.135, 0.898, 0.882)
# Measured before, on 300 and 150 faces of the same: BlazeFace, short range; dlib's HOG detector.
BLAZEFACE = Rule(0.0, 0.058, 0.924, 0.922)
DLIB = Rule(0.010, 0.092, 0.947, 0.925)
# Not measured. SCRFD and RetinaFace are trained on the boxes of WIDER FACE, as are YuNet,
# CenterFace and MTCNN, whose measured rules agree to 0.02: this is the first of these.
WIDER_FACE = YUNET


def from_yunet(boxes: np.ndarray) -> np.ndarray:
  """Landmark boxes of YuNet's boxes.

  Args:
    boxes: (N, 4) x0, y0, x1, y1, px.

  Returns:
    (N, 4) float64 x0, y0, x1, y1, px.
  """
  return apply(YUNET, boxes)


def from_mtcnn(boxes: np.ndarray) -> np.ndarray:
  """Landmark boxes of MTCNN's boxes.

  Args:
    boxes: (N, 4) x0, y0, x1, y1, px.

  Returns:
    (N, 4) float64 x0, y0, x1, y1, px.
  """
  return apply(MTCNN, boxes)


def from_mediapipe(boxes: np.ndarray, *, height: int, width: int) -> np.ndarray:
  """Landmark boxes of MediaPipe's face detection (BlazeFace, short range).

  Args:
    boxes: (N, 4) xmin, ymin, width, height of `relative_bounding_box`, fractions of the image's
      sides. `bounding_box` of MediaPipe Tasks holds the same in px: divide it by the sides.
    height: H of the image, px.
    width: W of the image, px.

  Returns:
    (N, 4) float64 x0, y0, x1, y1, image px, pixel-centre.
  """
  boxes = _checked(boxes)
  corner, sides = boxes[:, :2], boxes[:, 2:]
  relative = np.concatenate([corner, corner + sides], -1)
  return from_blazeface(relative * [width, height, width, height] - 0.5)


def from_blazeface(boxes: np.ndarray) -> np.ndarray:
  """Landmark boxes of BlazeFace's boxes in px.

  Args:
    boxes: (N, 4) x0, y0, x1, y1, px.

  Returns:
    (N, 4) float64 x0, y0, x1, y1, px.
  """
  return apply(BLAZEFACE, boxes)


def from_dlib(rectangles: Iterable[Any]) -> np.ndarray:
  """Landmark boxes of the rectangles of dlib's `get_frontal_face_detector`.

  They scatter twice as much as those of the other detectors.

  Args:
    rectangles: N `dlib.rectangle`, whose last column and row are inside.

  Returns:
    (N, 4) float64 x0, y0, x1, y1, image px, pixel-centre.
  """
  edges = [
    (each.left() - 0.5, each.top() - 0.5, each.right() + 0.5, each.bottom() + 0.5)
    for each in rectangles
  ]
  return apply(DLIB, np.array(edges))


def from_scrfd(boxes: np.ndarray) -> np.ndarray:
  """Landmark boxes of SCRFD's boxes, as insightface returns them; the rule is not measured.

  Args:
    boxes: (N, 4) x0, y0, x1, y1, px, or (N, 5) with the score last.

  Returns:
    (N, 4) float64 x0, y0, x1, y1, px.
  """
  return apply(WIDER_FACE, _without_score(boxes))


def from_retinaface(boxes: np.ndarray) -> np.ndarray:
  """Landmark boxes of RetinaFace's boxes; the rule is not measured.

  Args:
    boxes: (N, 4) x0, y0, x1, y1, px ("facial_area"), or (N, 5) with the score last.

  Returns:
    (N, 4) float64 x0, y0, x1, y1, px.
  """
  return apply(WIDER_FACE, _without_score(boxes))


def apply(rule: Rule, boxes: np.ndarray) -> np.ndarray:
  """Landmark boxes of a detector's boxes.

  Args:
    rule: the detector's.
    boxes: (N, 4) x0, y0, x1, y1, px.

  Returns:
    (N, 4) float64 x0, y0, x1, y1, px.

  Raises:
    InputError: there are not four numbers to a box.
  """
  boxes = _checked(boxes)
  size = _size(boxes)
  centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + size * [rule.right, rule.down]
  half = size * [rule.width, rule.height] / 2
  return np.concatenate([centre - half, centre + half], -1)


def measure(boxes: np.ndarray, landmark_boxes: np.ndarray) -> Rule:
  """The rule of a detector, from its boxes of annotated faces.

  Args:
    boxes: (N, 4) x0, y0, x1, y1, px, as the detector draws them.
    landmark_boxes: (N, 4), tight around the landmarks of the same faces, px.

  Returns:
    The medians over faces.
  """
  boxes, landmark_boxes = _checked(boxes), _checked(landmark_boxes)
  size = _size(boxes)
  offsets = (landmark_boxes[:, :2] + landmark_boxes[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2 / size
  sides = (landmark_boxes[:, 2:] - landmark_boxes[:, :2]) / size
  return Rule(*np.median(np.concatenate([offsets, sides], -1), 0).tolist())


def _size(boxes: np.ndarray) -> np.ndarray:
  """sqrt(width * height) of boxes (N, 4), (N, 1)."""
  return np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(-1, keepdims=True))


def _without_score(boxes: np.ndarray) -> np.ndarray:
  """Boxes (N, 4) of rows (N, 4) or (N, 5)."""
  boxes = np.asarray(boxes, np.float64)
  return boxes[:, :4] if boxes.ndim == 2 and boxes.shape[-1] == 5 else boxes


def _checked(boxes: np.ndarray) -> np.ndarray:
  """Boxes (N, 4) float64; an empty list is none."""
  boxes = np.asarray(boxes, np.float64)
  if boxes.size == 0:
    return np.zeros((0, 4))
  if boxes.ndim != 2 or boxes.shape[-1] != 4:
    raise InputError(
      f"boxes must have shape (N, 4), four numbers for each face, got {boxes.shape}."
    )
  return boxes
