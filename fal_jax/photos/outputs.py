"""What a prediction leaves in its folder, written as it comes, so that nothing grows in memory.

  predictions.csv   id,x0,y0,...,score0,...[,uncertainty0,...]: one line per face
  predictions.json  the same with boxes and covariances, how it was made, and what failed: one line
                    per image
  overlays/         each image with its faces drawn
  pts/              on demand, iBUG's .pts, one per face
  heatmaps/         on demand, pictures of the heatmaps of single landmarks

CSV and JSON are called `.unfinished` until they are complete. Results of an earlier call, which its
JSON lists, are removed first: nothing old is left to be taken for new. What is not an earlier
call's, or was corrected by hand since, is never replaced.
"""

import contextlib
import csv
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import numpy as np

from fal_jax.errors import InputError
from fal_jax.landmarks import Markup
from fal_jax.output import folders
from fal_jax.photos import overlay, pts
from fal_jax.photos.faces import Face, Result
from fal_jax.scoring import landmark_csv

CSV = "predictions.csv"
JSON = "predictions.json"
OVERLAYS = "overlays"
PTS = "pts"
HEATMAPS = "heatmaps"
UNFINISHED = ".unfinished"
_DIGEST = "csv_sha256"  # of the table beside it, on the last line of the JSON
_MAX_NAME = 200  # bytes of a part of a path; file systems allow 255, endings included


