"""What a camera adds: background, things in front of the face, colour, blur, noise and compression."""

import cv2
import numpy as np


def _smooth_noise(
  key: np.random.Generator, height: int, width: int, cells: int, channels: int = 3
) -> np.ndarray:
  small = key.standard_normal((cells, cells, channels), dtype=np.float32)
  return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(
    height, width, channels
  )


def _colour(key: np.random.Generator, low: float = 20, high: float = 235) -> np.ndarray:
  """A random colour, more often muted than loud."""
  grey = key.uniform(low, high)
  return np.clip(grey + key.normal(0, 14 if key.random() < 0.8 else 50, 3), 0, 255)


def background(key: np.random.Generator, height: int, width: int) -> np.ndarray:
  """(H, W, 3) float32 picture of something out of focus, made at half the size."""
  half_height, half_width = height // 2, width // 2
  top, low = _colour(key), _colour(key)
  ramp = np.linspace(0, 1, half_height, dtype=np.float32)[:, None, None]
  canvas = (top * (1 - ramp) + low * ramp).astype(np.float32) + np.zeros(
    (half_height, half_width, 3), np.float32
  )
  for cells, strength in ((3, 26), (9, 14), (40, 9)):
    grey, tint = (
      key.standard_normal((cells, cells, channels), dtype=np.float32) for channels in (1, 3)
    )
    patches = cv2.resize(
      grey + 0.25 * tint, (half_width, half_height), interpolation=cv2.INTER_CUBIC
    )
    canvas += patches * np.float32(strength * key.uniform(0.2, 1.3))
  kind = key.integers(0, 4)
  for _ in range(int(key.integers(4, 16))):
    colour = tuple(float(c) for c in _colour(key))
    x, y = (float(v) for v in key.uniform(-0.1, 1.1, 2) * (half_width, half_height))
    if kind == 0:  # furniture and walls
      w, h = key.uniform(0.05, 0.5, 2) * (half_width, half_height)
      box = cv2.boxPoints(((x, y), (float(w), float(h)), float(key.normal(0, 6))))
      cv2.fillConvexPoly(canvas, np.round(box * 16).astype(np.int32), colour, cv2.LINE_AA, 4)
    elif kind == 1:  # leaves and lamps
      axes = tuple(int(v) for v in key.uniform(2, 0.16 * half_width, 2))
      cv2.ellipse(canvas, (int(x), int(y)), axes, float(key.uniform(0, 180)), 0, 360, colour, -1)
    elif kind == 2:  # bars and branches
      x1, y1 = (float(v) for v in key.uniform(-0.1, 1.1, 2) * (half_width, half_height))
      cv2.line(canvas, (int(x), int(y)), (int(x1), int(y1)), colour, int(key.integers(1, 10)))
    else:  # a crowd of head-like blobs
      r = int(key.uniform(3, 0.10 * half_width))
      cv2.ellipse(canvas, (int(x), int(y)), (r, int(r * 1.3)), 0, 0, 360, colour, -1)
  blurred = cv2.GaussianBlur(canvas, (0, 0), float(key.choice([0.6, 1.0, 1.6, 2.5])))
  return np.asarray(cv2.resize(blurred, (width, height)))


def _capsule(mask: np.ndarray, points: np.ndarray, width: float) -> None:
  cv2.polylines(
    mask,
    [np.round(points * 16).astype(np.int32)],
    False,
    255,
    max(round(float(width)), 1),
    cv2.LINE_AA,
    4,
  )


