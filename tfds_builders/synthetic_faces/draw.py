"""Draws head and shoulders: geometry, paint and light together."""

import cv2
import numpy as np

from tfds_builders.synthetic_faces import body
from tfds_builders.synthetic_faces.camera import Camera
from tfds_builders.synthetic_faces.hair import HAIR_ROWS, hair, hair_end, locks_relief
from tfds_builders.synthetic_faces.head import head_model
from tfds_builders.synthetic_faces.person import Person
from tfds_builders.synthetic_faces.raster import Raster, rasterise
from tfds_builders.synthetic_faces.shading import Light, shade, shadow
from tfds_builders.synthetic_faces.texture import hair_opacity, paint
from tfds_builders.synthetic_faces.tube import smoothstep

SUPERSAMPLING = 1.5  # the head is drawn at this multiple of the size and averaged down


def draw_head(
  key: np.random.Generator,
  person: Person,
  head: np.ndarray,
  camera: Camera,
  light: Light,
  *,
  height: int,
  width: int,
) -> tuple[np.ndarray, Raster]:
  """Draws head and shoulders.

  Args:
    key: generator.
    person: who it is.
    head: (R, C, 3) float32 vertices of the head, model frame.
    camera: the camera.
    light: the lamps.
    height: height of the image, px.
    width: width of the image, px.

  Returns:
    (H, W, 4) float32, colour times coverage, and coverage; and the raster at `SUPERSAMPLING` times
    the size.
  """
  fine_height, fine_width = round(height * SUPERSAMPLING), round(width * SUPERSAMPLING)
  placed = _place(key, person, head, camera)

  # Both sizes count from the border of the image, not from the middle of its first pixel.
  xy = (camera.project(placed) + 0.5) * SUPERSAMPLING - 0.5
  cells, two_sided = _needed_cells(person)
  raster = rasterise(
    xy.astype(np.float32),
    camera.depth(placed),
    (fine_height, fine_width),
    cells=cells,
    two_sided=two_sided,
    opacity=hair_opacity(key, person.hair),
  )

  parts = body.layout()
  skip = np.zeros(parts.rows, bool)
  if person.hair.bald:
    skip[parts.hair] = True

  shadows = shadow(placed, light.direction, skip)
  texture = paint(key, person.look, person.curves, person.shape)
  colours = shade(raster, texture, body.normals(placed), shadows, light, gloss=person.gloss)

  # Colours come weighted with the coverage, so that the empty part of a border pixel does not
  # darken it.
  fine = np.zeros((fine_height * fine_width, 4), np.float32)
  fine[raster.pixel, :3] = colours * _exposure(colours, raster)
  fine[raster.pixel, 3] = 1
  image = fine.reshape(fine_height, fine_width, 4)
  return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), raster


def _place(
  key: np.random.Generator, person: Person, head: np.ndarray, camera: Camera
) -> np.ndarray:
  """All vertices of the joint grid, (R, C, 3) camera frame, for those of the head, model frame."""
  parts = body.layout()
  ear = body.ears(person.ear_size, person.ear_flare, head)
  locks = hair(person.hair, head, locks_relief(key, person.hair.curl))
  vertices = body.assemble(head, ear, locks)

  # The neck and long hair follow the shoulders rather than the head.
  bend = np.zeros(vertices.shape[:2], np.float32)
  bend[parts.head] = smoothstep(14.8, 17.5, head_model().sections)[:, None]
  bend[parts.hair] = 0.8 * smoothstep(1.2, 2.2, vertices[parts.hair][..., 1])
  bend[parts.torso] = 1
  return camera.place(vertices, bend)


def _needed_cells(person: Person) -> tuple[np.ndarray, np.ndarray]:
  """Which parts of the joint grid can be seen at all.

  Returns:
    (R - 1, C - 1) bool cells, and (R,) bool rows that show their inside.
  """
  parts = body.layout()
  cells, two_sided = parts.cells.copy(), parts.two_sided.copy()
  if person.hair.bald:
    cells[parts.hair] = False
  else:
    # What the locks leave bare at their ends, and a margin for the neighbouring columns.
    end = hair_end(person.hair) * (1 - 2.5 * person.hair.ragged) - 0.5
    end = np.min([np.roll(end, n) for n in range(-4, 5)], axis=0)
    cells[parts.head] &= (head_model().sections[:, None] > end)[:, 1:]

  # Only where hair hangs down can one look at its inside.
  lying = HAIR_ROWS * 2 // 5 if person.hair.length > 0.6 else HAIR_ROWS
  two_sided[parts.hair.start : parts.hair.start + lying] = False
  return cells, two_sided


def _exposure(colours: np.ndarray, raster: Raster) -> float:
  """A camera's automatic exposure: goes half of the way to a face of medium brightness."""
  first, last = np.searchsorted(head_model().sections, [4.5, 12.0])
  face = (raster.grid[:, 1] > first) & (raster.grid[:, 1] < last)
  mean = float(colours[face].mean()) if face.any() else 128.0
  return float(np.clip((128 / max(mean, 1.0)) ** 0.5, 0.75, 1.7))
