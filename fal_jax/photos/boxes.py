"""Where the boxes come from: the command line, a file, a face detector, or the image itself."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from fal_jax.photos import box_file
from fal_jax.photos.options import Options
from fal_jax.photos.sources import Frame, Item


@dataclasses.dataclass(frozen=True)
class Boxes:
  """The faces of one image, in the order that their ids have.

  Attributes:
    boxes: (N, 4) float64 x0, y0, x1, y1, image px, pixel-centre.
    source: where they are from: "flag", "file", "image", or the detector's name.
    scores: (N,) certainty of a detector; None where nobody judged.
    quarter_turns: (N,) int, how often `np.rot90` must be applied to the image for the face to be
      upright; None where all are.
    ids: of the faces, N of them; None where they follow from the image's.
  """

  boxes: np.ndarray
  source: str
  scores: np.ndarray | None = None
  quarter_turns: np.ndarray | None = None
  ids: tuple[str, ...] | None = None


FindBoxes: TypeAlias = Callable[[Frame], Boxes]


def finder(options: Options, items: Sequence[Item]) -> tuple[FindBoxes, list[str]]:
  """What gives each image its boxes.

  Args:
    options: say which of the sources.
    items: the images, for a file's names to be matched with.

  Returns:
    A function from a frame with an image to its boxes, and lines that the user should read.

  Raises:
    InputError: the file cannot be understood, or there is no detector.
  """
  if options.box:
    boxes = np.array(options.box, np.float64)
    return lambda frame: Boxes(boxes, "flag"), []

  if options.boxes:
    rows = box_file.read(options.boxes)
    by_id, notes = box_file.match(rows, items, name=options.boxes)
    return lambda frame: _of_file(by_id.get(frame.id, [])), notes

  if options.whole_image:
    return _whole_image, []
  return _detected(options), []


def _of_file(rows: Sequence[box_file.Row]) -> Boxes:
  """The boxes that a file has for one image."""
  ids = tuple(row.id for row in rows)
  scores = [row.score for row in rows]
  return Boxes(
    np.array([row.box for row in rows], np.float64).reshape(-1, 4),
    "file",
    scores=None if None in scores else np.array(scores, np.float32),
    ids=ids if all(ids) else None,
  )


def _whole_image(frame: Frame) -> Boxes:
  """One face, as large as the image: suits portraits cut from brows to chin."""
  assert frame.image is not None
  height, width = frame.image.shape[:2]
  return Boxes(np.array([[-0.5, -0.5, width - 0.5, height - 0.5]]), "image")


def _detected(options: Options) -> FindBoxes:
  """A face detector, loaded once."""
  from fal_jax import detect

  detector = detect.load_detector(options.detector)

  def find(frame: Frame) -> Boxes:
    assert frame.image is not None
    found = detector.find(frame.image, small=options.small_faces, turned=options.turned_faces)
    return Boxes(found.boxes, found.detector, found.scores, found.quarter_turns)

  return find
