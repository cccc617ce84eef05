"""Draws at random how the scene is lit and from where it is seen."""

import numpy as np

from tfds_builders.synthetic_faces.camera import Camera, rotation
from tfds_builders.synthetic_faces.shading import Light


def sample_light(key: np.random.Generator) -> Light:
  """A lamp somewhere in front and above, warm or cold, hard or soft."""
  azimuth = key.normal(0, 0.75)
  elevation = key.normal(0.45, 0.35)
  direction = np.array(
    [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
  )

  warmth = key.normal(0, 0.09)
  lamp = key.uniform(0.55, 1.05) * np.array([1 + warmth, 1.0, 1 - warmth])
  fill = key.uniform(0.16, 0.55)
  tint = 1 + key.normal(0, 0.05, 3)

  # A second lamp from behind, sometimes.
  side = key.choice([-1, 1])
  rim = np.array([0.95 * side, -0.25, -0.15])
  strength = key.uniform(0, 0.5) if key.random() < 0.4 else 0.0
  return Light(
    direction=direction,
    lamp=lamp.astype(np.float32),
    above=(fill * tint * (1 - 0.5 * warmth)).astype(np.float32),
    below=(fill * tint * key.uniform(0.3, 0.8)).astype(np.float32),
    rim=rim / np.linalg.norm(rim),
    rim_colour=(strength * (1 + key.normal(0, 0.15, 3))).astype(np.float32),
    softness=float(key.uniform(0.1, 0.9)),
  )


# How far a camera is from the neck, in distances between the outer eye corners, about 9 cm.
_DISTANCES = (6.5, 18)
_VARIED_DISTANCES = (6.5, 45)  # 0.6 m, a picture of oneself, to 4 m, one through a long lens


def sample_camera(key: np.random.Generator, *, varied: bool = False) -> Camera:
  """A pose and a distance, for `varied` faces a wider range; scale and offset come with framing."""
  degrees = np.clip(key.normal(0, (21, 10, 10)), (-45, -25, -25), (45, 25, 25))
  if key.random() < 0.25:
    degrees[0] = key.uniform(-45, 45)

  yaw, pitch, roll = np.radians(degrees)
  return Camera(
    head=rotation(yaw, pitch, roll),
    body=rotation(0.45 * yaw + key.normal(0, 0.12), 0.15 * pitch, 0.25 * roll),
    distance=sample_distance(key, varied=varied),
  )


def sample_distance(key: np.random.Generator, *, varied: bool = False) -> float:
  """How far the camera is from the neck, model units."""
  return float(np.exp(key.uniform(*np.log(_VARIED_DISTANCES if varied else _DISTANCES))))
