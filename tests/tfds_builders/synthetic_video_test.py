"""Rendered videos: a truth that moves smoothly, still backgrounds, new noise, 300VW's records."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import prepared
import pytest
import tensorflow_datasets as tfds

from fal_jax import metrics
from fal_jax.crop import CropRule
from fal_jax.scoring import annotations, jitter
from tfds_builders import prepare
from tfds_builders.synthetic_faces import motion, video
from tfds_builders.synthetic_faces.landmark_curves import FaceCurves
from tfds_builders.synthetic_faces.landmark_points import landmark_points
from tfds_builders.synthetic_faces.render import RenderedFace
from tfds_builders.synthetic_faces.synthetic_faces_dataset_builder import Builder

CONFIGS = {config.name: config for config in Builder.BUILDER_CONFIGS}
CONFIG = CONFIGS["video"]
OPTIONS = {"annotated": CONFIG.annotated, "varied": CONFIG.varied}


@pytest.fixture(scope="module")
def frames() -> list[RenderedFace]:
  """The first two frames of video 1 and the last."""
  return [video.render_frame(CONFIG.seed, "test", 1, n, **OPTIONS) for n in (0, 1, 39)]


def smoothness(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Lengths of first (T - 1, K) and second differences (T - 2, K) of (T, K, 2) px."""
  speed, change = (np.linalg.norm(np.diff(points, n, axis=0), axis=-1) for n in (1, 2))
  return speed, change


def test_landmarks_move_by_few_pixels_and_hardly_change_their_speed():
  # A fast one; half-way through, the eyes blink.
  scenes = [video.frame_scene(CONFIG.seed, "test", 15, n, **OPTIONS) for n in range(8, 24)]
  points = np.stack([s.camera.project(s.camera.place(s.points_68)) for s in scenes])
  speed, change = smoothness(points)

  assert 0.2 < speed.mean() < 2 and speed.max() < 4
  assert change.mean() < 0.3 and change.max() < 2
  lids = [37, 38, 43, 44]
  assert change[:, lids].max() > 0.8 > np.delete(change, lids, axis=1).max()
  for scene, frame in zip(scenes, points, strict=True):
    assert ((frame > 0) & (frame < [scene.width - 1, scene.height - 1])).all()


def test_the_jaw_line_does_not_jump_where_its_outline_does():
  calm, jumping = [], []
  for n in range(5):
    scene = video.frame_scene(CONFIG.seed, "test", 1, n, **OPTIONS)
    alone = landmark_points(scene.head, scene.person.curves, scene.camera, annotated=True)[0]
    for points, row in ((scene.points_68, calm), (alone, jumping)):
      row.append(scene.camera.project(scene.camera.place(points[:17])))

  assert smoothness(np.stack(jumping))[1].max() > 5
  assert smoothness(np.stack(calm))[1].max() < 0.5


def test_a_frame_depends_on_its_numbers_and_on_nothing_else(frames: list[RenderedFace]):
  video._take.cache_clear()
  video._contour.cache_clear()
  again = video.render_frame(CONFIG.seed, "test", 1, 0, **OPTIONS)

  np.testing.assert_array_equal(again.image, frames[0].image)
  np.testing.assert_array_equal(again.landmarks_68, frames[0].landmarks_68)
  np.testing.assert_array_equal(again.box, frames[0].box)
  others = [
    video.frame_scene(*numbers, **OPTIONS)
    for numbers in ((1, "test", 1, 0), (0, "train", 1, 0), (0, "test", 2, 0))
  ]
  assert len({scene.person.look.skin.tobytes() for scene in others} | {_skin(again)}) == 4


def _skin(face: RenderedFace) -> bytes:
  return face.person.look.skin.tobytes()


