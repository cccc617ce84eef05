"""A photograph with its faces drawn on it, by OpenCV alone."""

from collections.abc import Sequence

import cv2
import numpy as np

from fal_jax import affine
from fal_jax.landmarks import Markup
from fal_jax.photos.faces import Face

# Distinguishable under every common colour blindness, and no colours of skin, lips or hair.
_POINT_RGB = (255, 40, 200)
_BOX_RGB = (64, 255, 128)
_RIM_RGB = (0, 0, 0)

# Longer side of the drawing, px: usually at most the former; up to the latter for small faces,
# whose longer side should then be 96 px.
_SIDE = 1600
_SIDE_FOR_SMALL_FACES = 2560
_MIN_FACE = 96.0
_MAX_ENLARGEMENT = 6.0

_SHIFT = 4  # bits behind the point of the coordinates that OpenCV is given
_QUALITY = 90


def draw(image: np.ndarray, faces: Sequence[Face], markup: Markup) -> np.ndarray:
  """The image, shrunk if it is large and enlarged if faces are small, with all its faces.

  Args:
    image: (H, W, 3) uint8 RGB.
    faces: what to draw: box, landmarks and the lines between them, and the mean score.
    markup: of the landmarks; it knows the lines.

  Returns:
    (H', W', 3) uint8 RGB.
  """
  height, width = image.shape[:2]
  scale = _scale(height, width, faces)
  size = max(1, round(width * scale)), max(1, round(height * scale))
  interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
  canvas = cv2.resize(image, size, interpolation=interpolation)

  # Rounding makes the two axes differ a little.
  stretch = np.array([size[0] / width, size[1] / height])
  canvas_from_image = np.column_stack([np.diag(stretch), (stretch - 1) / 2])
  for number, face in enumerate(faces):
    box = affine.apply(canvas_from_image, face.box.reshape(2, 2))
    points = affine.apply(canvas_from_image, face.landmarks)
    label = f"#{number} {face.score:.2f}" if number else f"{face.score:.2f}"
    _draw_face(canvas, box, points, markup, label)
  return canvas


def draw_at_size(image: np.ndarray, faces: Sequence[Face], markup: Markup) -> np.ndarray:
  """A copy of a video's frame with its faces, of the same size.

  Args:
    image: (H, W, 3) uint8 RGB.
    faces: what to draw, with the number of each in the video.
    markup: of the landmarks.

  Returns:
    (H, W, 3) uint8 RGB.
  """
  canvas = image.copy()
  for face in faces:
    label = f"#{face.track} {face.score:.2f}"
    _draw_face(canvas, face.box.reshape(2, 2), face.landmarks, markup, label)
  return canvas


def jpeg(image: np.ndarray) -> bytes:
  """A JPEG file of an image (H, W, 3) uint8 RGB."""
  bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  _, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
  return content.tobytes()


def _scale(height: int, width: int, faces: Sequence[Face]) -> float:
  """Pixels of the drawing per pixel of an image of this size."""
  longer = max(height, width)
  usual = min(1.0, _SIDE / longer)
  smallest = min((max(face.box[2:] - face.box[:2]) for face in faces), default=_MIN_FACE)
  wanted = _MIN_FACE / smallest
  largest = max(usual, min(_SIDE_FOR_SMALL_FACES / longer, _MAX_ENLARGEMENT))
  return float(np.clip(wanted, usual, largest))


def _draw_face(
  canvas: np.ndarray, box: np.ndarray, points: np.ndarray, markup: Markup, label: str
) -> None:
  """Draws into the canvas (H, W, 3): box (2, 2) and points (K, 2), px of it; sizes fit the face."""
  # A box may be larger than the image by any factor.
  side = float(min(max(box[1] - box[0]), max(canvas.shape)))
  radius = float(np.clip(side / 100, 0.8, 10))
  thickness, lines = max(1, round(radius * 0.6)), max(1, round(radius * 0.35))

  # A stray prediction must not overflow the integers of OpenCV.
  limit = 4 * max(canvas.shape)
  fixed = np.round(np.clip(points, -limit, limit) * 2**_SHIFT).astype(int)
  corners = np.round(np.clip(box, -limit, limit) * 2**_SHIFT).astype(int)

  low, high = map(_pair, corners)
  cv2.rectangle(canvas, low, high, _BOX_RGB, thickness, cv2.LINE_AA, _SHIFT)
  for a, b in markup.edges:
    cv2.line(canvas, _pair(fixed[a]), _pair(fixed[b]), _POINT_RGB, lines, cv2.LINE_AA, _SHIFT)
  for rim, colour in ((min(0.35 * radius, 2), _RIM_RGB), (0.0, _POINT_RGB)):
    for point in fixed:
      _dot(canvas, _pair(point), radius + rim, colour)

  if side >= 40 and np.abs(box[0]).max() < limit:
    at = round(float(box[0, 0])), round(float(box[0, 1]) - 3 * radius)
    font, size = cv2.FONT_HERSHEY_SIMPLEX, max(0.4, side / 450)
    cv2.putText(canvas, label, at, font, size, _RIM_RGB, thickness + 2, cv2.LINE_AA)
    cv2.putText(canvas, label, at, font, size, _BOX_RGB, thickness, cv2.LINE_AA)


def _dot(
  canvas: np.ndarray, centre: tuple[int, int], radius: float, colour: tuple[int, int, int]
) -> None:
  cv2.circle(canvas, centre, round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)


def _pair(point: np.ndarray) -> tuple[int, int]:
  return int(point[0]), int(point[1])
