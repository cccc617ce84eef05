"""One image of one face with its exact landmarks, from a seed, a split and an index alone.

What a picture is of, a `Scene`, is drawn at random first; `render_scene` makes the picture. A
photograph takes all its random numbers from one generator, one after the other. The frames of a
video share those of some stages and not of others, hence `Keys`.
"""

from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np

from tfds_builders.synthetic_faces import glasses, photo
from tfds_builders.synthetic_faces.camera import Camera
from tfds_builders.synthetic_faces.draw import SUPERSAMPLING, draw_head
from tfds_builders.synthetic_faces.head import head_model, sample_grid
from tfds_builders.synthetic_faces.landmark_points import landmark_points
from tfds_builders.synthetic_faces.occluder import occluder
from tfds_builders.synthetic_faces.person import Person, sample_person
from tfds_builders.synthetic_faces.raster import Raster
from tfds_builders.synthetic_faces.scene import sample_camera, sample_light
from tfds_builders.synthetic_faces.shading import Light

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Scene:
  """What a picture shows, and from where.

  Attributes:
    height: of the image, px.
    width: of the image, px.
    light: the lamps.
    person: who it is.
    head: (R, C, 3) float32 vertices of the head, model frame.
    points_68: (68, 3) float64 landmarks, model frame.
    points_98: (98, 3) float64.
    camera: projects vertices and landmarks.
    centre: (2,) about where the face is, image px: an object in front covers some of it.
    extent: larger side of the face, px.
  """

  height: int
  width: int
  light: Light
  person: Person
  head: np.ndarray
  points_68: np.ndarray
  points_98: np.ndarray
  camera: Camera
  centre: np.ndarray
  extent: float


@dataclass(frozen=True)
class Keys:
  """The generator of each stage of a picture.

  Attributes:
    background: what is behind the person.
    head: locks, pores, the single hairs of brows and beard.
    glasses: their form and colour.
    occluder: something before the face.
    photo: exposure, blur, how much noise and compression.
    grain: the noise itself.
    box: how a detector misses the face.
  """

  background: np.random.Generator
  head: np.random.Generator
  glasses: np.random.Generator
  occluder: np.random.Generator
  photo: np.random.Generator
  grain: np.random.Generator
  box: np.random.Generator