class Writer:
  """Writes results one after the other; `close` completes the files.

  Left as a context manager without that, after an exception, it removes what is unfinished.

  Attributes:
    num_images: images added.
    num_read: those of them that could be read.
    num_videos: videos added.
    num_faces: faces written.
    failed: id -> why there is no result.
    without_face: ids of images in which there is none.
    dropped: ids of images -> how many of their faces had too low a score.
  """

  def __init__(
    self,
    out: Path,
    *,
    markup: Markup,
    head: Mapping[str, Any],
    uncertainty: bool = False,
    write_pts: bool = False,
    draw: bool = True,
  ):
    """Removes an earlier call's results and opens the files.

    Args:
      out: the folder, created if missing.
      markup: of the landmarks.
      head: how they are made, for the JSON.
      uncertainty: whether faces have one.
      write_pts: whether .pts files are wanted.
      draw: whether overlays are wanted.

    Raises:
      InputError: nothing can be written there, or a table there is not an earlier call's.
    """
    self._out = out
    self._markup = markup
    self._write_pts = write_pts
    self._draw = draw
    self._taken: set[str] = set()
    self._num_lines = 0
    self._video: list[str] = []
    self.num_images = self.num_read = 0
    self.num_videos = 0
    self.num_faces = 0
    self.failed: dict[str, str] = {}
    self.without_face: list[str] = []
    self.dropped: dict[str, int] = {}

    folders.make_dir(out, flag="--out")
    with _one_sentence(out):
      remove_earlier(out)
      self._csv = (out / f"{CSV}{UNFINISHED}").open("w", newline="", encoding="utf-8")
      self._json = (out / f"{JSON}{UNFINISHED}").open("w", encoding="utf-8")
      self._table = csv.writer(self._csv)
      columns = landmark_csv.columns(markup.num, scores=True, uncertainty=uncertainty)
      self._table.writerow(columns)
      lines = [f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items()]
      self._json.writelines(["{\n", *lines, '"images": ['])

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    for file in (self._csv, self._json):
      with contextlib.suppress(OSError):  # a full disk fails here once more
        file.close()
      Path(file.name).unlink(missing_ok=True)

  def add(
    self, result: Result, *, pictures: Mapping[str, Callable[[Path], None]] | None = None
  ) -> None:
    """Writes what is known about one image.

    Args:
      result: of the image.
      pictures: name without ending -> what draws it as .png, and .svg beside it.

    Raises:
      InputError: it cannot be written.
    """
    image_id, image = result.frame.id, result.frame.image
    self.num_images += 1
    self.num_faces += len(result.faces)
    if result.failure:
      self.failed[image_id] = result.failure
      return
    self.num_read += 1
    if not (result.faces or result.dropped):
      self.without_face.append(image_id)
    if result.dropped:
      self.dropped[image_id] = len(result.dropped)

    drawing, points = [], []
    if self._draw and result.faces:
      drawing = [self._name(OVERLAYS, image_id.removesuffix(".jpg"), ".jpg")]
    if self._write_pts:
      stem = str(PurePosixPath(image_id).with_suffix(""))
      points = [
        self._name(PTS, f"{stem}#{number}" if number else stem, ".pts")
        for number in range(len(result.faces))
      ]

    pictures = pictures or {}
    more = [self._name(HEATMAPS, stem, ".png") for stem in pictures]
    vectors = [f"{name.removesuffix('.png')}.svg" for name in more]
    with _one_sentence(self._out):
      self._write(result, [*drawing, *more, *vectors], points)
      for name, draw in zip(more, pictures.values(), strict=True):
        draw(self._out / name)
      for name in drawing:
        assert image is not None
        self._save(name, overlay.jpeg(overlay.draw(image, result.faces, self._markup)))

  def begin_video(self, video_id: str) -> Path | None:
    """Chooses where the annotated video goes.

    Args:
      video_id: the video's id.

    Returns:
      The file that `add_frame` says is written beside the results; None if none is wanted.
    """
    self._video = []
    if not self._draw:
      return None
    stem = video_id.removesuffix(".mp4")
    self._video = [self._name(OVERLAYS, stem, ".mp4")]
    return self._out / self._video[0]

  def add_frame(self, result: Result) -> None:
    """Writes what is known about a frame of the video that was begun.

    Args:
      result: of the frame.

    Raises:
      InputError: it cannot be written.
    """
    self.num_faces += len(result.faces)
    points = [self._name(PTS, face.id, ".pts") for face in result.faces if self._write_pts]
    with _one_sentence(self._out):
      self._write(result, self._video, points)
    self._video = []  # once is enough for the next call to find it

  def end_video(self, video_id: str, *, failure: str, num_faces: int, num_dropped: int) -> None:
    """Remembers how a video has ended.

    Args:
      video_id: the video's id.
      failure: what was wrong with it; empty if nothing.
      num_faces: faces in all frames.
      num_dropped: faces in all frames whose score was too low.
    """
    self.num_videos += 1
    if failure:
      self.failed[video_id] = failure
    elif not num_faces + num_dropped:
      self.without_face.append(video_id)
    if num_dropped:
      self.dropped[video_id] = num_dropped

  def _write(self, result: Result, files: Sequence[str], points: Sequence[str]) -> None:
    """Writes the lines of an image or frame and its .pts files."""
    # First, so that the next call knows what to remove wherever this one is killed.
    self._json.write(",\n" if self._num_lines else "\n")
    self._json.write(json.dumps(_entry(result, [*files, *points])))
    self._json.flush()
    self._num_lines += 1

    for face in result.faces:
      row = landmark_csv.row(
        face.id, face.landmarks, scores=face.scores, uncertainty=face.uncertainty
      )
      self._table.writerow(row)
    for name, face in zip(points, result.faces, strict=False):
      self._save(name, pts.text(face.landmarks).encode())

  def close(self, *, complete: bool) -> None:
    """Completes the files.

    Args:
      complete: whether all images were added.

    Raises:
      InputError: they cannot be written.
    """
    with _one_sentence(self._out):
      self._csv.flush()
      tail = {
        "failed": self.failed,
        "without_face": self.without_face,
        "complete": complete,
        _DIGEST: _digest(Path(self._csv.name)),
      }
      lines = [f",\n{json.dumps(key)}: {json.dumps(value)}" for key, value in tail.items()]
      self._json.writelines(["\n]", *lines, "\n}\n"])
      for file, name in ((self._csv, CSV), (self._json, JSON)):
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(file.name, self._out / name)

  def _name(self, folder: str, stem: str, suffix: str) -> str:
    """A path in the results, with a number where another has it: a.jpg and a.png share a stem."""
    # No id leads out of the folder.
    parts = [_short(part) for part in PurePosixPath(stem).parts if part not in ("..", "/")]
    path = "/".join([folder, *parts])
    numbered = (f"{path}_{number}{suffix}" for number in itertools.count(2))
    name = next(
      name for name in itertools.chain([path + suffix], numbered) if name not in self._taken
    )
    self._taken.add(name)
    return name

  def _save(self, name: str, content: bytes) -> None:
    path = self._out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    folders.write_atomic(path, content)


