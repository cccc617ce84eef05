"""What the page may ask of a photo: faces, landmarks, and one landmark's heatmap."""

import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from fal_jax import affine, crop
from fal_jax.detect import Detector
from fal_jax.errors import InputError
from fal_jax.heatmap import Decoding, HeatmapCodec
from fal_jax.images import MAX_JPEG_PIXELS, read_image
from fal_jax.predict import FaceAligner

MAX_BOXES = 100  # in one question

# px, the longer side of what is drawn: more than screens have, and less than browsers refuse.
SHOWN_SIDE = 4096
SHOWN_QUALITY = 92

READINGS: tuple[Decoding, ...] = ("argmax", "local_softargmax", "calibrated")


class Computer:
  """A network and a detector; each answer is ready for JSON. One question at a time.

  Attributes:
    aligner: the network.
    detector: None where there is none, and the page asks for boxes.
  """

  def __init__(self, aligner: FaceAligner, detector: Detector | None):
    self.aligner = aligner
    self.detector = detector
    self._warming: Future | None = None

  def warm_up(self) -> None:
    """Starts to compile what the first questions need, and returns at once."""
    self.aligner.warm_up()
    thread = ThreadPoolExecutor(1, "warm_up")
    black, box = np.zeros((1, 1, 3), np.uint8), [0, 0, 1, 1]
    self._warming = thread.submit(self._heatmap, black, box, 0)
    thread.shutdown(wait=False)  # the thread ends when it is done

  def read(self, content: bytes) -> np.ndarray:
    """Reads an uploaded file as `--mode=predict` reads photographs.

    Args:
      content: the file.

    Returns:
      (H, W, 3) uint8 RGB, upright.

    Raises:
      InputError: it is not an image, or too large.
    """
    value_range = tuple(self.aligner.setup.config.data.value_range) or None
    return read_image(
      content,
      upright=True,
      value_range=value_range,
      max_jpeg_pixels=MAX_JPEG_PIXELS,
      name="Your photo",
    )

  def detect(self, image: np.ndarray) -> list[dict[str, Any]]:
    """Finds faces.

    Args:
      image: (H, W, 3) uint8 RGB.

    Returns:
      For each a box x0, y0, x1, y1, image px, and a score; the surest first.

    Raises:
      InputError: there is no detector.
    """
    if self.detector is None:
      raise InputError("There is no face detector here: draw a box around the face.")
    found = self.detector.find(image)
    return [
      {"box": box.tolist(), "score": float(score)}
      for box, score in zip(found.boxes, found.scores, strict=True)
    ]

  def align(self, image: np.ndarray, boxes: Any) -> list[dict[str, Any]]:
    """Locates the landmarks of each box.

    Args:
      image: (H, W, 3) uint8 RGB.
      boxes: N times x0, y0, x1, y1, image px; whatever the page sent.

    Returns:
      For each box landmarks (K, 2), image px, and scores (K,).

    Raises:
      InputError: these are not boxes, or too many.
    """
    if not isinstance(boxes, list) or len(boxes) > MAX_BOXES:
      raise InputError(f"boxes must be a list of at most {MAX_BOXES} boxes.")
    faces = self.aligner(image, _numbers(boxes))
    return [
      {"landmarks": points.tolist(), "scores": scores.tolist()}
      for points, scores in zip(faces.landmarks, faces.scores, strict=True)
    ]

  def heatmap(self, image: np.ndarray, box: Any, landmark: Any) -> dict[str, Any]:
    """One landmark's heatmap of the last stack, and where several decoders see its peak.

    Args:
      image: (H, W, 3) uint8 RGB.
      box: x0, y0, x1, y1, image px; whatever the page sent.
      landmark: number of the landmark, likewise.

    Returns:
      size S, values (S S,) row by row, the map photo_from_heatmap (2, 3), and readings, each (2,)
      heatmap px, pixel-centre.

    Raises:
      InputError: there is no such box or landmark.
    """
    if self._warming is not None:
      self._warming.result()
    return self._heatmap(image, box, landmark)

  def _heatmap(self, image: np.ndarray, box: Any, landmark: Any) -> dict[str, Any]:
    """`heatmap`, whether it is compiled or not."""
    setup = self.aligner.setup
    if type(landmark) is not int or not 0 <= landmark < setup.markup.num:
      raise InputError(f"landmark must be a number from 0 to {setup.markup.num - 1}.")
    boxes = _numbers([box])
    heatmap = self.aligner.heatmaps(image, boxes)[0, ..., landmark]

    heatmap_from_crop = affine.shrink(setup.codec.stride).astype(np.float64)
    crop_from_photo = crop.crop_from_image(boxes[0], setup.crop)
    photo_from_heatmap = affine.invert(affine.compose(heatmap_from_crop, crop_from_photo))
    in_crop = np.asarray(_reader(setup.codec)(heatmap), np.float64)
    readings = affine.apply(heatmap_from_crop, in_crop)
    return {
      "size": setup.codec.size,
      "values": heatmap.ravel().tolist(),
      "photo_from_heatmap": photo_from_heatmap.tolist(),
      "readings": dict(zip(READINGS, readings.tolist(), strict=True)),
    }


def shown(image: np.ndarray) -> bytes:
  """What the page draws.

  Args:
    image: (H, W, 3) uint8 RGB.

  Returns:
    A JPEG file of it, reduced to SHOWN_SIDE if it is larger.
  """
  height, width = image.shape[:2]
  scale = SHOWN_SIDE / max(height, width)
  if scale < 1:
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  bgr = image[..., ::-1]
  _, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, SHOWN_QUALITY])
  return content.tobytes()


@functools.lru_cache(maxsize=1)
def _reader(codec: HeatmapCodec) -> Callable[[np.ndarray], jax.Array]:
  """A function from one heatmap (H, W) to the READINGS (3, 2), crop px."""
  window = max(3, codec.window)  # that the fit needs
  codecs = [
    dataclasses.replace(codec, decoding=decoding, window=window, amplitude="peak_one")
    for decoding in READINGS
  ]

  def read(heatmap: jax.Array) -> jax.Array:
    return jnp.stack([each.decode(heatmap[..., None])[0][0] for each in codecs])

  return jax.jit(read)


def _numbers(boxes: Any) -> np.ndarray:
  """Boxes (N, 4) float64 of what the page sent."""
  try:
    return np.array(boxes, np.float64).reshape(len(boxes), 4)
  except (TypeError, ValueError) as error:
    raise InputError("a box is four numbers x0, y0, x1, y1 in pixels of the photo.") from error
