"""Faces of one image by any detector: the room's door."""

from pathlib import Path

import numpy as np

from fal_jax.detect.detector import Detector
from fal_jax.detect.load import load_detector


def find_faces(
  image: np.ndarray,
  *,
  detector: Detector | str | Path | None = None,
  small: bool = False,
  turned: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the faces of an image.

  Args:
    image: (H, W, 3) uint8 RGB, upright by its EXIF orientation.
    detector: a loaded one, or what `load_detector` takes; None for the best one that is there.
    small: whether to search for faces below a tenth of the image, which takes about four times as
      long.
    turned: whether to search the image in its three other orientations too, and return the faces of
      the one with the surest face; `Detector.find` says which that is.

  Returns:
    boxes (N, 4) float64 x0, y0, x1, y1, image px, pixel-centre, about as boxes tight around the
    landmarks would be, and scores (N,) float32, 0 to 1; the surest face first, N may be 0.

  Raises:
    InputError: the image is not uint8 RGB, or there is no such detector.
  """
  if not isinstance(detector, Detector):
    detector = load_detector(detector)
  found = detector.find(image, small=small, turned=turned)
  return found.boxes, found.scores
