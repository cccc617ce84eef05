"""What a camera adds: background, colour, blur, noise and compression."""

import cv2
import numpy as np


def smooth_noise(
  key: np.random.Generator, height: int, width: int, cells: int, channels: int = 3
) -> np.ndarray:
  """(height, width, channels) float32 noise that varies over a grid of `cells` x `cells`."""
  small = key.standard_normal((cells, cells, channels), dtype=np.float32)
  large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
  return large.reshape(height, width, channels)


def random_colour(key: np.random.Generator, low: float = 20, high: float = 235) -> np.ndarray:
  """(3,) sRGB 0..255, more often muted than loud."""
  grey = key.uniform(low, high)
  return np.clip(grey + key.normal(0, 14 if key.random() < 0.8 else 50, 3), 0, 255)


def background(key: np.random.Generator, height: int, width: int) -> np.ndarray:
  """(H, W, 3) float32 image of something out of focus, made at half the size."""
  half_height, half_width = height // 2, width // 2
  size = (half_width, half_height)
  top, low = random_colour(key), random_colour(key)
  ramp = np.linspace(0, 1, half_height, dtype=np.float32)[:, None, None]
  canvas = (top * (1 - ramp) + low * ramp).astype(np.float32)
  canvas = canvas + np.zeros((half_height, half_width, 3), np.float32)

  for cells, strength in ((3, 26), (9, 14), (40, 9)):
    grey, tint = (
      key.standard_normal((cells, cells, channels), dtype=np.float32) for channels in (1, 3)
    )
    patches = cv2.resize(grey + 0.25 * tint, size, interpolation=cv2.INTER_CUBIC)
    canvas += patches * np.float32(strength * key.uniform(0.2, 1.3))

  kind = key.integers(0, 4)
  for _ in range(int(key.integers(4, 16))):
    colour = tuple(float(c) for c in random_colour(key))
    x, y = (float(v) for v in key.uniform(-0.1, 1.1, 2) * size)
    if kind == 0:  # furniture and walls
      w, h = key.uniform(0.05, 0.5, 2) * size
      box = cv2.boxPoints(((x, y), (float(w), float(h)), float(key.normal(0, 6))))
      cv2.fillConvexPoly(canvas, np.round(box * 16).astype(np.int32), colour, cv2.LINE_AA, 4)
    elif kind == 1:  # leaves and lamps
      axes = tuple(int(v) for v in key.uniform(2, 0.16 * half_width, 2))
      cv2.ellipse(canvas, (int(x), int(y)), axes, float(key.uniform(0, 180)), 0, 360, colour, -1)
    elif kind == 2:  # bars and branches
      x1, y1 = (float(v) for v in key.uniform(-0.1, 1.1, 2) * size)
      cv2.line(canvas, (int(x), int(y)), (int(x1), int(y1)), colour, int(key.integers(1, 10)))
    else:  # a crowd of head-like blobs
      r = int(key.uniform(3, 0.10 * half_width))
      cv2.ellipse(canvas, (int(x), int(y)), (r, int(r * 1.3)), 0, 0, 360, colour, -1)

  blurred = cv2.GaussianBlur(canvas, (0, 0), float(key.choice([0.6, 1.0, 1.6, 2.5])))
  return np.asarray(cv2.resize(blurred, (width, height)))


def degrade(
  key: np.random.Generator, image: np.ndarray, *, grain: np.random.Generator
) -> np.ndarray:
  """Exposure, colour cast, blur, noise and JPEG of a cheap camera.

  Args:
    key: generator of how strong they are.
    image: (H, W, 3) float32, 0..255.
    grain: generator of the noise itself; `key` for a single photograph.

  Returns:
    (H, W, 3) uint8.
  """
  height, width = image.shape[:2]
  gain = np.exp(key.normal(0, 0.10)) * np.exp(key.normal(0, 0.03, 3))
  image = image * gain.astype(np.float32)
  if key.random() < 0.06:
    image = cv2.merge([cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)] * 3)
  # A shoulder instead of hard clipping.
  bright = image > 200
  image[bright] = 200 + 55 * np.tanh((image[bright] - 200) / 55)

  if key.random() < 0.35:
    image = cv2.GaussianBlur(image, (0, 0), float(key.uniform(0.4, 1.5)))
  if key.random() < 0.08:
    image = cv2.filter2D(image, -1, _motion_kernel(key))

  sigma = key.uniform(0.5, 3.0) if key.random() < 0.8 else key.uniform(3, 9)
  image += grain.standard_normal((height, width, 1), dtype=np.float32) * sigma
  chroma = grain.standard_normal(((height + 1) // 2, (width + 1) // 2, 3), dtype=np.float32)
  image += cv2.resize(chroma, (width, height)) * (0.8 * sigma)

  out = np.clip(np.rint(image), 0, 255).astype(np.uint8)
  if key.random() < 0.5:
    quality = int(key.integers(35, 92))
    encoded = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    out = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]
  return out


def _motion_kernel(key: np.random.Generator) -> np.ndarray:
  """(n, n) float32 blur along a line in a random direction; sums to 1."""
  n = int(key.integers(3, 9))
  angle = key.uniform(0, np.pi)
  along = np.array([np.cos(angle), np.sin(angle)]) * n / 2
  middle = n / 2 - 0.5
  start, end = (np.round(p).astype(int).tolist() for p in (middle - along, middle + along))
  kernel = np.zeros((n, n), np.float32)
  cv2.line(kernel, start, end, 1.0, 1)
  return kernel / kernel.sum()
