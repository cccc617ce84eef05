"""Spectacles: a frame and two lenses in front of the eyes, hidden where the head is nearer."""

from dataclasses import dataclass

import cv2
import numpy as np

from tfds_builders.synthetic_faces.camera import Camera
from tfds_builders.synthetic_faces.head import head_model, sample_grid
from tfds_builders.synthetic_faces.person import Person
from tfds_builders.synthetic_faces.raster import Raster

# Outer ends of the bridge of both eyes, the middle between them, and the middle of each eye: chart.
_ANCHORS = np.array([[-0.5, 0], [0.5, 0], [0, 0.10], [-0.352, 0], [0.352, 0]])


@dataclass(frozen=True)
class Cover:
  """What the glasses do to the image.

  Attributes:
    alpha: (H, W) float32, how much they change each pixel.
    opaque: (H, W) float32, how much they hide.
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
    raster: what is seen of the head, `fine` times the size of the image.
    fine: supersampling.

  Returns:
    The cover and its colour (H, W, 3) float32.
  """
  height, width = (round(n / fine) for n in raster.depth.shape)
  lens_width = key.uniform(0.20, 0.25)
  lens_height = key.uniform(0.13, 0.18)
  square = key.uniform(2.0, 5.0)
  thick = key.uniform(0.010, 0.028)
  frame_colour = np.array([170, 150, 110.0])
  if key.random() < 0.75:
    frame_colour = key.uniform(15, 90) * (1 + key.normal(0, 0.2, 3))
  tint = key.uniform(8, 40) + key.normal(0, 6, 3)
  tint_end = tint + key.uniform(0, 70)
  if not person.glasses:
    blank = np.zeros((height, width), np.float32)
    return Cover(blank, blank), np.zeros((height, width, 3), np.float32)

  anchors = sample_grid(head, head_model().grid_from_chart(_ANCHORS))
  lines, lenses = _wires(head, anchors, lens_width, lens_height, square)
  covered = _shrink(_stroke(lines, camera, raster, thick=thick, fine=fine), width, height)
  behind_glass = _shrink(_fill(lenses, camera, raster, fine=fine), width, height)

  # The tint runs from the upper to the lower end of the lenses.
  is_dark = person.glasses == "dark"
  rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
  middle = float(camera.project(camera.place(anchors[2]))[1]) / height
  blend = np.clip((rows - middle) * 6 + 0.5, 0, 1)[..., None]
  lens_colour = (tint + (tint_end - tint) * blend) * np.ones((height, width, 1), np.float32)
  if not is_dark:
    lens_colour = np.full((height, width, 3), 225, np.float32)

  alpha = np.maximum(behind_glass * (0.93 if is_dark else 0.07), covered)
  colour = lens_colour + covered[..., None] * (np.clip(frame_colour, 0, 255) - lens_colour)
  opaque = np.maximum(covered, behind_glass if is_dark else 0)
  return Cover(alpha.astype(np.float32), opaque.astype(np.float32)), colour.astype(np.float32)


def _wires(
  head: np.ndarray, anchors: np.ndarray, width: float, height: float, square: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
  """The frame as lines in space.

  Args:
    head: (R, C, 3) vertices, model frame.
    anchors: (5, 3) points of the head at `_ANCHORS`, model frame.
    width: half that of a lens, model units.
    height: half that of a lens.
    square: 2 for ellipses, more for rounded rectangles.

  Returns:
    All lines, (N, 3) each, and those of them that are the rims of the lenses, left one first.
  """
  front = anchors[2, 2] + 0.06
  angle = np.linspace(0, 2 * np.pi, 49)
  circle = np.stack([np.cos(angle), np.sin(angle)], -1)
  ring = np.abs(circle) ** (2 / square) * np.sign(circle)

  lines, lenses = [], []
  for sign, eye in ((-1, anchors[3]), (1, anchors[4])):
    centre = np.array([eye[0] + sign * 0.005, eye[1] + 0.025])
    rim = centre + ring * (width, height)
    depth = front - 0.35 * np.clip(np.abs(rim[:, :1]) - 0.1, 0, None) ** 2
    rim = np.concatenate([rim, depth], 1)
    lenses.append(rim)

    hinge = rim[np.argmax(sign * rim[:, 0])] + np.array([0, -0.04, 0])
    ear = np.array([sign * (np.abs(head[..., 0]).max() + 0.015), hinge[1] - 0.02, -0.95])
    lines += [rim, np.linspace(hinge, ear, 24)]

  left = lenses[0][np.argmax(lenses[0][:, 0])]
  right = lenses[1][np.argmin(lenses[1][:, 0])]
  t = np.linspace(0, 1, 9)[:, None]
  bridge = left + (right - left) * t + np.array([0, -0.05, 0.02]) * np.sin(np.pi * t)
  return [*lines, bridge], lenses


def _stroke(
  lines: list[np.ndarray], camera: Camera, raster: Raster, *, thick: float, fine: float
) -> np.ndarray:
  """(h, w) uint8, 255 where a line of this thickness (model units) lies in front of the head."""
  solid = np.zeros(raster.depth.shape, np.uint8)
  thickness = max(round(thick * (camera.scale * fine)), 1)
  for line in lines:
    placed = camera.place(line)
    depth = camera.depth(placed)
    ends = np.round(_raster_px(camera, line, fine) * 16).astype(int).tolist()

    stroke = np.full(raster.depth.shape, np.inf, np.float32)
    for n in range(len(ends) - 1):
      cv2.line(stroke, ends[n], ends[n + 1], float(depth[n]), thickness, cv2.LINE_8, 4)
    solid[stroke < raster.depth + 0.03] = 255
  return solid


def _fill(lenses: list[np.ndarray], camera: Camera, raster: Raster, *, fine: float) -> np.ndarray:
  """(h, w) uint8, 255 behind the lenses."""
  glass = np.zeros(raster.depth.shape, np.uint8)
  for rim in lenses:
    points = np.round(_raster_px(camera, rim, fine) * 16).astype(np.int32)
    cv2.fillPoly(glass, [points], 255, cv2.LINE_8, 4)
  return glass


def _raster_px(camera: Camera, points: np.ndarray, fine: float) -> np.ndarray:
  """(N, 3) model frame -> (N, 2) px of the raster."""
  return (camera.project(camera.place(points)) + 0.5) * fine - 0.5


def _shrink(mask: np.ndarray, width: int, height: int) -> np.ndarray:
  """(h, w) uint8 -> (height, width) float32 in 0..1, averaged."""
  small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
  return small.astype(np.float32) / 255
