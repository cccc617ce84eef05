"""Real faces, cut out as the shipped networks see them."""

import genuine_files
import numpy as np

from fal_jax import build, crop, landmarks
from fal_jax.images import read_image
from fal_jax.weights import pretrained
from tfds_builders.common import pts


def of_helen(count: int) -> np.ndarray:
  """(count, S, S, 3) uint8, every fourth face of HELEN, with the box that its annotation has."""
  folder = genuine_files.path("300w", "helen", "trainset")
  rule = build.crop_rule(pretrained.load("free-68").config)
  images = []
  for file in sorted(folder.glob("*.jpg"))[: 4 * count : 4]:
    points = pts.read_pts(file.with_suffix(".pts"), num_landmarks=68, origin=1)
    (box,) = landmarks.tight_boxes(points[None])
    images.append(crop.extract(read_image(file), crop.crop_from_image(box, rule), rule.size))
  assert len(images) == count
  return np.stack(images)