@dataclass(frozen=True)
class RenderedFace:
  """An image and what is known about it.

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


def generator(seed: int, split: str, index: int, *further: str | int) -> np.random.Generator:
  """Random numbers that depend on these values and on nothing else."""
  values = (seed, split, index, *further)
  numbers = [int.from_bytes(v.encode(), "big") if isinstance(v, str) else v for v in values]
  return np.random.Generator(np.random.Philox(np.random.SeedSequence(numbers)))


def seen_through(
  raster: Raster, points_px: np.ndarray, depth: np.ndarray, bias: float = 0.05
) -> np.ndarray:
  """Whether points are seen.

  The farthest surface among the 3 x 3 pixels around decides, so that points on a silhouette count
  as seen.

  Args:
    raster: what is seen of the head.
    points_px: (N, 2) raster px.
    depth: (N,) distance along the optical axis, model units.
    bias: how far a point may lie behind the surface.

  Returns:
    (N,) bool.
  """
  height, width = raster.depth.shape
  x = np.clip(np.rint(points_px[:, 0]).astype(int), 1, width - 2)
  y = np.clip(np.rint(points_px[:, 1]).astype(int), 1, height - 2)
  around = np.stack([raster.depth[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
  return depth <= around.max(0) + bias


def render_face(
  seed: int, split: str, index: int, *, annotated: bool = False, varied: bool = False
) -> RenderedFace:
  """Renders example `index` of `split`; bit for bit the same for the same values.

  Args:
    seed: of the dataset.
    split: name of the split.
    index: number in the split.
    annotated: landmarks where an annotator puts them, see `landmark_points`.
    varied: people and cameras over a wider range, see `person.py` and `scene.py`.

  Returns:
    The face.
  """
  key = generator(seed, split, index)
  height, width = (2 * int(v) for v in key.integers(104, 129, 2))
  light = sample_light(key)
  person = sample_person(key, light, varied=varied)
  camera = sample_camera(key, varied=varied)
  head = head_model().vertices(person.shape)
  points_68, points_98 = landmark_points(head, person.curves, camera, annotated=annotated)

  # The face fills about half of the image, somewhere near its middle.
  extent = key.uniform(0.45, 0.60) * min(height, width)
  room = (np.array([width, height]) - extent) / 2
  centre = np.array([width - 1, height - 1]) / 2 + key.uniform(-0.45, 0.45, 2) * room
  scene = Scene(
    height=height,
    width=width,
    light=light,
    person=person,
    head=head,
    points_68=points_68,
    points_98=points_98,
    camera=camera.framed(camera.project(camera.place(points_68)), centre, extent),
    centre=centre,
    extent=extent,
  )
  return render_scene(Keys(*[key] * len(fields(Keys))), scene)


def render_scene(keys: Keys, scene: Scene) -> RenderedFace:
  """Makes the picture of a scene.

  Args:
    keys: generators. Of one that several stages share, the earlier takes the first numbers: in
      another order all photographs would be others.
    scene: what it shows.

  Returns:
    The face.
  """
  height, width = scene.height, scene.width
  person, head, camera = scene.person, scene.head, scene.camera

  # From the back to the front: background, head, glasses, something before the face.
  drawn, raster = draw_head(
    keys.head, person, head, camera, scene.light, height=height, width=width
  )
  image = photo.background(keys.background, height, width)
  image = image * (1 - drawn[..., 3:]) + drawn[..., :3]
  occluded = np.zeros((height, width), np.float32)
  cover, tint = glasses.draw(keys.glasses, person, head, camera, raster=raster, fine=SUPERSAMPLING)
  image += cover.alpha[..., None] * (tint - image)
  occluded = np.maximum(occluded, cover.opaque)
  if keys.occluder.random() < 0.18:
    over, thing = occluder(keys.occluder, height, width, scene.centre, scene.extent)
    near = cv2.GaussianBlur(over, (0, 0), 3.0)  # its shadow
    image *= (1 - 0.35 * near * (1 - over))[..., None]
    image += over[..., None] * (thing - image)
    occluded = np.maximum(occluded, over)
  image = photo.degrade(keys.photo, image, grain=keys.grain)

  landmarks_68, visible_68 = _project(scene.points_68, camera, raster, occluded)
  landmarks_98, visible_98 = _project(scene.points_98, camera, raster, occluded)
  for side in (0, 1):  # the pupils
    visible_98[96 + side] &= person.curves.eye_is_open(side)

  # Every side of the box as a detector might miss it.
  low, high = landmarks_68.min(0), landmarks_68.max(0)
  box = np.concatenate([low, high]) + keys.box.normal(0, 0.04, 4) * np.tile(high - low, 2)
  return RenderedFace(
    image=image,
    landmarks_68=landmarks_68,
    visible_68=visible_68,
    landmarks_98=landmarks_98,
    visible_98=visible_98,
    points_68=scene.points_68,
    points_98=scene.points_98,
    camera=camera,
    person=person,
    occluded=occluded,
    box=box,
  )


def _project(
  points: np.ndarray, camera: Camera, raster: Raster, occluded: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Where points of the head appear, and whether they are seen.

  Args:
    points: (K, 3) model frame.
    camera: the camera.
    raster: what is seen of the head.
    occluded: (H, W) 0..1, how much of each pixel something in front of the head covers.

  Returns:
    (K, 2) float64 image px, pixel-centre, and (K,) bool.
  """
  height, width = occluded.shape
  placed = camera.place(points)
  px = camera.project(placed)
  clear = seen_through(raster, (px + 0.5) * SUPERSAMPLING - 0.5, camera.depth(placed))
  inside = (px >= -0.5).all(1) & (px[:, 0] < width - 0.5) & (px[:, 1] < height - 0.5)
  within = np.clip(px, 0, [width - 1, height - 1])
  covered = sample_grid(occluded[..., None], within)[:, 0] > 0.5
  return px, clear & inside & ~covered


def render_encoded(
  seed: int,
  split: str,
  num_landmarks: int,
  index: int,
  *,
  annotated: bool = False,
  varied: bool = False,
) -> dict[str, Any]:
  """What the dataset stores of a face: JPEG bytes, landmarks and visibility of one mark-up, box.

  It lives here rather than beside the builder so that the processes that render need not import
  TFDS.
  """
  face = render_face(seed, split, index, annotated=annotated, varied=varied)
  return encoded(face, num_landmarks, file_name=f"{split}/{index:06d}.jpg")


def encoded(face: RenderedFace, num_landmarks: int, *, file_name: str) -> dict[str, Any]:
  """The record of a face: JPEG bytes, landmarks and visibility of one mark-up, box, name."""
  markups = {68: (face.landmarks_68, face.visible_68), 98: (face.landmarks_98, face.visible_98)}
  landmarks, visible = markups[num_landmarks]

  quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
  _, jpeg = cv2.imencode(".jpg", face.image[..., ::-1].copy(), quality)
  return {
    "image": jpeg.tobytes(),
    "landmarks": landmarks,
    "visible": visible,
    "box_dataset": face.box,
    "file_name": file_name,
  }
