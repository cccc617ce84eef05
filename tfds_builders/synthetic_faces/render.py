"""One picture of one face with its exact landmarks, from a seed, a split and an index alone."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tfds_builders.synthetic_faces import body, glasses, photo
from tfds_builders.synthetic_faces.camera import Camera
from tfds_builders.synthetic_faces.head import head_model, sample_grid, sample_triangles, smoothstep
from tfds_builders.synthetic_faces.landmark_curves import FaceCurves, jaw_paths, slide_jaw
from tfds_builders.synthetic_faces.person import Person, sample_camera, sample_light, sample_person
from tfds_builders.synthetic_faces.raster import Raster, rasterise
from tfds_builders.synthetic_faces.shading import Light, shade, shadow
from tfds_builders.synthetic_faces.texture import hair_opacity, paint

JPEG_QUALITY = 95
_FINE = 1.5  # the head is drawn at this multiple of the size and averaged down


@dataclass(frozen=True)
class RenderedFace:
  """A picture and what is known about it.

  Attributes:
    image: (H, W, 3) uint8 RGB.
    landmarks_68: (68, 2) float64, image px, pixel-centre.
    visible_68: (68,) bool, hidden neither by the head itself nor by something in front of it.
    landmarks_98: (98, 2) float64, image px, pixel-centre.
    visible_98: (98,) bool.
    points_68: (68, 3) float64, the same points in the model frame.
    points_98: (98, 3) float64.
    camera: projects the points to the landmarks.
    person: who it is.
    occluded: (H, W) float32, 0..1 how much of each pixel an object in front of the head covers.
    box: (4,) float64, x0, y0, x1, y1 in image px: a box as a face detector might give it.
  """

  image: np.ndarray
  landmarks_68: np.ndarray
  visible_68: np.ndarray
  landmarks_98: np.ndarray
  visible_98: np.ndarray
  points_68: np.ndarray
  points_98: np.ndarray
  camera: Camera
  person: Person
  occluded: np.ndarray
  box: np.ndarray


def generator(seed: int, split: str, index: int) -> np.random.Generator:
  """Random numbers that depend on these three values and on nothing else."""
  return np.random.Generator(
    np.random.Philox(np.random.SeedSequence([seed, int.from_bytes(split.encode(), "big"), index]))
  )


def landmark_points(
  head: np.ndarray, curves: FaceCurves, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
  """The landmarks on the head's surface, (68, 3) and (98, 3) float64, model frame.

  All are fixed to the surface except those of the jaw line, which annotators put on the visible
  contour of the face: they slide over the cheek to where it turns away from the camera.
  """
  model = head_model()
  chart68, chart98 = curves.points()
  grid68, grid98 = model.grid_from_chart(chart68), model.grid_from_chart(chart98)
  paths = jaw_paths(model)
  placed = camera.place(head.astype(np.float64))
  normal = body.patch_normals(placed)
  facing = normal[..., 2] * camera.distance - np.einsum("rcd,rcd->rc", normal, placed)
  along = slide_jaw(
    sample_triangles(facing[..., None], paths.reshape(-1, 2)).reshape(paths.shape[:2])
  )
  i = np.minimum(along.astype(int), paths.shape[1] - 2)
  k = np.arange(len(paths))
  grid98[:33] = paths[k, i] + (along - i)[:, None] * (paths[k, i + 1] - paths[k, i])
  grid68[:17] = grid98[:33:2]
  return sample_triangles(head, grid68), sample_triangles(head, grid98)


def seen_through(
  raster: Raster, points_px: np.ndarray, depth: np.ndarray, bias: float = 0.05
) -> np.ndarray:
  """Whether nothing on the raster lies in front of points (N, 2; raster px) at this depth (N,) by
  more than `bias`.

  The farthest surface among the 3 x 3 pixels around decides, so that points on a silhouette count
  as seen.
  """
  height, width = raster.depth.shape
  x = np.clip(np.rint(points_px[:, 0]).astype(int), 1, width - 2)
  y = np.clip(np.rint(points_px[:, 1]).astype(int), 1, height - 2)
  around = np.stack([raster.depth[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
  return depth <= around.max(0) + bias


def render_face(seed: int, split: str, index: int) -> RenderedFace:
  """Renders example `index` of `split`; bit for bit the same for the same three values."""
  key = generator(seed, split, index)
  height, width = (2 * int(v) for v in key.integers(104, 129, 2))
  light = sample_light(key)
  person = sample_person(key, light)
  camera = sample_camera(key)
  model = head_model()
  head = model.vertices(person.shape)
  points68, points98 = landmark_points(head, person.curves, camera)
  extent = key.uniform(0.45, 0.60) * min(height, width)
  room = (np.array([width, height]) - extent) / 2
  centre = np.array([width - 1, height - 1]) / 2 + key.uniform(-0.45, 0.45, 2) * room
  camera = camera.framed(camera.project(camera.place(points68)), centre, extent)
  drawn, raster = _draw(key, person, head, camera, light, height=height, width=width)
  image = photo.background(key, height, width)
  image = image * (1 - drawn[..., 3:]) + drawn[..., :3]
  occluded = np.zeros((height, width), np.float32)
  cover, tint = glasses.draw(key, person, head, camera, raster=raster, fine=_FINE)
  image += cover.alpha[..., None] * (tint - image)
  occluded = np.maximum(occluded, cover.opaque)
  if key.random() < 0.18:
    over, thing = photo.occluder(key, height, width, centre, extent)
    near = cv2.GaussianBlur(over, (0, 0), 3.0)
    image *= (1 - 0.35 * near * (1 - over))[..., None]
    image += over[..., None] * (thing - image)
    occluded = np.maximum(occluded, over)
  image = photo.degrade(key, image)
  landmarks, visible = [], []
  for points in (points68, points98):
    placed = camera.place(points)
    px = camera.project(placed)
    clear = seen_through(raster, (px + 0.5) * _FINE - 0.5, camera.depth(placed))
    inside = (px >= -0.5).all(1) & (px[:, 0] < width - 0.5) & (px[:, 1] < height - 0.5)
    covered = sample_grid(occluded[..., None], np.clip(px, 0, [width - 1, height - 1]))[:, 0] > 0.5
    landmarks.append(px)
    visible.append(clear & inside & ~covered)
  for side in (0, 1):
    visible[1][96 + side] &= person.curves.eye_is_open(side)
  low, high = landmarks[0].min(0), landmarks[0].max(0)
  box = np.concatenate([low, high]) + key.normal(0, 0.04, 4) * np.tile(high - low, 2)
  return RenderedFace(
    image=image,
    landmarks_68=landmarks[0],
    visible_68=visible[0],
    landmarks_98=landmarks[1],
    visible_98=visible[1],
    points_68=points68,
    points_98=points98,
    camera=camera,
    person=person,
    occluded=occluded,
    box=box,
  )


def render_encoded(seed: int, split: str, num_landmarks: int, index: int) -> dict[str, Any]:
  """What the dataset stores of a face: JPEG bytes, landmarks and visibility of one mark-up, box.

  It lives here rather than beside the builder so that the processes that render need not import
  TFDS.
  """
  face = render_face(seed, split, index)
  data = cv2.imencode(
    ".jpg", face.image[..., ::-1].copy(), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
  )[1].tobytes()
  markups = {68: (face.landmarks_68, face.visible_68), 98: (face.landmarks_98, face.visible_98)}
  landmarks, visible = markups[num_landmarks]
  name = f"{split}/{index:06d}.jpg"
  return {
    "image": data,
    "landmarks": landmarks,
    "visible": visible,
    "box_dataset": face.box,
    "file_name": name,
  }


def _needed_cells(person: Person) -> tuple[np.ndarray, np.ndarray]:
  """Which parts of the joint grid can be seen at all: cells (R - 1, C - 1) bool, rows that show
  their inside (R,) bool.
  """
  parts, sections = body.layout(), head_model().sections
  cells, two_sided = parts.cells.copy(), parts.two_sided.copy()
  if person.hair.bald:
    cells[parts.hair] = False
  else:
    # What the locks leave bare at their ends, and a margin for the neighbouring columns.
    end = body.hair_end(person.hair) * (1 - 2.5 * person.hair.ragged) - 0.5
    end = np.min([np.roll(end, n) for n in range(-4, 5)], axis=0)
    cells[parts.head] &= (sections[:, None] > end)[:, 1:]
  # Only where hair hangs down can one look at its inside.
  lying = body.HAIR_ROWS * 2 // 5 if person.hair.length > 0.6 else body.HAIR_ROWS
  two_sided[parts.hair.start : parts.hair.start + lying] = False
  return cells, two_sided


def _exposure(colours: np.ndarray, raster: Raster) -> float:
  """A camera's automatic exposure: goes half of the way to a face of medium brightness."""
  first, last = np.searchsorted(head_model().sections, [4.5, 12.0])
  face = (raster.grid[:, 1] > first) & (raster.grid[:, 1] < last)
  mean = float(colours[face].mean()) if face.any() else 128.0
  return float(np.clip((128 / max(mean, 1.0)) ** 0.5, 0.75, 1.7))


