"""--mode=predict on videos: a face that moves by known amounts, and what is written about it.

The network is `free-68`. Frames hold a photograph that is moved by whole pixels, so what the
landmarks should do is known exactly.
"""

import contextlib
import csv
import io
import json
import os
import types

import cv2
import numpy as np
import pytest
import videos

from fal_jax import detect
from fal_jax.landmarks import MARKUPS, tight_boxes
from fal_jax.photos import network, tracks, video, video_run
from fal_jax.photos import run as photos
from fal_jax.photos.options import Options
from fal_jax.photos.smoothing import smooth
from fal_jax.predict import FaceAligner

BOX = np.array([70.0, 66, 140, 133])  # of the face in the portrait
SIZE = float(np.sqrt(np.prod(BOX[2:] - BOX[:2])))
COUNT = 12  # frames: the detector looks at two


@pytest.fixture(scope="module")
def aligner():
  return FaceAligner.from_pretrained("free-68")


@pytest.fixture(scope="module")
def portrait():
  pytest.importorskip("matplotlib")
  return videos.portrait()


@pytest.fixture(scope="module")
def clip(portrait, tmp_path_factory):
  frames = videos.moving(portrait, videos.shifts(COUNT))
  return videos.write(tmp_path_factory.mktemp("clip") / "clip.avi", frames)


@pytest.fixture(scope="module")
def loaded(aligner):
  """The network is loaded once, and the detector is one that knows where the grey ends."""

  def find(image, **_):
    columns = np.flatnonzero((np.abs(image.astype(int) - 128) > 40).any((0, 2)))
    boxes = [BOX + np.tile([x, 0], 2) for x in columns[:1]]
    count = len(boxes)
    boxes = np.reshape(boxes, (-1, 4))
    return detect.FoundFaces(boxes, np.ones(count), np.zeros(count, int), "made-up")

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(network, "load", lambda options: aligner)
    patch.setattr(detect, "load_detector", lambda name: types.SimpleNamespace(find=find))
    yield


@pytest.fixture(scope="module")
def followed(loaded, clip):
  """Where the results of the clip are, and what was printed."""
  out, printed = clip.parent / "predictions", io.StringIO()
  with contextlib.redirect_stdout(printed):
    photos.run(Options((str(clip),), out=out), command="test")
  return out, printed.getvalue()


@pytest.fixture
def predict(run_main, loaded, monkeypatch, tmp_path):
  """Runs the mode in an empty folder."""
  monkeypatch.chdir(tmp_path)

  def run(*images, **flags):
    return run_main(mode="predict", images=list(map(str, images)), **flags)

  return run


