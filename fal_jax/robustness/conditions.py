"""What a photograph or a detector may do to a face: conditions to evaluate a network under.

All of them are the same for every network: what they draw at random is a function of the face's id.
Those that have an amount are made by a function of it, so that `CONDITIONS` are points on the
curves of `factors.py`.
"""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from fal_jax import affine
from fal_jax.corruption import LUMA
from fal_jax.crop import CropRule, draws

# Where a face ends for a painted background: in standard deviations of its cloud of landmarks,
# which reaches from the brows to the chin; the forehead and the ears lie within it, too.
_FACE_RADIUS = 2.4
_EDGE_SHARPNESS = 8.0  # the edge is soft over an eighth of a standard deviation
_GREY = 128  # of what covers a face

Change = Callable[[np.ndarray, np.ndarray, str], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Condition:
  """What is done to each face before the network sees it.

  Attributes:
    name: what tables call it.
    change: (H, W, 3) uint8 crop, its landmarks (K, 2), crop px, NaN where not annotated, and the
      face's id, to the changed crop; None: it stays as it is.
    shift: of the box, right and down, in units of its larger side.
    scale: of the box.
    angle: of the box, degrees clockwise as one looks at the image.
  """

  name: str
  change: Change | None = None
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


def gamma(image: np.ndarray, *, exponent: float) -> np.ndarray:
  """Brightens (exponent below 1) or darkens an image; black and white stay.

  Args:
    image: (H, W, 3) uint8.
    exponent: of each channel as a fraction of white.

  Returns:
    (H, W, 3) uint8.
  """
  return _to_uint8(255 * (image / np.float32(255)) ** np.float32(exponent))


def saturation(image: np.ndarray, *, factor: float) -> np.ndarray:
  """Multiplies each pixel's distance from grey; 0 makes the image grey.

  Args:
    image: (H, W, 3) uint8.
    factor: 1 changes nothing.

  Returns:
    (H, W, 3) uint8, clipped.
  """
  grey = (image @ np.array(LUMA, np.float32))[..., None]
  return _to_uint8(grey + np.float32(factor) * (image - grey))


def contrast(image: np.ndarray, *, factor: float) -> np.ndarray:
  """Multiplies each value's distance from middle grey, so that much of it clips.

  Args:
    image: (H, W, 3) uint8.
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


def blur(image: np.ndarray, *, sigma: float) -> np.ndarray:
  """A Gaussian, edges repeated.

  That of training (`corruption.blur`) has 7 taps, too few for a sigma of more than 1.5 px.

  Args:
    image: (H, W, 3) uint8.
    sigma: px, positive.

  Returns:
    (H, W, 3) uint8.
  """
  return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def coarsen(image: np.ndarray, *, factor: float) -> np.ndarray:
  """Makes an image smaller by averaging, and enlarges it again bilinearly.

  That of training (`corruption.low_resolution`) halves or quarters alone.

  Args:
    image: (H, W, 3) uint8.
    factor: of its sides, below 1; they become whole numbers.

  Returns:
    (H, W, 3) uint8.
  """
  height, width = image.shape[:2]
  small = max(1, round(width * factor)), max(1, round(height * factor))
  averaged = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
  return cv2.resize(averaged, (width, height), interpolation=cv2.INTER_LINEAR)


def noise(image: np.ndarray, face: str, *, deviation: float) -> np.ndarray:
  """Adds Gaussian noise to each channel of each pixel, and clips.

  Args:
    image: (H, W, 3) uint8.
    face: the face's id, which alone the pattern depends on.
    deviation: standard deviation as a fraction of white.

  Returns:
    (H, W, 3) uint8.
  """
  pattern = draws("noise", face).standard_normal(image.shape)
  return _to_uint8(image + 255 * deviation * pattern)


def cover(image: np.ndarray, face: str, *, box: float, share: float) -> np.ndarray:
  """Puts a grey square in front of the face, somewhere within its box.

  Args:
    image: (H, H, 3) uint8.
    face: the face's id, which alone the place depends on: larger squares hide what smaller ones do.
    box: side of the box's square in the middle of the image, px.
    share: of the area of that square, 0..1.

  Returns:
    (H, H, 3) uint8.
  """
  side = box * np.sqrt(share)
  room = (box - side) / 2  # of its centre, to either side
  centre = (len(image) - 1) / 2 + room * draws("cover", face).uniform(-1, 1, 2)
  corners = np.round([centre - side / 2 + 0.5, centre + side / 2 + 0.5]).astype(int)
  (left, top), (right, bottom) = np.maximum(corners, 0)

  covered = image.copy()
  covered[top:bottom, left:right] = _GREY
  return covered


def moved(fraction: float) -> tuple[Condition, ...]:
  """The box moved to the right, left, down and up.

  Args:
    fraction: of its larger side.

  Returns:
    Four conditions.
  """
  directions = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
  return tuple(
    Condition(f"box {100 * fraction:g} % {name}", shift=(fraction * x, fraction * y))
    for name, (x, y) in directions.items()
  )


def scaled(scale: float) -> Condition:
  """The box `scale` times as large."""
  size = "smaller" if scale < 1 else "larger"
  return Condition(f"box {100 * abs(scale - 1):g} % {size}", scale=scale)


def turned(degrees: float) -> Condition:
  """The box turned clockwise, so that the face leans the other way."""
  return Condition(f"turned {degrees:g} degrees", angle=degrees)


def exposed(exponent: float) -> Condition:
  """Brightened or darkened by `gamma`."""
  return Condition(f"gamma {exponent:g}", _of_pixels(gamma, exponent=exponent))


def blurred(percent: float, *, rule: CropRule) -> Condition:
  """Blurred by a sigma in percent of the box's larger side."""
  sigma = percent / 100 * rule.face
  return Condition(f"blur {percent:g} %", _of_pixels(blur, sigma=sigma))


def coarse(side: float, *, rule: CropRule) -> Condition:
  """The larger side of the box `side` px long, below `rule.face`, before it is enlarged."""
  return Condition(f"{side:g} px", _of_pixels(coarsen, factor=side / rule.face))


def noisy(percent: float) -> Condition:
  """Noise with a standard deviation in percent of white."""
  return Condition(
    f"noise {percent:g} %",
    lambda image, landmarks, face: noise(image, face, deviation=percent / 100),
  )


def covered(percent: float, *, rule: CropRule) -> Condition:
  """A grey square over so many percent of the box's square."""
  return Condition(
    f"covered {percent:g} %",
    lambda image, landmarks, face: cover(image, face, box=rule.face, share=percent / 100),
  )


def _of_pixels(function: Callable[..., np.ndarray], **options: float) -> Change:
  """A change that looks at neither the landmarks nor the face's id."""
  return lambda image, landmarks, face: function(image, **options)


def _on_background(colour: tuple[int, int, int]) -> Change:
  return lambda image, landmarks, face: background(image, landmarks, colour=colour)


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
  *moved(0.1),
  scaled(0.9),
  scaled(1.1),
  turned(10),
  turned(-10),
  exposed(0.5),
  exposed(2),
  Condition("grey", _of_pixels(saturation, factor=0.0)),
  Condition("saturation x 2.5", _of_pixels(saturation, factor=2.5)),
  Condition("contrast x 3", _of_pixels(contrast, factor=3.0)),
  *(Condition(f"{name} background", _on_background(rgb)) for name, rgb in _COLOURS.items()),
)