def occluder(
  key: np.random.Generator, height: int, width: int, centre: np.ndarray, extent: float
) -> tuple[np.ndarray, np.ndarray]:
  """Something between the camera and the face.

  Args:
    key: generator.
    height: of the picture.
    width: of the picture.
    centre: (2,) middle of the face, px.
    extent: larger side of the face, px.

  Returns:
    alpha: (H, W) float32 in 0..1.
    colour: (H, W, 3) float32.
  """
  mask = np.zeros((height, width), np.uint8)
  kind = key.integers(0, 5)
  angle = key.uniform(0, 2 * np.pi)
  start = centre + extent * key.uniform(0.20, 0.55) * np.array([np.cos(angle), np.sin(angle)])
  away = np.array([np.cos(angle), np.sin(angle)])
  across = np.array([-away[1], away[0]])
  if kind <= 1:  # a hand that comes in from the side
    skin = np.array([[224, 178, 152], [150, 102, 74], [92, 60, 44]], float)[
      key.integers(0, 3)
    ] * key.uniform(0.85, 1.1)
    palm = start + away * extent * 0.22
    size = extent * key.uniform(0.085, 0.11)
    for f in np.linspace(-1, 1, 4) + key.normal(0, 0.05, 4):
      knuckle = palm - away * size * 0.6 + across * f * size * 1.05
      reach = size * (2.3 - 0.5 * abs(f)) * key.uniform(0.9, 1.1)
      bend = across * f * size * key.uniform(0.1, 0.6)
      _capsule(
        mask,
        np.array(
          [knuckle, knuckle - away * reach * 0.5 + bend * 0.4, knuckle - away * reach + bend]
        ),
        size * 0.58,
      )
    thumb = palm + across * size * 1.2 * key.choice([-1, 1])
    _capsule(mask, np.array([palm + away * size, thumb, thumb - away * size * 1.3]), size * 0.66)
    box = cv2.boxPoints(
      (tuple(map(float, palm)), (float(size * 2.6), float(size * 2.4)), float(np.degrees(angle)))
    )
    cv2.fillConvexPoly(mask, np.round(box).astype(np.int32), 255, cv2.LINE_AA)
    _capsule(mask, np.array([palm, palm + away * extent]), size * 1.9)
    inner = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    round_off = np.sqrt(np.clip(inner / (size * 0.32), 0, 1))
    light = 0.45 + 0.6 * round_off
    colour = skin.astype(np.float32) * light[..., None]
    colour *= np.array([1.0, 1.0, 1.0]) * (1 + 0.03 * _smooth_noise(key, height, width, 24, 1))
  elif kind == 2:  # a bar, a microphone stand
    thick = extent * key.uniform(0.05, 0.16)
    _capsule(mask, np.array([start - across * 2 * extent, start + across * 2 * extent]), thick)
    inner = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    colour = _colour(key) * (0.5 + 0.7 * np.clip(inner / (thick * 0.5), 0, 1))[..., None]
  elif kind == 3:  # a book, a sheet, a phone: straight sides and a pattern
    w, h = key.uniform(0.25, 0.6, 2) * extent
    box = cv2.boxPoints(
      (
        tuple(map(float, start + away * extent * 0.15)),
        (float(w), float(h)),
        float(key.uniform(-40, 40)),
      )
    )
    cv2.fillConvexPoly(mask, np.round(box * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    wave = np.sin((xs * away[0] + ys * away[1]) * key.uniform(0.1, 0.9)) > key.uniform(-0.8, 0.8)
    colour = np.where(wave[..., None], _colour(key), _colour(key)) + 8 * _smooth_noise(
      key, height, width, 30
    )
  else:  # a round thing: cup, ball, flower
    axes = key.uniform(0.10, 0.24, 2) * extent
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ellipse = np.stack([np.cos(angles), np.sin(angles)], -1) * axes + start
    cv2.fillPoly(mask, [np.round(ellipse * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    inner = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    colour = _colour(key) * (0.45 + 0.7 * np.sqrt(np.clip(inner / axes.min(), 0, 1)))[..., None]
    colour = colour + 12 * _smooth_noise(key, height, width, 16)
  return mask.astype(np.float32) / 255, np.clip(colour, 0, 255).astype(np.float32)


def degrade(key: np.random.Generator, image: np.ndarray) -> np.ndarray:
  """Exposure, colour cast, blur, noise and JPEG of a cheap camera: (H, W, 3) float32 0..255 ->
  uint8.
  """
  height, width = image.shape[:2]
  gain = np.exp(key.normal(0, 0.10)) * np.exp(key.normal(0, 0.03, 3))
  image = image * gain.astype(np.float32)
  if key.random() < 0.06:
    image = cv2.merge([cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)] * 3)
  # A shoulder instead of hard clipping.
  image = np.where(image > 200, 200 + 55 * np.tanh((image - 200) / 55), image).astype(np.float32)
  if key.random() < 0.35:
    image = cv2.GaussianBlur(image, (0, 0), float(key.uniform(0.4, 1.5)))
  if key.random() < 0.08:
    n = int(key.integers(3, 9))
    kernel = np.zeros((n, n), np.float32)
    a = key.uniform(0, np.pi)
    d = np.array([np.cos(a), np.sin(a)]) * n / 2
    c = n / 2 - 0.5
    cv2.line(
      kernel,
      tuple(np.round(c - d).astype(int).tolist()),
      tuple(np.round(c + d).astype(int).tolist()),
      1.0,
      1,
    )
    image = cv2.filter2D(image, -1, kernel / kernel.sum())
  sigma = key.uniform(0.5, 3.0) if key.random() < 0.8 else key.uniform(3, 9)
  image += key.standard_normal((height, width, 1), dtype=np.float32) * sigma
  chroma = key.standard_normal(((height + 1) // 2, (width + 1) // 2, 3), dtype=np.float32)
  image += cv2.resize(chroma, (width, height)) * (0.8 * sigma)
  out = np.clip(np.rint(image), 0, 255).astype(np.uint8)
  if key.random() < 0.5:
    quality = int(key.integers(35, 92))
    encoded = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    out = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]
  return out
