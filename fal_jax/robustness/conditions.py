"""What a photograph or a detector may do to a face: conditions to evaluate a network under."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from fal_jax import affine
from fal_jax.corruption import LUMA
from fal_jax.crop import CropRule

# Where a face ends for a painted background: in standard deviations of its cloud of landmarks,
# which reaches from the brows to the chin; the forehead and the ears lie within it, too.
_FACE_RADIUS = 2.4
_EDGE_SHARPNESS = 8.0  # the edge is soft over an eighth of a standard deviation


@dataclasses.dataclass(frozen=True)
class Condition:
  """What is done to each face before the network sees it.

  Attributes:
    name: what tables call it.
    change: (H, W, 3) uint8 crop and its landmarks (K, 2), crop px, NaN where not annotated, to the
      changed crop; None: it stays as it is.
    shift: of the box, right and down, in units of its larger side.
    scale: of the box.
    angle: of the box, degrees clockwise as one looks at the image.
  """

  name: str
  change: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
  shift: tuple[float, float] = (0.0, 0.0)
  scale: float = 1.0
  angle: float = 0.0

  def view_from_crop(self, rule: CropRule) -> np.ndarray:
    """(2, 3) float64: what the network sees of the displaced box, from what it would of the box."""
    centre = np.full(2, (rule.size - 1) / 2)
    return affine.similarity(
      angle=-np.radians(np.float64(self.angle)),
      scale=np.float64(1 / self.scale),
      src_centre=centre + rule.face * np.array(self.shift),
      dst_centre=centre,
    )


def gamma(image: np.ndarray, landmarks: np.ndarray, *, exponent: float) -> np.ndarray:
  """Brightens (exponent below 1) or darkens an image; black and white stay.

  Args:
    image: (H, W, 3) uint8.
    landmarks: (K, 2), not looked at.
    exponent: of each channel as a fraction of white.

  Returns:
    (H, W, 3) uint8.
  """
  return _to_uint8(255 * (image / np.float32(255)) ** np.float32(exponent))


def saturation(image: np.ndarray, landmarks: np.ndarray, *, factor: float) -> np.ndarray:
  """Multiplies each pixel's distance from grey; 0 makes the image grey.

  Args:
    image: (H, W, 3) uint8.
    landmarks: (K, 2), not looked at.
    factor: 1 changes nothing.

  Returns:
    (H, W, 3) uint8, clipped.
  """
  grey = (image @ np.array(LUMA, np.float32))[..., None]
  return _to_uint8(grey + np.float32(factor) * (image - grey))


def contrast(image: np.ndarray, landmarks: np.ndarray, *, factor: float) -> np.ndarray:
  """Multiplies each value's distance from middle grey, so that much of it clips.

  Args:
    image: (H, W, 3) uint8.
    landmarks: (K, 2), not looked at.
    factor: 1 changes nothing.

  Returns:
    (H, W, 3) uint8, clipped.
  """
  return _to_uint8(128 + np.float32(factor) * (image - np.float32(128)))


def background(
  image: np.ndarray, landmarks: np.ndarray, *, colour: tuple[int, int, int]
) -> np.ndarray:
  """Paints everything around the face in one colour.

  Args:
    image: (H, W, 3) uint8.
    landmarks: (K, 2), px of the image, NaN where not annotated: the face is the ellipse that their
      cloud spans. With fewer than three nothing is painted.
    colour: red, green, blue, 0..255.

  Returns:
    (H, W, 3) uint8.
  """
  points = landmarks[np.isfinite(landmarks).all(-1)]
  if len(points) < 3:
    return image
  offsets = points - points.mean(0)
  # Landmarks on one line span an ellipse half a pixel thin, not none.
  inverse = np.linalg.inv(offsets.T @ offsets / len(points) + 0.25 * np.eye(2))

  y, x = np.mgrid[: image.shape[0], : image.shape[1]]
  from_centre = np.stack([x, y], -1) - points.mean(0)
  distance = np.sqrt(np.einsum("...i,ij,...j->...", from_centre, inverse, from_centre))
  painted = np.clip(_EDGE_SHARPNESS * (distance - _FACE_RADIUS) + 0.5, 0, 1)[..., None]
  return _to_uint8(image * (1 - painted) + painted * np.array(colour))


def _to_uint8(image: np.ndarray) -> np.ndarray:
  return np.clip(np.round(image), 0, 255).astype(np.uint8)


_COLOURS = {
  "red": (255, 0, 0),
  "green": (0, 255, 0),
  "blue": (0, 0, 255),
  "white": (255, 255, 255),
  "black": (0, 0, 0),
}
CONDITIONS: tuple[Condition, ...] = (
  Condition("box 10 % right", shift=(0.1, 0.0)),
  Condition("box 10 % left", shift=(-0.1, 0.0)),
  Condition("box 10 % down", shift=(0.0, 0.1)),
  Condition("box 10 % up", shift=(0.0, -0.1)),
  Condition("box 10 % smaller", scale=0.9),
  Condition("box 10 % larger", scale=1.1),
  Condition("turned 10 degrees", angle=10.0),
  Condition("turned -10 degrees", angle=-10.0),
  Condition("gamma 0.5", functools.partial(gamma, exponent=0.5)),
  Condition("gamma 2", functools.partial(gamma, exponent=2.0)),
  Condition("grey", functools.partial(saturation, factor=0.0)),
  Condition("saturation x 2.5", functools.partial(saturation, factor=2.5)),
  Condition("contrast x 3", functools.partial(contrast, factor=3.0)),
  *(
    Condition(f"{name} background", functools.partial(background, colour=colour))
    for name, colour in _COLOURS.items()
  ),
)
