"""What can be wrong with an annotated face, found before anything is written, all at once, by name.

TFDS itself silently stores NaN landmarks and images that do not decode; training would stumble over
them days later.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol

import numpy as np
from tqdm import tqdm

from fal_jax.errors import InputError
from fal_jax.images import read_header, read_image
from fal_jax.landmarks import MANY


class ImageFile(Protocol):
  """An image file wherever it lies: a `Path`, or something inside another file.

  It is read twice, by several threads.
  """

  def read_bytes(self) -> bytes:
    """The bytes of a JPEG, PNG, ... file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
  """One annotated face of a downloaded dataset.

  Attributes:
    image: the image file.
    file_name: its path below the dataset's root, with "/".
    landmarks: (K, 2) float64, (x, y) in image px, pixel-centre; NaN where not annotated.
    extra: what else `schema.face_example` takes: `visible`, `box_dataset`, `face_index`, values of
      the dataset's own features.
  """

  image: ImageFile
  file_name: str
  landmarks: np.ndarray
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def label(self) -> str:
    """Its name in findings: `file_name`, and `#face_index` where an image may hold several."""
    if "face_index" not in self.extra:
      return self.file_name
    return f"{self.file_name}#{self.extra['face_index']}"


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
  """Something about one file: an error keeps the face out of the dataset.

  A warning and a note do not; the former is something to act on.
  """

  file: str
  message: str
  severity: Literal["error", "warning", "note"] = "error"

  @classmethod
  def from_error(
    cls, file: str, error: InputError, *, path: str | os.PathLike[str] = ""
  ) -> "Finding":
    """A reader's sentence as a finding, without the path with which it begins.

    Args:
      file: what the dataset calls the file.
      error: what the reader said.
      path: what the reader calls the file.

    Returns:
      An error about `file`.
    """
    message = str(error).removeprefix(str(path)).lstrip(",: ").rstrip(".")
    return cls(file, message)


def check_landmarks(
  landmarks: np.ndarray,
  size: tuple[int, int] | None,
  *,
  file: str,
  missing_allowed: bool = False,
  box: np.ndarray | None = None,
) -> list[Finding]:
  """Checks the landmarks of one face.

  Args:
    landmarks: (K, 2) float, image px, pixel-centre.
    size: (width, height) of the image; None when it could not be read.
    file: what findings call the face.
    missing_allowed: NaN is the dataset's sign for "not annotated".
    box: (4,) x0, y0, x1, y1, image px, around the face where the dataset gives one: it says how
      large the face of a single annotated landmark is.

  Returns:
    Findings: nothing annotated, a coordinate that is not finite, a face without extent (a few
    landmarks on one line, as two level eyes are, have one), landmarks outside the image. The last
    is a note, because annotators follow the face across the border, unless they are further away
    than the face is large.
  """
  valid = np.isfinite(landmarks).all(-1)
  if missing_allowed:
    valid |= np.isnan(landmarks).all(-1)
  if not valid.all():
    first = int(np.argmin(valid))
    message = f"landmark {first} is {landmarks[first].tolist()}, expected numbers"
    return [Finding(file, message)]

  known = landmarks[np.isfinite(landmarks).all(-1)]
  if not len(known):
    return [Finding(file, "no landmark is annotated")]

  width, height = (known.max(0) - known.min(0)).tolist()
  extent = min(width, height) if len(known) >= MANY else max(width, height)
  if len(known) == 1 and box is not None and np.isfinite(box).all():
    extent = float((box[2:] - box[:2]).max())
  if extent < 1:
    message = f"all landmarks lie within {width:.3g} x {height:.3g} px, that is not a face"
    if len(landmarks) == 1:
      message = "one landmark and no box, which would tell how large the face is"
    elif len(known) > 1 and np.abs(known).max() <= 2:
      message += (
        "; are they parts of the image's size, as MediaPipe's? Multiply x by its width and "
      )
      message += "y by its height"
    return [Finding(file, message)]

  findings = []
  if len(known) == 1 < len(landmarks):
    message = "one landmark is annotated: only --config.data.box=dataset can crop this face"
    findings.append(Finding(file, message, "warning"))
  if size is None:
    return findings
  outside = np.maximum(-0.5 - known, known - (np.array(size) - 0.5)).max(-1)
  if outside.max() > max(extent, width, height):
    message = (
      f"landmarks lie up to {outside.max():.0f} px outside the {size[0]} x {size[1]} image, "
      "further than the face is large; are they of another image, or of another size of it?"
    )
    return [Finding(file, message)]
  if outside.max() > 0:
    findings.append(Finding(file, "landmarks outside the image", "note"))
  return findings


def check_image(image: bytes, *, file: str) -> tuple[tuple[int, int] | None, list[Finding]]:
  """Decodes an image once.

  Args:
    image: the file's bytes.
    file: what findings call it.

  Returns:
    (width, height) of the stored pixels, None if the image cannot be decoded; and the findings.
  """
  try:
    height, width, _ = read_image(image, name=file).shape
  except InputError as error:
    return None, [Finding.from_error(file, error, path=file)]

  _, _, mode, orientation = read_header(image, name=file)
  notes = []
  if mode != "RGB":
    notes.append(f"stored as {mode}, not RGB; converted when read")
  if orientation != 1:
    notes.append("has an EXIF orientation; ignored, annotations belong to the stored pixels")
  return (width, height), [Finding(file, note, "note") for note in notes]


def check_faces(
  faces: Sequence[Face],
  *,
  title: str,
  missing_allowed: bool = False,
) -> list[list[Finding]]:
  """Checks every face, decoding every image once, on all cores.

  Args:
    faces: what to check.
    title: what the progress bar says; it is shown on terminals only.
    missing_allowed: see `check_landmarks`.

  Returns:
    The findings of each face, in the order of `faces`.
  """

  def check(face: Face) -> tuple[bytes, list[Finding]]:
    try:
      image = face.image.read_bytes()
    except OSError as error:
      return b"", [Finding(face.label, f"cannot be read: {error.strerror or error}")]

    size, findings = check_image(image, file=face.label)
    findings += check_landmarks(
      face.landmarks,
      size,
      file=face.label,
      missing_allowed=missing_allowed,
      box=face.extra.get("box_dataset"),
    )
    digest = hashlib.blake2b(image + face.landmarks.tobytes(), digest_size=16).digest()
    return digest, findings

  # Threads are enough: OpenCV decodes outside Python's lock.
  pool = ThreadPoolExecutor(os.cpu_count())
  try:
    results = pool.map(check, faces)
    checked = list(tqdm(results, title, total=len(faces), unit=" images", disable=None))
  finally:
    pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for thousands of images

  first: dict[bytes, str] = {}
  for face, (digest, findings) in zip(faces, checked, strict=True):
    original = first.setdefault(digest, face.label)
    if digest and original != face.label:
      findings.append(Finding(face.label, f"same image and landmarks as {original}", "note"))

  return [findings for _, findings in checked]


def listing(findings: Sequence[Finding]) -> str:
  """One line per finding, sorted by file."""
  return "\n".join(f"  {finding.file}: {finding.message}" for finding in sorted(findings))
