"""The landmarks of one image's faces, in the frame of that image, however the faces are turned."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from fal_jax import affine, detect
from fal_jax.errors import InputError
from fal_jax.photos.boxes import Boxes, FindBoxes
from fal_jax.photos.sources import Frame
from fal_jax.predict import FaceAligner, FaceLandmarks

# What may go wrong with one image or frame, and costs that one alone.
FAILURES = (InputError, cv2.error, MemoryError)


@dataclasses.dataclass(frozen=True)
class Face:
  """One face.

  Attributes:
    id: the image's id, with "#1", "#2" ... for those after the first.
    box: (4,) float64 x0, y0, x1, y1, image px, that the landmarks were looked for in.
    box_score: the detector's certainty; None where there is none.
    quarter_turns: how often the image was turned counter-clockwise for it to be upright.
    landmarks: (K, 2) float64 image px, pixel-centre.
    scores: (K,) float32.
    covariance: (K, 2, 2) float64 image px squared; see `FaceLandmarks`.
    uncertainty: (K,) float64 image px; None with one view.
    track: its number in a video, from 1, the same from frame to frame; None in a photograph.
  """

  id: str
  box: np.ndarray
  box_score: float | None
  quarter_turns: int
  landmarks: np.ndarray
  scores: np.ndarray
  covariance: np.ndarray
  uncertainty: np.ndarray | None
  track: int | None = None

  @property
  def score(self) -> float:
    """The mean of the landmarks' scores."""
    return float(self.scores.mean())


@dataclasses.dataclass(frozen=True)
class Result:
  """All that there is to say about one image.

  Attributes:
    frame: the image.
    faces: in the order of their ids.
    dropped: faces whose score was too low; their ids are those of the order before.
    box_source: see `Boxes.source`.
    failure: why there is no result; a sentence.
  """

  frame: Frame
  faces: tuple[Face, ...] = ()
  dropped: tuple[Face, ...] = ()
  box_source: str = ""
  failure: str = ""


def predict(
  frame: Frame, find_boxes: FindBoxes, aligner: FaceAligner, *, min_score: float
) -> Result:
  """Finds the faces of an image, and their landmarks.

  Args:
    frame: the image.
    find_boxes: gives its boxes.
    aligner: the network.
    min_score: mean landmark score below which a face is dropped.

  Returns:
    The faces that are left, numbered anew, and the others.

  Raises:
    InputError: a box lies outside of the image.
  """
  if frame.image is None:
    return Result(frame, failure=frame.failure)

  boxes = find_boxes(frame)
  _check_inside(boxes.boxes, frame.image)
  aligned = align(frame.image, boxes, aligner)
  keep = [row for row, scores in enumerate(aligned.scores) if scores.mean() >= min_score]
  drop = sorted(set(range(len(boxes.boxes))) - set(keep))
  return Result(
    frame,
    split(frame.id, boxes, aligned, keep),
    split(frame.id, boxes, aligned, drop),
    boxes.source,
  )


def reason(error: BaseException) -> str:
  """What one of `FAILURES` says, on one line."""
  return " ".join(str(error).split()) or type(error).__name__


def _check_inside(boxes: np.ndarray, image: np.ndarray) -> None:
  """Refuses boxes (N, 4) image px that show nothing of the image (H, W, 3)."""
  height, width = image.shape[:2]
  outside = (boxes[:, :2] >= [width, height]).any(1) | (boxes[:, 2:] < 0).any(1)
  if outside.any():
    box = ",".join(f"{number:g}" for number in boxes[outside][0])
    raise InputError(
      f"the box {box} lies outside of the image, which has {width} x {height} px: is it another "
      "image's?"
    )


def align(image: np.ndarray, boxes: Boxes, aligner: FaceAligner) -> FaceLandmarks:
  """The landmarks of faces that may be turned by quarters.

  Args:
    image: (H, W, 3) uint8 RGB.
    boxes: of N faces.
    aligner: the network, which is at its best on upright faces.

  Returns:
    N faces, in px of the image.
  """
  turns = boxes.quarter_turns
  if turns is None or not turns.any():
    return aligner(image, boxes.boxes)

  height, width = image.shape[:2]
  order, parts = [], []
  for quarter_turns in np.unique(turns).tolist():
    rows = np.flatnonzero(turns == quarter_turns)
    image_from_turned = detect.image_from_turned(height, width, quarter_turns)
    corners = affine.apply(affine.invert(image_from_turned), boxes.boxes[rows].reshape(-1, 2, 2))
    upright = np.concatenate([corners.min(1), corners.max(1)], -1)
    turned = np.ascontiguousarray(np.rot90(image, quarter_turns))
    parts.append(_moved(aligner(turned, upright), image_from_turned))
    order.append(rows)

  back = np.argsort(np.concatenate(order))
  landmarks, scores, covariance = (
    np.concatenate([getattr(part, name) for part in parts])[back]
    for name in ("landmarks", "scores", "covariance")
  )
  uncertain = [part.uncertainty for part in parts if part.uncertainty is not None]
  return FaceLandmarks(
    landmarks, scores, covariance, np.concatenate(uncertain)[back] if uncertain else None
  )


def _moved(faces: FaceLandmarks, dst_from_src: np.ndarray) -> FaceLandmarks:
  """Faces in another frame that a map (2, 3) without scale leads to."""
  linear = dst_from_src[:, :2]
  return dataclasses.replace(
    faces,
    landmarks=affine.apply(dst_from_src, faces.landmarks),
    covariance=linear @ faces.covariance @ linear.T,
  )


def split(
  image_id: str, boxes: Boxes, aligned: FaceLandmarks, rows: Sequence[int]
) -> tuple[Face, ...]:
  """Some of the faces of an image, one by one.

  Args:
    image_id: the image's id.
    boxes: of its N faces.
    aligned: their landmarks.
    rows: of those wanted, in the order that their ids get unless the boxes bring their own.

  Returns:
    One face for each row.
  """
  return tuple(
    Face(
      id=boxes.ids[row] if boxes.ids else image_id if number == 0 else f"{image_id}#{number}",
      box=boxes.boxes[row],
      box_score=None if boxes.scores is None else float(boxes.scores[row]),
      quarter_turns=0 if boxes.quarter_turns is None else int(boxes.quarter_turns[row]),
      landmarks=aligned.landmarks[row],
      scores=aligned.scores[row],
      covariance=aligned.covariance[row],
      uncertainty=None if aligned.uncertainty is None else aligned.uncertainty[row],
    )
    for number, row in enumerate(rows)
  )
