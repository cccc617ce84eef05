"""Videos and cameras as frames with their times, and drawn videos, read back by OpenCV alone."""

import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import videos

from fal_jax.errors import InputError
from fal_jax.photos.sources import Item
from fal_jax.photos.video import AnnotatedVideo, Video, open_video

HEIGHT, WIDTH = 48, 64


def pictures(count, size=(HEIGHT, WIDTH)):
  """Grey frames that say by their brightness which they are."""
  return [np.full((*size, 3), 20 + 10 * number, np.uint8) for number in range(count)]


def number_of(image):
  return round((float(image.mean()) - 20) / 10)


def frames_of(path):
  """What is read, and what is wrong."""
  with open_video(Item("clip", path)) as opened:
    return list(opened.frames()), opened


@pytest.fixture
def clip(tmp_path):
  return videos.write(tmp_path / "clip.avi", pictures(20))


def test_each_frame_comes_once_in_order_with_its_time(clip):
  frames, opened = frames_of(clip)

  assert [number_of(frame.image) for frame in frames] == list(range(20))
  assert [frame.id for frame in frames][::19] == ["clip@000001", "clip@000020"]
  np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(20) / videos.RATE)
  assert (opened.rate, opened.total, opened.frames_read) == (25.0, 20, 20)
  assert not opened.failure and not opened.live


def test_frames_are_rgb(tmp_path):
  red = np.zeros((HEIGHT, WIDTH, 3), np.uint8) + np.array([250, 10, 20], np.uint8)
  path = videos.write(tmp_path / "red.avi", [red] * 2)

  np.testing.assert_allclose(frames_of(path)[0][0].image, red, atol=6)


def test_a_video_of_variable_rate_has_its_own_times(tmp_path):
  """As telephones make them; the ticks of this file are 1/12800 s."""
  path = videos.write(tmp_path / "clip.mp4", pictures(6), codec="mp4v")
  ticks = [256, 1024, 256, 512, 768, 256]  # together as long as before
  videos.set_durations(path, ticks)

  frames, opened = frames_of(path)

  expected = np.cumsum([0, *ticks[:-1]]) / 12800
  np.testing.assert_allclose([frame.seconds for frame in frames], expected, atol=1e-6)
  assert not opened.failure