def read_csv(out="predictions"):
  """id -> landmarks (K, 2), in order."""
  with open(f"{out}/predictions.csv", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  num = MARKUPS[68].num
  return {
    row["id"]: np.array([[row[f"x{k}"], row[f"y{k}"]] for k in range(num)], float) for row in rows
  }


def read_json(out="predictions"):
  with open(f"{out}/predictions.json", encoding="utf-8") as file:
    return json.load(file)


@pytest.mark.slow
def test_landmarks_move_as_the_face_does_and_ids_name_frame_and_face(followed):
  out, printed = followed

  points = read_csv(out)
  assert list(points) == [f"clip.avi@{number:06d}#1" for number in range(1, COUNT + 1)]
  moved = np.array(list(points.values())) - videos.shifts(COUNT)[:, None]
  off = np.linalg.norm(moved - moved.mean(0), axis=-1)
  assert off.mean() < 0.02 * SIZE
  assert f"clip.avi: {COUNT} frames, 1 face, detector run on 2" in printed
  assert f"Wrote {COUNT} faces of 1 video" in printed


@pytest.mark.slow
def test_the_json_has_the_time_of_each_frame_and_the_number_of_each_face(followed):
  result = read_json(followed[0])

  assert result["complete"] and not result["failed"]
  images = result["images"]
  assert [image["seconds"] for image in images] == [n / videos.RATE for n in range(COUNT)]
  assert all(face["track"] == 1 for image in images for face in image["faces"])
  assert [image["files"] for image in images] == [["overlays/clip.avi.mp4"]] + [[]] * (COUNT - 1)


def test_the_drawn_video_shows_the_landmarks_on_its_frames(followed, clip):
  out, _ = followed

  drawn, plain = videos.read(out / "overlays" / "clip.avi.mp4"), videos.read(clip)
  points = list(read_csv(out).values())
  assert len(drawn) == len(plain) == COUNT and drawn[0].shape == plain[0].shape
  for number in (0, COUNT - 1):
    change = np.abs(drawn[number].astype(int) - plain[number]).max(-1)
    mask = np.zeros(change.shape, np.uint8)
    x0, y0, x1, y1 = tight_boxes(points[number][None])[0].astype(int)
    mask[y0 - 25 : y1 + 10, x0 - 10 : x1 + 10] = 1
    assert change[mask == 1].mean() > 20
    assert change[mask == 0].mean() < 5


def test_smoothing_filters_the_landmarks_in_the_time_of_the_video(predict, clip):
  short = videos.write(clip.parent / "four.avi", videos.read(clip)[:4])
  predict(short)
  plain = list(read_csv().values())
  predict(short, smooth=True)

  state = None
  for number, filtered in enumerate(read_csv().values()):
    (box,) = tight_boxes(plain[number][None])
    size = float(np.sqrt(np.prod(box[2:] - box[:2])))
    state = smooth(plain[number], state, seconds=number / videos.RATE, size=size)
    np.testing.assert_allclose(filtered, state.points, atol=2e-3)  # thousandths are written
  assert np.abs(filtered - plain[-1]).max() > 0.1


def test_of_a_truncated_video_what_is_there_is_written_and_the_photographs_too(
  predict, clip, portrait, tmp_path
):
  content = clip.read_bytes()
  os.mkdir("in")
  with open("in/broken.avi", "wb") as file:
    file.write(content[: (content.find(b"movi") + content.find(b"idx1")) // 2])
  cv2.imwrite("in/photo.png", cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
  with open("in/empty.mp4", "wb"):
    pass

  code, printed, said = predict("in", box=[",".join(map(str, BOX))])

  assert code == 2
  frames = [name for name in read_csv() if name.startswith("broken.avi@")]
  assert 2 < len(frames) < 10
  assert "photo.png" in read_csv()
  assert f"ends after frame {len(frames)} of the {COUNT}" in said + printed
  assert set(read_json()["failed"]) == {"broken.avi", "empty.mp4"}
  assert len(videos.read("predictions/overlays/broken.avi.mp4")) == len(frames)


def test_a_video_without_a_face_is_named_once(predict, tmp_path):
  path = videos.write(tmp_path / "grey.avi", [np.full((60, 80, 3), 128, np.uint8)] * 5)

  code, _, said = predict(path)

  assert code == 2 and "No face was found" in said
  assert read_json()["without_face"] == ["grey.avi"]
  assert len(read_json()["images"]) == 5


def test_a_camera_runs_until_ctrl_c_and_its_results_are_complete(predict, portrait, monkeypatch):
  """The frames of a camera without an end; the signal comes at the fourth."""

  def endless():
    for number, frame in enumerate(videos.moving(portrait, videos.shifts(1000))):
      if number == 3:
        os.kill(os.getpid(), 2)
      yield frame

  camera = videos.Camera(endless())
  ticks = iter(np.arange(0, 100, 0.1))
  monkeypatch.setattr(
    video_run,
    "open_video",
    lambda item: video.Video(item, camera, live=True, clock=lambda: next(ticks)),
  )

  code, _, _ = predict("camera:0")

  assert code == 0
  assert list(read_csv()) == [f"camera:0@{number:06d}#1" for number in range(1, 5)]
  assert read_json()["complete"] and camera.released
  assert len(videos.read("predictions/overlays/camera:0.mp4")) == 13  # 0.4 s at 30 frames/s


def test_an_interrupted_video_is_not_taken_for_a_complete_one(predict, clip, monkeypatch):
  call = tracks.Tracker.__call__

  def interrupted(self, frame):
    if frame.id.endswith("@000003"):
      os.kill(os.getpid(), 2)
    return call(self, frame)

  monkeypatch.setattr(tracks.Tracker, "__call__", interrupted)

  code, _, said = predict(clip)

  assert code == 75 and "Interrupted" in said
  assert len(read_csv()) == 3 and not read_json()["complete"]
  assert len(videos.read("predictions/overlays/clip.avi.mp4")) == 3


def test_a_video_that_was_killed_half_written_is_removed_by_the_next_call(predict, clip):
  short = videos.write(clip.parent / "killed.avi", videos.read(clip)[:1])
  predict(short)
  os.rename("predictions/predictions.json", "predictions/predictions.json.unfinished")
  drawn = "predictions/overlays/killed.avi.mp4"
  os.rename(drawn, f"{drawn}.unfinished.mp4")

  predict(short, overlays=False)

  assert not os.path.exists("predictions/overlays")


@pytest.mark.slow
def test_a_file_of_boxes_names_the_video_and_each_frame_has_them(predict, clip):
  short = videos.write(clip.parent / "boxes.avi", videos.read(clip)[:2])
  with open("boxes.json", "w", encoding="utf-8") as file:
    json.dump({"boxes.avi": [BOX.tolist(), (BOX + 5).tolist()]}, file)

  code, _, said = predict(short, boxes="boxes.json")

  assert code == 0, said
  ids = [f"boxes.avi@{frame:06d}#{face}" for frame in (1, 2) for face in (1, 2)]
  assert list(read_csv()) == ids
  boxes = [[face["box"] for face in image["faces"]] for image in read_json()["images"]]
  assert boxes == [[BOX.tolist(), (BOX + 5).tolist()]] * 2


def test_without_overlays_no_video_is_drawn_and_pts_are_named_by_frame_and_face(predict, clip):
  short = videos.write(clip.parent / "short.avi", videos.read(clip)[:2])

  predict(short, overlays=False, pts=True)

  assert not os.path.exists("predictions/overlays")
  assert sorted(os.listdir("predictions/pts")) == [
    "short.avi@000001#1.pts",
    "short.avi@000002#1.pts",
  ]
