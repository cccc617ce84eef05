"""What following a face gains over finding it in each frame; -s prints the figures."""

from pathlib import Path

import numpy as np
import pytest
import videos

from fal_jax import detect
from fal_jax.errors import InputError
from fal_jax.photos import faces
from fal_jax.photos.boxes import Boxes
from fal_jax.photos.sources import Frame
from fal_jax.photos.tracks import Tracker
from fal_jax.predict import FaceAligner
from fal_jax.scoring import jitter

COUNT = 40  # frames
NOISE = 4.0  # grey levels, of a camera's sensor
SIZE = 70.0  # px, of the face


@pytest.fixture(scope="module")
def aligner():
  return FaceAligner.from_pretrained("free-68")


@pytest.fixture(scope="module")
def detector():
  pytest.importorskip("matplotlib")
  try:
    return detect.load_detector("mtcnn")
  except InputError as error:
    pytest.skip(str(error))


def run(tracker, by):
  """Landmarks (T, K, 2) of the moved portrait."""
  rng = np.random.default_rng(0)
  points = []
  for number, frame in enumerate(videos.moving(videos.portrait(), by)):
    noisy = np.clip(frame + rng.normal(0, NOISE, frame.shape), 0, 255).astype(np.uint8)
    result = tracker(Frame(f"v@{number}", Path("v"), noisy, seconds=number / videos.RATE))
    assert [face.track for face in result.faces] == [1]
    points.append(result.faces[0].landmarks)
  return np.array(points)


@pytest.mark.heavy
@pytest.mark.parametrize("speed", [0.0, 1.0, 4.0])
def test_following_a_face_is_as_steady_as_finding_it_in_each_frame(aligner, detector, speed):
  def find(frame):
    found = detector.find(frame.image)
    return Boxes(found.boxes[:1], found.detector, scores=found.scores[:1])

  def align(image, boxes):
    return faces.split("v", boxes, aligner(image, boxes.boxes), range(len(boxes.boxes)))

  by = videos.shifts(COUNT, speed=speed)
  by[COUNT // 2 :] = 2 * by[COUNT // 2] - by[COUNT // 2 :]  # there and back, within the frame
  steps = {}
  for name, options in (
    ("found in each frame", {"follow": False}),
    ("followed", {}),
    ("followed, --smooth", {"smooth": True}),
  ):
    tracker = Tracker(find, align, **options)
    points = run(tracker, by)
    true = np.broadcast_to(by[:, None], points.shape)
    norm = np.full(COUNT, SIZE)
    measured = jitter.jitter(points, true, norm, videos=["v"] * COUNT, frames=np.arange(COUNT))
    steps[name] = measured["mean"]
    print(
      f"{speed * videos.RATE / SIZE:.2f} face sizes/s, {name}: jitter {steps[name]:.2f} %, "
      f"detector run on {tracker.searches} of {COUNT} frames"
    )

  # At rest the detector says the same in each frame, while a followed box moves with the landmarks.
  assert steps["followed"] < (1 if speed else 1.2) * steps["found in each frame"]
  if not speed:
    assert steps["followed, --smooth"] < 0.5 * steps["found in each frame"]
