"""From files to landmarks, one image after the other."""

import threading
from collections.abc import Iterable, Sequence

import fal_jax
from fal_jax.errors import InputError, Interrupted, counted, join_names
from fal_jax.photos import boxes, faces, heatmaps, network, outputs, sources
from fal_jax.photos.boxes import FindBoxes
from fal_jax.photos.faces import Result
from fal_jax.photos.options import Options
from fal_jax.photos.outputs import Writer
from fal_jax.photos.progress import progress, say
from fal_jax.photos.sources import Found, Frame, Item
from fal_jax.predict import FaceAligner


def run(
  found: Found,
  options: Options,
  *,
  only: Frame | None,
  stop_requested: threading.Event,
  command: str,
) -> Writer:
  """Predicts all files and writes the results.

  Args:
    found: the files.
    options: what else, and how.
    only: the photograph, where there is one only and it has been read.
    stop_requested: set when the user wants no further image.
    command: the command line, for the JSON.

  Returns:
    The writer, closed, which knows what became of each file.

  Raises:
    InputError: nothing can be done at all.
  """
  outputs.check_earlier(options.out)  # before anything takes seconds
  find_boxes, notes = boxes.finder(options, found.items)
  for note in (*found.notes, *notes):
    print(note, flush=True)

  aligner = network.load(options)
  aligner.warm_up(faces=len(options.box) or 1)  # while the first image is read
  pictures = heatmaps.prepare(options.heatmaps, found.items, aligner, command=command)
  value_range = tuple(aligner.setup.config.data.value_range) or None
  head = {
    "fal_jax": fal_jax.__version__,
    "command": command,
    "network": network.describe(aligner),
    "coordinates": "pixels of the upright image; (0, 0) is the centre of the first one",
    "passed_over": found.passed_over,
  }
  with Writer(
    options.out,
    markup=aligner.setup.markup,
    head=head,
    uncertainty=options.views > 1,
    write_pts=options.pts,
    draw=options.overlays,
  ) as writer:
    for item in _with_progress(found.items):
      if item.kind == "image":
        if only is not None and value_range is None:
          frame = only
        else:
          (frame,) = sources.frames([item], value_range=value_range)
        result = predict_frame(frame, find_boxes, aligner, min_score=options.min_score)
        writer.add(result, pictures=pictures(result))
      else:
        from fal_jax.photos.video_run import predict_video  # its SciPy delays photographs

        predict_video(
          item,
          find_boxes,
          aligner,
          options=options,
          writer=writer,
          stop_requested=stop_requested,
        )
      if item.id in writer.failed and len(found.items) > 1:
        word = "Skipped" if item.kind == "image" else "Failed"  # of a video, some may be written
        say(f"{word}: {writer.failed[item.id]}")
      if stop_requested.is_set():
        break
    writer.close(complete=writer.num_images + writer.num_videos == len(found.items))
  return writer


def _with_progress(items: Sequence[Item]) -> Iterable[Item]:
  """The items; how far they are is shown here, unless videos show it frame by frame."""
  if len(items) == 1 or any(item.kind != "image" for item in items):
    return items
  return progress(items, unit="photos", total=len(items))


def predict_frame(
  frame: Frame, find_boxes: FindBoxes, aligner: FaceAligner, *, min_score: float
) -> Result:
  """`faces.predict`, with whatever goes wrong as the failure of this image alone."""
  try:
    return faces.predict(frame, find_boxes, aligner, min_score=min_score)
  except faces.FAILURES as error:
    return Result(frame, failure=f"{frame.path}: {faces.reason(error)}")


def summary(writer: Writer, options: Options) -> list[str]:
  """Lines that say what was found and where it is.

  Args:
    writer: after its last image.
    options: of the call.

  Returns:
    Lines, the last of which says where the faces are if there are any.
  """
  lines = []
  if names := writer.without_face:
    lines.append(f"No face in {counted(len(names), 'image')}: {join_names(names)}")
  if names := list(writer.dropped):
    dropped = counted(sum(writer.dropped.values()), "face")
    lines.append(
      f"Left out by --min_score={options.min_score:g}: {dropped}, in {join_names(names)}"
    )
  if writer.num_faces:
    counts = ((writer.num_read, "image"), (writer.num_videos, "video"))
    of = " and ".join(counted(number, thing) for number, thing in counts if number)
    drawn = f", drawings to {options.out / outputs.OVERLAYS}" if options.overlays else ""
    table = options.out / outputs.CSV
    lines.append(f"Wrote {counted(writer.num_faces, 'face')} of {of} to {table}{drawn}")
    if options.heatmaps:
      lines.append(f"Heatmaps: {options.out / outputs.HEATMAPS}")
  return lines


def check(writer: Writer, options: Options, items: Sequence[Item]) -> None:
  """Says by an exception, and with it by the exit code, what is not as it should be.

  Args:
    writer: after its last image.
    options: of the call.
    items: what should have been predicted.

  Raises:
    Interrupted: not all of it was.
    InputError: some of them could not be read, or no face was found.
  """
  finished = writer.num_images + writer.num_videos
  things = "images" if all(item.kind == "image" for item in items) else "images and videos"
  if finished < len(items):
    raise Interrupted(
      f"Interrupted after {finished} of {len(items)} {things}; what was predicted is in "
      f"{options.out}, and the same command starts with the first again."
    )
  if writer.failed:
    first = next(iter(writer.failed.values()))
    if len(items) == 1:
      raise InputError(first)
    more = len(writer.failed) - 1
    also = f" ({more} more: see above, or `failed` in {outputs.JSON})" if more else ""
    raise InputError(
      f"{len(writer.failed)} of {len(items)} {things} could not be used, the others are written: "
      f"{first}{also}"
    )
  if not writer.num_faces:
    if writer.dropped:
      raise InputError(f"No face is above --min_score={options.min_score:g}: lower it.")
    raise InputError(
      "No face was found: try --small_faces or --turned_faces, name its --box, or --whole_image "
      "for portraits cut from brows to chin."
    )
