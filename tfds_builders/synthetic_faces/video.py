"""One frame of a rendered video with its exact landmarks, from a few numbers alone.

Person, light, background, exposure and blur are those of the video, pose and expression move (see
`motion.py`), the noise is new in every frame.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfds_builders.synthetic_faces.camera import Camera, rotation
from tfds_builders.synthetic_faces.head import head_model
from tfds_builders.synthetic_faces.landmark_points import jaw_contour, landmark_points
from tfds_builders.synthetic_faces.motion import Motion, moved, sample_motion
from tfds_builders.synthetic_faces.person import Person, sample_person
from tfds_builders.synthetic_faces.render import (
  Keys,
  RenderedFace,
  Scene,
  encoded,
  generator,
  render_scene,
)
from tfds_builders.synthetic_faces.scene import sample_distance, sample_light
from tfds_builders.synthetic_faces.shading import Light

FRAMES_PER_SECOND = 25
_SHOULDERS_FOLLOW = 0.15  # how much of a turn of the head they make
_CALM_FRAMES = 8  # before and after, over which the jaw line's place on the head is averaged


@dataclass(frozen=True)
class Take:
  """What is drawn at random for a video; no array may be written to.

  Attributes:
    height: of the image, px.
    width: of the image, px.
    light: the lamps.
    person: who it is, at rest.
    turned: (3,) yaw, pitch and roll of the head at rest, radians.
    body: (3,) those of the shoulders.
    camera: projects the head at rest.
    motion: what moves.
    centre: (2,) of the face at rest, image px.
    extent: its larger side, px.
    annotated: landmarks where an annotator puts them.
  """

  height: int
  width: int
  light: Light
  person: Person
  turned: np.ndarray
  body: np.ndarray
  camera: Camera
  motion: Motion
  centre: np.ndarray
  extent: float
  annotated: bool


def render_frame(
  seed: int, split: str, video: int, frame: int, *, annotated: bool = False, varied: bool = False
) -> RenderedFace:
  """Renders a frame; bit for bit the same for the same values.

  Args:
    seed: of the dataset.
    split: name of the split.
    video: number in the split.
    frame: number in the video, from 0; there are as many as are asked for.
    annotated: landmarks where an annotator puts them, see `landmark_points`.
    varied: people and cameras over a wider range, see `person.py` and `scene.py`.

  Returns:
    The face.
  """
  scene = frame_scene(seed, split, video, frame, annotated=annotated, varied=varied)
  return render_scene(_keys(seed, split, video, frame), scene)


def frame_scene(
  seed: int, split: str, video: int, frame: int, *, annotated: bool = False, varied: bool = False
) -> Scene:
  """What `render_frame` of the same arguments renders, its landmarks among it."""
  numbers = (seed, split, video, annotated, varied)
  take = _take(*numbers)
  person, head, camera = _moved(take, frame)
  points_68, points_98 = landmark_points(
    head, person.curves, camera, annotated=annotated, contour=_calm_contour(numbers, frame)
  )
  return Scene(
    height=take.height,
    width=take.width,
    light=take.light,
    person=person,
    head=head,
    points_68=points_68,
    points_98=points_98,
    camera=camera,
    centre=take.centre,
    extent=take.extent,
  )


def render_frame_encoded(
  seed: int,
  split: str,
  num_landmarks: int,
  num_frames: int,
  index: int,
  *,
  annotated: bool = False,
  varied: bool = False,
) -> dict[str, Any]:
  """What the dataset stores of frame `index` of a split, of videos of `num_frames` frames each.

  Videos are numbered from 0, frames from 1 as those of 300VW.
  """
  video, frame = divmod(index, num_frames)
  face = render_frame(seed, split, video, frame, annotated=annotated, varied=varied)
  name, number = f"{video:03d}", frame + 1
  record = encoded(face, num_landmarks, file_name=f"{split}/{name}/{number:06d}.jpg")
  return record | {"video": name, "frame": number}


def _keys(seed: int, split: str, video: int, frame: int) -> Keys:
  """Generators of the stages: all but the last two begin anew in each frame."""

  def of_video(stage: str) -> np.random.Generator:
    return generator(seed, split, video, stage)

  return Keys(
    background=of_video("background"),
    head=of_video("head"),
    glasses=of_video("glasses"),
    occluder=of_video("occluder"),
    photo=of_video("photo"),
    grain=generator(seed, split, video, "grain", frame),
    box=generator(seed, split, video, "box", frame),
  )


@functools.lru_cache(maxsize=4)
def _take(seed: int, split: str, video: int, annotated: bool, varied: bool) -> Take:
  """Draws a video at random; its next frame needs it again. Arguments as in `render_frame`."""
  key = generator(seed, split, video, "take")
  height, width = (2 * int(v) for v in key.integers(104, 129, 2))
  light = sample_light(key)
  person = _awake(sample_person(key, light, varied=varied))

  # With its motion the head stays within the angles of photographs.
  turned = np.radians(np.clip(key.normal(0, (16, 6, 6)), (-32, -15, -15), (32, 15, 15)))
  body = turned * (0.45, 0.15, 0.25) + (key.normal(0, 0.12), 0.0, 0.0)
  camera = Camera(
    head=rotation(*turned), body=rotation(*body), distance=sample_distance(key, varied=varied)
  )

  # The face fills somewhat less of the image than in a photograph: it has room to move.
  extent = key.uniform(0.40, 0.52) * min(height, width)
  room = (np.array([width, height]) - extent) / 2
  centre = np.array([width - 1, height - 1]) / 2 + key.uniform(-0.3, 0.3, 2) * room
  points, _ = landmark_points(head_model().vertices(person.shape), person.curves, camera)
  return Take(
    height=height,
    width=width,
    light=light,
    person=person,
    turned=turned,
    body=body,
    camera=camera.framed(camera.project(camera.place(points)), centre, extent),
    motion=sample_motion(key),
    centre=centre,
    extent=extent,
    annotated=annotated,
  )


def _awake(person: Person) -> Person:
  """The same person with open eyes and a mouth that is not open wide: a video has its own."""
  left, right = (max(lid, 0.7) for lid in person.curves.upper_lid)
  shape = person.shape | {"jaw_open": min(person.shape["jaw_open"], 0.2)}
  return replace(person, shape=shape, curves=replace(person.curves, upper_lid=(left, right)))


def _moved(take: Take, frame: int) -> tuple[Person, np.ndarray, Camera]:
  """The person, the vertices (R, C, 3) of the head, model frame, and the camera in a frame."""
  seconds = frame / FRAMES_PER_SECOND
  person = moved(take.person, take.motion, seconds)

  turn = np.array([wave.at(seconds) for wave in take.motion.turn])
  shift = take.extent * np.array([wave.at(seconds) for wave in take.motion.shift])
  offset = np.asarray(take.camera.offset) + shift
  camera = replace(
    take.camera,
    head=rotation(*(take.turned + turn)),
    body=rotation(*(take.body + _SHOULDERS_FOLLOW * turn)),
    scale=take.camera.scale * float(np.exp(take.motion.zoom.at(seconds))),
    offset=(float(offset[0]), float(offset[1])),
  )
  return person, head_model().vertices(person.shape), camera


def _calm_contour(numbers: tuple[int, str, int, bool, bool], frame: int) -> np.ndarray:
  """The jaw line (33, 2) on the grid of the head, averaged over the frames around this one.

  Where a cheek only just faces the camera, a small turn moves its outline from one fold to another
  at once, by several pixels. Annotators who go through a video do not let points jump.
  """
  weights = np.hanning(2 * _CALM_FRAMES + 3)[1:-1]
  around = range(frame - _CALM_FRAMES, frame + _CALM_FRAMES + 1)
  contours = np.stack([_contour(numbers, n) for n in around])
  return (weights[:, None, None] * contours).sum(0) / weights.sum()


@functools.lru_cache(maxsize=4 * _CALM_FRAMES)
def _contour(numbers: tuple[int, str, int, bool, bool], frame: int) -> np.ndarray:
  """`jaw_contour` of a frame, which those around it need as well; `numbers` as for `_take`."""
  take = _take(*numbers)
  _, head, camera = _moved(take, frame)
  return jaw_contour(head, camera, annotated=take.annotated)
