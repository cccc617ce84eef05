"""Things between the camera and the face: a hand, a bar, a book, a cup."""

import cv2
import numpy as np

from tfds_builders.synthetic_faces.photo import random_colour, smooth_noise

_SKINS = np.array([[224, 178, 152], [150, 102, 74], [92, 60, 44]], float)


def occluder(
  key: np.random.Generator, height: int, width: int, centre: np.ndarray, extent: float
) -> tuple[np.ndarray, np.ndarray]:
  """Something between the camera and the face.

  Args:
    key: generator.
    height: height of the image, px.
    width: width of the image, px.
    centre: (2,) middle of the face, px.
    extent: larger side of the face, px.

  Returns:
    alpha: (H, W) float32 in 0..1.
    colour: (H, W, 3) float32.
  """
  mask = np.zeros((height, width), np.uint8)
  kind = key.integers(0, 5)
  angle = key.uniform(0, 2 * np.pi)

  away = np.array([np.cos(angle), np.sin(angle)])
  start = centre + extent * key.uniform(0.20, 0.55) * away

  if kind <= 1:
    colour = _hand(key, mask, start, away, extent, degrees=float(np.degrees(angle)))
  elif kind == 2:
    colour = _bar(key, mask, start, away, extent)
  elif kind == 3:
    colour = _sheet(key, mask, start, away, extent)
  else:
    colour = _round_thing(key, mask, start, extent)
  return mask.astype(np.float32) / 255, np.clip(colour, 0, 255).astype(np.float32)


# Each draws on the mask (H, W) uint8 in place and returns its colour (H, W, 3). `start` (2,) is the
# end that covers the face, px, `away` (2,) the unit vector from the face.


def _hand(
  key: np.random.Generator,
  mask: np.ndarray,
  start: np.ndarray,
  away: np.ndarray,
  extent: float,
  *,
  degrees: float,
) -> np.ndarray:
  """A hand that comes in from the side."""
  skin = _SKINS[key.integers(0, 3)] * key.uniform(0.85, 1.1)
  across = np.array([-away[1], away[0]])
  palm = start + away * extent * 0.22
  size = extent * key.uniform(0.085, 0.11)

  for f in np.linspace(-1, 1, 4) + key.normal(0, 0.05, 4):
    knuckle = palm - away * size * 0.6 + across * f * size * 1.05
    reach = size * (2.3 - 0.5 * abs(f)) * key.uniform(0.9, 1.1)
    bend = across * f * size * key.uniform(0.1, 0.6)
    joint = knuckle - away * reach * 0.5 + bend * 0.4
    _capsule(mask, np.array([knuckle, joint, knuckle - away * reach + bend]), size * 0.58)
  thumb = palm + across * size * 1.2 * key.choice([-1, 1])
  _capsule(mask, np.array([palm + away * size, thumb, thumb - away * size * 1.3]), size * 0.66)

  # The palm and the arm.
  sides = (float(size * 2.6), float(size * 2.4))
  box = cv2.boxPoints((tuple(map(float, palm)), sides, degrees))
  cv2.fillConvexPoly(mask, np.round(box).astype(np.int32), 255, cv2.LINE_AA)
  _capsule(mask, np.array([palm, palm + away * extent]), size * 1.9)

  light = 0.45 + 0.6 * np.sqrt(np.clip(_from_edge(mask) / (size * 0.32), 0, 1))
  colour = skin.astype(np.float32) * light[..., None]
  height, width = mask.shape
  colour *= np.array([1.0, 1.0, 1.0]) * (1 + 0.03 * smooth_noise(key, height, width, 24, 1))
  return colour


def _bar(
  key: np.random.Generator, mask: np.ndarray, start: np.ndarray, away: np.ndarray, extent: float
) -> np.ndarray:
  """A bar, a microphone stand."""
  across = np.array([-away[1], away[0]])
  thick = extent * key.uniform(0.05, 0.16)
  _capsule(mask, np.array([start - across * 2 * extent, start + across * 2 * extent]), thick)
  shade = 0.5 + 0.7 * np.clip(_from_edge(mask) / (thick * 0.5), 0, 1)
  return random_colour(key) * shade[..., None]


def _sheet(
  key: np.random.Generator, mask: np.ndarray, start: np.ndarray, away: np.ndarray, extent: float
) -> np.ndarray:
  """A book, a sheet, a phone: straight sides and a pattern."""
  w, h = key.uniform(0.25, 0.6, 2) * extent
  middle = tuple(map(float, start + away * extent * 0.15))
  box = cv2.boxPoints((middle, (float(w), float(h)), float(key.uniform(-40, 40))))
  cv2.fillConvexPoly(mask, np.round(box * 16).astype(np.int32), 255, cv2.LINE_AA, 4)

  height, width = mask.shape
  ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
  wave = np.sin((xs * away[0] + ys * away[1]) * key.uniform(0.1, 0.9)) > key.uniform(-0.8, 0.8)
  stripes = np.where(wave[..., None], random_colour(key), random_colour(key))
  return stripes + 8 * smooth_noise(key, height, width, 30)


def _round_thing(
  key: np.random.Generator, mask: np.ndarray, start: np.ndarray, extent: float
) -> np.ndarray:
  """A cup, a ball, a flower."""
  axes = key.uniform(0.10, 0.24, 2) * extent
  angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
  ellipse = np.stack([np.cos(angles), np.sin(angles)], -1) * axes + start
  cv2.fillPoly(mask, [np.round(ellipse * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)

  height, width = mask.shape
  shade = 0.45 + 0.7 * np.sqrt(np.clip(_from_edge(mask) / axes.min(), 0, 1))
  colour = random_colour(key) * shade[..., None]
  return colour + 12 * smooth_noise(key, height, width, 16)


def _capsule(mask: np.ndarray, points: np.ndarray, width: float) -> None:
  """Draws a thick line through points (N, 2) px on the mask (H, W) in place."""
  thickness = max(round(float(width)), 1)
  corners = [np.round(points * 16).astype(np.int32)]
  cv2.polylines(mask, corners, False, 255, thickness, cv2.LINE_AA, 4)


def _from_edge(mask: np.ndarray) -> np.ndarray:
  """(H, W) float32, distance of each covered pixel to the edge of the mask, px."""
  return cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