def remove_earlier(out: Path) -> None:
  """Removes what an earlier call wrote, and nothing else.

  Args:
    out: the folder of its results.

  Raises:
    InputError: a table there is not as an earlier call wrote it; nothing is removed.
  """
  check_earlier(out)
  for ending in ("", UNFINISHED):
    listing = out / f"{JSON}{ending}"
    for name in _listed(listing):
      for suffix in ("", UNFINISHED, f"{UNFINISHED}.mp4"):
        (out / f"{name}{suffix}").unlink(missing_ok=True)
      with contextlib.suppress(OSError):  # not empty, or gone
        for folder in Path(name).parents[:-1]:
          (out / folder).rmdir()
    listing.unlink(missing_ok=True)
    (out / f"{CSV}{ending}").unlink(missing_ok=True)


def check_earlier(out: Path) -> None:
  """Raises InputError where a table or JSON is not an earlier call's, or no longer as it was.

  Args:
    out: the folder for results; it may not exist yet.
  """
  way_out = "move it away, or name another --out"
  listing = out / JSON
  if listing.is_file() and not _edges(listing)[0].startswith(b'{\n"fal_jax"'):
    raise InputError(f"{listing} was not written by --mode=predict: {way_out}.")

  table = out / CSV
  if not table.is_file():
    return
  # A call that was killed between the two has left the JSON unfinished in name alone.
  listings = [path for path in (listing, out / f"{JSON}{UNFINISHED}") if path.is_file()]
  written = _digest(table).encode()
  if not any(written in _edges(path)[1] for path in listings):
    change = "was changed after it was written" if listings else "is no earlier call's"
    raise InputError(f"{table} {change}, and would be replaced: {way_out}.")


def _edges(path: Path) -> tuple[bytes, bytes]:
  """The first and the last 200 bytes of a file: that of a long video is large."""
  with path.open("rb") as file:
    start = file.read(200)
    file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
    return start, file.read()


def _digest(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _short(part: str) -> str:
  """A part of a path, cut where an ending would make it too long for file systems."""
  encoded = part.encode()
  return part if len(encoded) <= _MAX_NAME else encoded[:_MAX_NAME].decode(errors="ignore")


def _listed(listing: Path) -> Iterator[str]:
  """Files that a JSON, complete or not, says were written beside it."""
  if not listing.is_file():
    return
  with listing.open(encoding="utf-8", errors="replace") as file:
    for line in file:
      if not line.startswith('{"id": '):
        continue
      try:
        names = json.loads(line.rstrip(",\n"))["files"]
      except (ValueError, KeyError, TypeError):
        continue  # half a line, or not ours
      for name in names:
        parts = PurePosixPath(name).parts
        if parts[0] in (OVERLAYS, PTS, HEATMAPS) and ".." not in parts:
          yield name


def _entry(result: Result, files: Sequence[str]) -> dict[str, Any]:
  """An image's line in the JSON; it begins with the id, which `_listed` relies on."""
  image = result.frame.image
  return {
    "id": result.frame.id,
    "path": str(result.frame.path),
    **({} if result.frame.seconds is None else {"seconds": round(result.frame.seconds, 6)}),
    "size": None if image is None else [image.shape[1], image.shape[0]],
    "box_source": result.box_source,
    "files": list(files),
    "faces": [_face(face) for face in result.faces],
    "dropped": [_face(face) for face in result.dropped],
  }


def _face(face: Face) -> dict[str, Any]:
  """A face in the JSON, to a thousandth of a pixel and of a score."""
  return {
    "id": face.id,
    **({} if face.track is None else {"track": face.track}),
    "box": _rounded(face.box),
    "box_score": None if face.box_score is None else round(face.box_score, 4),
    "quarter_turns": face.quarter_turns,
    "score": round(face.score, 4),
    "landmarks": _rounded(face.landmarks),
    "scores": _rounded(face.scores, 4),
    "uncertainty": None if face.uncertainty is None else _rounded(face.uncertainty),
    "covariance": _rounded(face.covariance, 4),
  }


def _rounded(array: np.ndarray, decimals: int = 3) -> list[Any]:
  return np.round(np.asarray(array, np.float64), decimals).tolist()


@contextlib.contextmanager
def _one_sentence(out: Path) -> Iterator[None]:
  """Turns what a full or read-only disk raises into an InputError."""
  try:
    yield
  except OSError as error:
    raise folders.unwritable(out, error.strerror or str(error), flag="--out") from error