def test_person_and_background_stay_and_the_noise_is_new(frames: list[RenderedFace]):
  first, second, last = frames
  assert _skin(first) == _skin(last) and first.person.hair == last.person.hair
  assert first.image.shape == last.image.shape

  # Beside the head, at the left border: the same but for noise, which goes when averaged.
  for other in (second, last):
    change = (other.image.astype(float) - first.image)[:80, :16]
    assert np.abs(change).mean() > 0.5
    assert np.abs(cv2.blur(change, (16, 16))[8:-8, 8]).max() < 2

  # The head is not where it was.
  x0, y0, x1, y1 = (round(v) for v in first.box)
  moved = cv2.blur((last.image.astype(float) - first.image)[y0:y1, x0:x1], (16, 16))
  assert np.abs(moved).max() > 10
  assert np.abs(first.box - last.box).max() > 1


def test_a_blink_shuts_the_eyes_and_speech_parts_the_lips():
  person = video._take(CONFIG.seed, "test", 0, **OPTIONS).person
  quiet = dataclasses.replace(person, curves=FaceCurves(), shape=person.shape | {"jaw_open": 0.0})
  movement = motion.sample_motion(np.random.default_rng(0))
  always = motion.Wave(np.array([1.0]), np.array([0.0]), np.array([np.pi / 2]))
  blinking = dataclasses.replace(movement, blink=0.5, jaw=0.1, speech=always)

  shut, open_again = (motion.moved(quiet, blinking, at) for at in (0.5, 0.8))
  assert not shut.curves.eye_is_open(0) and not shut.curves.eye_is_open(1)
  assert open_again.curves.eye_is_open(0) and open_again.curves.eye_is_open(1)
  assert shut.shape["jaw_open"] == pytest.approx(0.1) and shut.curves.parting > 0.9

  mute = motion.moved(quiet, dataclasses.replace(blinking, jaw=0.0), 0.5)
  assert mute.shape["jaw_open"] == 0 and mute.curves.parting == 0


def test_prepare_writes_videos_as_300vw_has_them(capfd, monkeypatch, tmp_path: Path):
  few = dataclasses.replace(CONFIG, num_test=6, num_frames=3, num_processes=1)
  # TFDS keeps the configs by name, once asked for: those first, or the few would be kept.
  monkeypatch.setattr(Builder, "builder_configs", {few.name: few})
  monkeypatch.setattr(Builder, "BUILDER_CONFIGS", [few])

  assert prepare.main(["synthetic_faces/video", f"--data_dir={tmp_path}"]) == 0

  out = capfd.readouterr().out
  assert ["test", "6", "-"] in prepared.table(out)
  assert "--mode=eval --config.eval.name=synthetic_faces/video" in out
  info, splits = prepared.read(tmp_path, "synthetic_faces/video")
  assert list(splits) == ["test"]
  assert isinstance(info.features["video"], tfds.features.Text)
  assert info.features["frame"].np_dtype == np.int32
  rows = splits["test"]
  assert [(row["video"].decode(), int(row["frame"])) for row in rows] == [
    (name, number) for name in ("000", "001") for number in (1, 2, 3)
  ]
  assert rows[4]["file_name"].decode() == "test/001/000002.jpg"
  expected = video.render_frame_encoded(CONFIG.seed, "test", 68, 3, 4, **OPTIONS)
  assert rows[4]["image"] == expected["image"]

  # Truth has no jitter, and noise that of its size.
  faces = annotations.read_split(
    "synthetic_faces/video", "test", data_dir=str(tmp_path), num_landmarks=68, rule=CropRule()
  )
  videos, numbers = faces.videos, faces.frames
  assert videos is not None and numbers is not None
  noise = np.random.default_rng(0).normal(0, 0.5, faces.landmarks.shape)
  norm = metrics.norms(faces.landmarks, 68)["box"]

  def measured(by: np.ndarray | float) -> float:
    points = faces.landmarks + by
    result = jitter.jitter(points, faces.landmarks, norm, videos=videos, frames=numbers)
    return float(result["mean"])

  assert measured(0.0) == 0
  assert measured(noise) == pytest.approx(100 * 0.5 * np.sqrt(np.pi) / norm.mean(), rel=0.15)


def test_only_videos_have_the_features_of_videos(tmp_path: Path):
  for name in CONFIGS:
    features = Builder(data_dir=tmp_path, config=name).info.features
    assert ({"video", "frame"} <= set(features)) == (name == "video")
  assert CONFIG.num_train == 0 and CONFIG.num_test % CONFIG.num_frames == 0
