"""One video or camera: its frames in, a row for each face of each frame and a drawn video out."""

import contextlib
import dataclasses
import threading

import numpy as np

from fal_jax.errors import InputError, counted
from fal_jax.photos import faces, overlay
from fal_jax.photos.boxes import Boxes, FindBoxes
from fal_jax.photos.faces import Face
from fal_jax.photos.options import Options
from fal_jax.photos.outputs import Writer
from fal_jax.photos.progress import progress, say
from fal_jax.photos.sources import Frame, Item
from fal_jax.photos.tracks import Tracker
from fal_jax.photos.video import AnnotatedVideo, Video, open_video
from fal_jax.predict import FaceAligner


def predict_video(
  item: Item,
  find_boxes: FindBoxes,
  aligner: FaceAligner,
  *,
  options: Options,
  writer: Writer,
  stop_requested: threading.Event,
) -> None:
  """Predicts a video, and writes it as far as it can be read.

  Args:
    item: the file or camera.
    find_boxes: gives a frame its boxes.
    aligner: the network.
    options: of the call.
    writer: of the results. A video that is interrupted is not ended; a camera is.
    stop_requested: set when the user wants it to end.

  Raises:
    InputError: the results cannot be written.
  """
  try:
    video = open_video(item)
  except InputError as error:
    writer.end_video(item.id, failure=str(error), num_faces=0, num_dropped=0)
    return

  if video.live:
    say(f"{item.id}: press Ctrl-C to end; there is no window, look at {options.out} afterwards.")
  tracker = tracker_for(item, find_boxes, aligner, options)
  with video:
    failure, num_faces, num_dropped = _predict(
      item, video, tracker, options=options, writer=writer, aligner=aligner, stop=stop_requested
    )

  frames, people = counted(video.frames_read, "frame"), counted(tracker.started, "face")
  say(f"{item.id}: {frames}, {people}, detector run on {tracker.searches}")
  if video.live or failure or not stop_requested.is_set():
    writer.end_video(item.id, failure=failure, num_faces=num_faces, num_dropped=num_dropped)


def tracker_for(
  item: Item, find_boxes: FindBoxes, aligner: FaceAligner, options: Options
) -> Tracker:
  """What follows the faces of a video.

  Args:
    item: the video.
    find_boxes: gives a frame its boxes.
    aligner: the network.
    options: of the call.

  Returns:
    A tracker that follows landmarks, unless boxes are given, or the network was trained on other
    boxes than those.
  """
  given = bool(options.box or options.boxes or options.whole_image)

  def find(frame: Frame) -> Boxes:
    """A file of boxes has those of the video, not of its frames."""
    return find_boxes(dataclasses.replace(frame, id=item.id))

  def align(image: np.ndarray, boxes: Boxes) -> tuple[Face, ...]:
    aligned = faces.align(image, boxes, aligner)
    return faces.split(item.id, boxes, aligned, range(len(boxes.boxes)))

  return Tracker(
    find,
    align,
    follow=not given and aligner.setup.crop.box != "dataset",
    smooth=options.smooth,
    min_score=options.min_score,
  )


def _predict(
  item: Item,
  video: Video,
  tracker: Tracker,
  *,
  options: Options,
  writer: Writer,
  aligner: FaceAligner,
  stop: threading.Event,
) -> tuple[str, int, int]:
  """Writes all frames; returns what went wrong, and how many faces there were and were dropped."""
  num_faces = num_dropped = 0
  with contextlib.ExitStack() as stack:
    annotated = None
    if path := writer.begin_video(item.id):
      annotated = stack.enter_context(AnnotatedVideo(path, rate=video.rate, live=video.live))

    for frame in progress(video.frames(), unit="frames", total=video.total):
      try:
        result = tracker(frame)
      except faces.FAILURES as error:
        failure = f"{item.path}, frame {video.frames_read}: {faces.reason(error)}"
        return failure, num_faces, num_dropped

      writer.add_frame(result)
      num_faces += len(result.faces)
      num_dropped += len(result.dropped)
      if annotated is not None:
        assert frame.image is not None and frame.seconds is not None
        drawn = overlay.draw_at_size(frame.image, result.faces, aligner.setup.markup)
        annotated.write(drawn, seconds=frame.seconds)
      if stop.is_set():
        return "", num_faces, num_dropped
  return video.failure, num_faces, num_dropped
