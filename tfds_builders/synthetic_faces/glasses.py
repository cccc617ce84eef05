"""Spectacles: a frame and two lenses in front of the eyes, hidden where the head is nearer."""

from dataclasses import dataclass

import cv2
import numpy as np

from tfds_builders.synthetic_faces.camera import Camera
from tfds_builders.synthetic_faces.head import head_model, sample_grid
from tfds_builders.synthetic_faces.person import Person
from tfds_builders.synthetic_faces.raster import Raster


@dataclass(frozen=True)
class Cover:
  """alpha: (H, W) float32, how much the glasses change each pixel; opaque: (H, W) float32, how much
  they hide.
  """

  alpha: np.ndarray
  opaque: np.ndarray


def draw(
  key: np.random.Generator,
  person: Person,
  head: np.ndarray,
  camera: Camera,
  *,
  raster: Raster,
  fine: float,
) -> tuple[Cover, np.ndarray]:
  """Draws the glasses of a person, if any.

  Args:
    key: generator; the same numbers are taken whether or not there are glasses.
    person: who wears them.
    head: (R, C, 3) vertices, model frame.
    camera: the camera.
    raster: what is seen of the head, `fine` times the size of the picture.
    fine: supersampling.

  Returns:
    The cover and its colour (H, W, 3) float32.
  """
  height, width = (round(n / fine) for n in raster.depth.shape)
  w, h, square, thick = (
    key.uniform(0.20, 0.25),
    key.uniform(0.13, 0.18),
    key.uniform(2.0, 5.0),
    key.uniform(0.010, 0.028),
  )
  frame = (
    key.uniform(15, 90) * (1 + key.normal(0, 0.2, 3))
    if key.random() < 0.75
    else np.array([170, 150, 110.0])
  )
  tint = key.uniform(8, 40) + key.normal(0, 6, 3)
  tint_end = tint + key.uniform(0, 70)
  blank = np.zeros((height, width), np.float32)
  if not person.glasses:
    return Cover(blank, blank), np.zeros((height, width, 3), np.float32)
  model = head_model()
  anchors = sample_grid(
    head, model.grid_from_chart(np.array([[-0.5, 0], [0.5, 0], [0, 0.10], [-0.352, 0], [0.352, 0]]))
  )
  front = anchors[2, 2] + 0.06
  angle = np.linspace(0, 2 * np.pi, 49)
  circle = np.stack([np.cos(angle), np.sin(angle)], -1)
  ring = np.abs(circle) ** (2 / square) * np.sign(circle)
  lines, lenses = [], []
  for sign, eye in ((-1, anchors[3]), (1, anchors[4])):
    centre = np.array([eye[0] + sign * 0.005, eye[1] + 0.025])
    rim = centre + ring * (w, h)
    rim = np.concatenate([rim, front - 0.35 * np.clip(np.abs(rim[:, :1]) - 0.1, 0, None) ** 2], 1)
    lines.append(rim)
    lenses.append(rim)
    hinge = rim[np.argmax(sign * rim[:, 0])] + np.array([0, -0.04, 0])
    ear = np.array([sign * (np.abs(head[..., 0]).max() + 0.015), hinge[1] - 0.02, -0.95])
    lines.append(np.linspace(hinge, ear, 24))
  left, right = lenses[0][np.argmax(lenses[0][:, 0])], lenses[1][np.argmin(lenses[1][:, 0])]
  t = np.linspace(0, 1, 9)[:, None]
  lines.append(left + (right - left) * t + np.array([0, -0.05, 0.02]) * np.sin(np.pi * t))
  size = raster.depth.shape
  solid = np.zeros(size, np.uint8)
  scale = camera.scale * fine
  for line in lines:
    placed = camera.place(line)
    px = (camera.project(placed) + 0.5) * fine - 0.5
    depth = camera.depth(placed)
    stroke = np.full(size, np.inf, np.float32)
    for n in range(len(px) - 1):
      a, b = (tuple(np.round(p * 16).astype(int).tolist()) for p in (px[n], px[n + 1]))
      cv2.line(stroke, a, b, float(depth[n]), max(round(thick * scale), 1), cv2.LINE_8, 4)
    solid[stroke < raster.depth + 0.03] = 255
  glass = np.zeros(size, np.uint8)
  for rim in lenses:
    px = (camera.project(camera.place(rim)) + 0.5) * fine - 0.5
    cv2.fillPoly(glass, [np.round(px * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
  covered = (
    cv2.resize(solid, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
  )
  behind_glass = (
    cv2.resize(glass, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
  )
  rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
  middle = float(camera.project(camera.place(anchors[2]))[1]) / height
  blend = np.clip((rows - middle) * 6 + 0.5, 0, 1)[..., None]
  lens_colour = (tint + (tint_end - tint) * blend) * np.ones((height, width, 1), np.float32)
  lens_alpha = behind_glass * (0.93 if person.glasses == "dark" else 0.07)
  if person.glasses != "dark":
    lens_colour = np.full((height, width, 3), 225, np.float32)
  alpha = np.maximum(lens_alpha, covered)
  colour = lens_colour + covered[..., None] * (np.clip(frame, 0, 255) - lens_colour)
  opaque = np.maximum(covered, behind_glass if person.glasses == "dark" else 0)
  return Cover(alpha.astype(np.float32), opaque.astype(np.float32)), colour.astype(np.float32)
