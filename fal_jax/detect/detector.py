"""Any detector on any photograph: large ones shrunk, small and turned faces on demand."""

import dataclasses
import threading
from collections.abc import Callable

import cv2
import numpy as np

from fal_jax.errors import InputError

# px that the longer side has when faces are looked for. On a photograph of 4000 x 3000 px YuNet
# draws three wrong boxes in 1.8 s, and on the same at 640 px the right one in 87 ms.
SIDE = 640
SIDE_FOR_SMALL_FACES = 1280
MAX_ENLARGEMENT = 2.0


@dataclasses.dataclass(frozen=True)
class FoundFaces:
  """Faces in one image, the surest first.

  Attributes:
    boxes: (N, 4) float64 x0, y0, x1, y1, image px, pixel-centre: about as boxes tight around the
      landmarks would be, brows to chin; may reach beyond the image.
    scores: (N,) float32, the detector's certainty, 0 to 1; detectors do not compare.
    quarter_turns: (N,) int, how often the image must be turned counter-clockwise, as `np.rot90`
      does, for the face to be upright: 0 unless turned faces were asked for.
    detector: its name.
  """

  boxes: np.ndarray
  scores: np.ndarray
  quarter_turns: np.ndarray
  detector: str


class Detector:
  """A face detector that is loaded and may be used again and again, by several threads in turn.

  Attributes:
    name: "yunet" or "mtcnn".
    detect: the detector itself, for images (H, W, 3) uint8 RGB of at most about 1280 px: boxes
      (N, 4) as it draws them, edges in px of the image, and scores (N,); for one thread at a time.
  """

  def __init__(
    self,
    name: str,
    detect: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    to_landmark_boxes: Callable[[np.ndarray], np.ndarray],
  ):
    self.name = name
    self.detect = detect
    self._to_landmark_boxes = to_landmark_boxes
    self._lock = threading.Lock()  # networks keep their input between calls

  def find(self, image: np.ndarray, *, small: bool = False, turned: bool = False) -> FoundFaces:
    """Finds the faces of an image.

    It is searched with its longer side at 640 px, and where that finds nothing at 1280 px, or
    enlarged to twice its size if it has not so many.

    Args:
      image: (H, W, 3) uint8 RGB, upright by its EXIF orientation.
      small: whether to search at 1280 px at once, for faces below a tenth of the image.
      turned: whether to search the image in its three other orientations too, and return the faces
        of the one with the surest face.

    Returns:
      (N, 4) boxes, image px, (N,) scores and (N,) quarter turns; N may be 0.

    Raises:
      InputError: the image is not uint8 RGB.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
      raise InputError(
        "faces are found in images that are uint8 RGB of shape (H, W, 3), "
        f"got {image.dtype} {image.shape}."
      )

    longer = max(image.shape[:2])
    scales = [min(MAX_ENLARGEMENT, SIDE_FOR_SMALL_FACES / longer)]
    if not small:
      scales.insert(0, min(1.0, SIDE / longer))

    turns = range(4) if turned else range(1)
    for scale in scales:
      resized, ratio = _resized(image, scale)
      found = [self._find(np.rot90(resized, quarter_turns)) for quarter_turns in turns]
      if any(len(scores) for _, scores in found):
        break

    # Detectors find faces upside down, too, but less surely.
    quarter_turns = int(np.argmax([scores[:1].sum() for _, scores in found]))
    boxes, scores = found[quarter_turns]
    boxes = _turned_back(boxes, resized.shape[0], resized.shape[1], quarter_turns)
    boxes = (boxes + 0.5) * np.tile(ratio, 2) - 0.5
    return FoundFaces(boxes, scores, np.full(len(boxes), quarter_turns), self.name)

  def _find(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Landmark boxes (N, 4), px of the image, pixel-centre, and scores (N,) of upright faces."""
    with self._lock:
      boxes, scores = self.detect(np.ascontiguousarray(image))
    return self._to_landmark_boxes(boxes - 0.5), scores  # detectors draw edges


def image_from_turned(height: int, width: int, quarter_turns: int) -> np.ndarray:
  """The map from `np.rot90(image, quarter_turns)` back to the image.

  Args:
    height: H of the image, px.
    width: W of the image, px.
    quarter_turns: how often it is turned counter-clockwise.

  Returns:
    (2, 3) float64, px of the turned image to px of the image, both pixel-centre.
  """
  right, bottom = width - 1, height - 1
  maps = (
    [[1, 0, 0], [0, 1, 0]],
    [[0, -1, right], [1, 0, 0]],
    [[-1, 0, right], [0, -1, bottom]],
    [[0, 1, 0], [-1, 0, bottom]],
  )
  return np.array(maps[quarter_turns % 4], np.float64)


def _resized(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
  """The image (H, W, 3) at a scale, and its sizes (2,) in units of the result's, x first."""
  height, width = image.shape[:2]
  size = max(1, round(width * scale)), max(1, round(height * scale))
  interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
  resized = cv2.resize(np.ascontiguousarray(image), size, interpolation=interpolation)
  return resized, np.array([width / size[0], height / size[1]])


def _turned_back(boxes: np.ndarray, height: int, width: int, quarter_turns: int) -> np.ndarray:
  """Boxes (N, 4) in px of an image that was turned -> (N, 4) in px of the (H, W) image itself."""
  matrix = image_from_turned(height, width, quarter_turns)
  corners = boxes.reshape(-1, 2, 2) @ matrix[:, :2].T + matrix[:, 2]
  return np.concatenate([corners.min(1), corners.max(1)], -1)