def _draw(
  key: np.random.Generator,
  person: Person,
  head: np.ndarray,
  camera: Camera,
  light: Light,
  *,
  height: int,
  width: int,
) -> tuple[np.ndarray, Raster]:
  """Head and shoulders, (H, W, 4) float32: colour times coverage, coverage; and the raster at
  `_FINE` times the size.
  """
  model, parts = head_model(), body.layout()
  fine_height, fine_width = round(height * _FINE), round(width * _FINE)
  ear = body.ears(person.ear_size, person.ear_flare, head)
  locks = body.hair(person.hair, head, body.locks_relief(key, person.hair.curl))
  vertices = body.assemble(head, ear, locks)
  bend = np.zeros(vertices.shape[:2], np.float32)
  bend[parts.head] = smoothstep(14.8, 17.5, model.sections)[:, None]
  bend[parts.hair] = 0.8 * smoothstep(1.2, 2.2, vertices[parts.hair][..., 1])
  bend[parts.torso] = 1
  placed = camera.place(vertices, bend)
  # Both sizes count from the border of the picture, not from the middle of its first pixel.
  xy = (camera.project(placed) + 0.5) * _FINE - 0.5
  cells, two_sided = _needed_cells(person)
  raster = rasterise(
    xy.astype(np.float32),
    camera.depth(placed),
    (fine_height, fine_width),
    cells=cells,
    two_sided=two_sided,
    opacity=hair_opacity(person.hair, key),
  )
  normals = body.normals(placed)
  skip = np.zeros(parts.rows, bool)
  if person.hair.bald:
    skip[parts.hair] = True
  shadows = shadow(placed, light.direction, skip)
  texture = paint(person.look, person.curves, person.shape, key)
  fine = np.zeros((fine_height * fine_width, 4), np.float32)
  colours = shade(raster, texture, normals, shadows, light, gloss=person.gloss)
  fine[raster.pixel, :3] = colours * _exposure(colours, raster)
  fine[raster.pixel, 3] = 1
  # Colours come weighted with the coverage, so that the empty part of a border pixel does not
  # darken it.
  averaged = cv2.resize(
    fine.reshape(fine_height, fine_width, 4), (width, height), interpolation=cv2.INTER_AREA
  )
  return averaged, raster