def test_a_video_that_was_stored_on_its_side_comes_upright(tmp_path):
  half = pictures(1)[0] * 0
  half[: HEIGHT // 2] = 200  # bright above
  path = videos.write(tmp_path / "clip.mp4", [half] * 3, codec="mp4v")
  videos.turn(path)

  image = frames_of(path)[0][0].image

  assert image.shape == (WIDTH, HEIGHT, 3)
  assert image[:, HEIGHT // 2 + 4 :].mean() > 180 and image[:, : HEIGHT // 2 - 4].mean() < 20


def test_of_a_truncated_video_the_frames_that_are_left_come_and_it_is_said(clip):
  content = clip.read_bytes()
  clip.write_bytes(content[: (content.find(b"movi") + content.find(b"idx1")) // 2])

  frames, opened = frames_of(clip)

  assert 5 < len(frames) < 15
  assert [number_of(frame.image) for frame in frames] == list(range(len(frames)))
  assert f"ends after frame {len(frames)} of the 20 that it announces" in opened.failure


@pytest.mark.parametrize(
  ("content", "said"),
  [
    (None, "no such file"),
    (b"", "the file is empty"),
    (b"<html>Please log in</html>" * 50, "not a video that can be decoded"),
  ],
)
def test_what_is_not_a_video_is_refused_in_one_sentence(tmp_path, capfd, content, said):
  path = tmp_path / "clip.mp4"
  if content is not None:
    path.write_bytes(content)

  with pytest.raises(InputError, match=said):
    open_video(Item("clip", path))
  assert "WARN" not in "".join(capfd.readouterr())


def test_a_video_without_frames_is_not_mistaken_for_a_good_one(clip):
  content = clip.read_bytes()
  clip.write_bytes(content[: content.find(b"movi") + 4])
  try:
    frames, opened = frames_of(clip)
  except InputError as error:
    assert "not a video that can be decoded" in str(error)
  else:
    assert not frames and "no frame can be decoded" in opened.failure


def test_files_that_know_no_times_get_those_of_their_rate(monkeypatch, clip):
  monkeypatch.setattr(Video, "_position", lambda self: 0.0)

  frames, _ = frames_of(clip)

  np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(20) / videos.RATE)


def test_only_one_frame_is_in_memory(clip):
  with open_video(Item("clip", clip)) as opened:
    alive = []
    for frame in opened.frames():
      alive.append(weakref.ref(frame.image))
      assert sum(reference() is not None for reference in alive) <= 2


def test_a_camera_has_the_times_of_the_clock_and_stops_when_it_is_unplugged():
  ticks = iter([100.0, 100.5, 101.5, 101.5])
  camera = videos.Camera(pictures(3))
  item = Item("camera:0", Path("camera:0"))

  with Video(item, camera, live=True, clock=lambda: next(ticks)) as opened:
    frames = list(opened.frames())

  assert [number_of(frame.image) for frame in frames] == [0, 1, 2]
  assert frames[0].id == "camera:0@000001"
  times = [frame.seconds for frame in frames]
  assert times[:2] == [0.5, 1.5] and times[2] > 1.5
  assert opened.total is None and camera.released
  assert "the camera has stopped after frame 3" in opened.failure


def test_a_camera_that_is_not_there_is_said_in_one_sentence(capfd):
  with pytest.raises(InputError, match="camera:77: there is no such camera"):
    open_video(Item("camera:77", Path("camera:77")))
  assert "WARN" not in "".join(capfd.readouterr())


def test_a_drawn_video_has_the_frames_the_size_and_the_rate_of_its_source(tmp_path):
  path = tmp_path / "drawn" / "clip.mp4"

  with AnnotatedVideo(path, rate=12.5) as drawn:
    for number, picture in enumerate(pictures(10)):
      drawn.write(picture, seconds=number / 12.5)
    assert not path.exists()  # not before it is complete

  frames = videos.read(path)
  assert [number_of(frame) for frame in frames] == list(range(10))
  assert frames[0].shape == (HEIGHT, WIDTH, 3)
  assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == 12.5
  assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


def test_a_drawn_video_loses_the_last_row_and_column_of_odd_sizes_and_no_more(tmp_path):
  with AnnotatedVideo(tmp_path / "odd.mp4", rate=25) as drawn:
    for picture in pictures(3, (HEIGHT + 1, WIDTH + 1)):
      drawn.write(picture, seconds=0.0)

  assert videos.read(tmp_path / "odd.mp4")[2].shape == (HEIGHT, WIDTH, 3)


def test_the_drawn_video_of_a_camera_is_as_long_as_it_took(tmp_path):
  """Four frames in a second and a half, the last of two that came at once left out."""
  with AnnotatedVideo(tmp_path / "live.mp4", rate=10, live=True) as drawn:
    for picture, seconds in zip(pictures(4), (0.0, 0.5, 1.5, 1.55), strict=True):
      drawn.write(picture, seconds=seconds)

  shown = [number_of(frame) for frame in videos.read(tmp_path / "live.mp4")]
  assert shown == [0] + [1] * 5 + [2] * 10


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(InputError, match="--out"),
    AnnotatedVideo(tmp_path / "file" / "clip.mp4", rate=25) as drawn,
  ):
    drawn.write(pictures(1)[0], seconds=0.0)


def test_videos_and_cameras_are_told_by_their_names(tmp_path):
  kinds = [Item("", Path(name)).kind for name in ("a.MP4", "a.jpg", "camera:0", "a.gif")]
  assert kinds == ["video", "image", "camera", "image"]
