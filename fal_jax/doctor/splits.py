"""What the doctor reads of a split: its annotations and image headers, as arrays."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tqdm import tqdm

from fal_jax import data
from fal_jax.errors import InputError
from fal_jax.images import read_header


@dataclasses.dataclass(frozen=True)
class Split:
  """The faces of one split without their pixels.

  Attributes:
    ids: N names, see `data.example_id`.
    files: N file names of the images.
    digests: N digests of the images' bytes: equal ones are the same image, whatever it is called.
    sizes: (N, 2) int, width and height, px; 0 where the image's header cannot be read.
    modes: N names of pixel formats ("RGB", "L"); "" where the header cannot be read.
    orientations: (N,) int, EXIF orientations; 1 is upright.
    landmarks: (N, K, 2) float64, image px; NaN where not annotated.
    visible: (N, K) bool.
    boxes: (N, 4) float64, image px, the dataset's own; NaN where it gives none.
  """

  ids: list[str]
  files: list[str]
  digests: list[bytes]
  sizes: np.ndarray
  modes: list[str]
  orientations: np.ndarray
  landmarks: np.ndarray
  visible: np.ndarray
  boxes: np.ndarray


def read_split(source: data.Source, *, title: str) -> Split:
  """Reads all faces of a split, on all cores; of the images only the headers.

  Args:
    source: the split.
    title: what the progress bar says; it is shown on terminals only.

  Returns:
    The N faces, in the order of the split.
  """
  pool = ThreadPoolExecutor(os.cpu_count())
  try:
    results = pool.map(lambda index: _read_face(source[index]), range(len(source)))
    faces = list(tqdm(results, title, total=len(source), unit=" faces", disable=None))
  finally:
    pool.shutdown(cancel_futures=True)

  landmarks = np.array([face.landmarks for face in faces], np.float64)
  landmarks[~np.isfinite(landmarks).all(-1)] = np.nan
  return Split(
    ids=[face.id for face in faces],
    files=[face.file for face in faces],
    digests=[face.digest for face in faces],
    sizes=np.array([face.size for face in faces]),
    modes=[face.mode for face in faces],
    orientations=np.array([face.orientation for face in faces]),
    landmarks=landmarks,
    visible=np.array([face.visible for face in faces], bool),
    boxes=np.array([face.box for face in faces], np.float64),
  )


@dataclasses.dataclass(frozen=True)
class _Face:
  """One row of a `Split`."""

  id: str
  file: str
  digest: bytes
  size: tuple[int, int]
  mode: str
  orientation: int
  landmarks: np.ndarray
  visible: np.ndarray
  box: np.ndarray


def _read_face(record: Mapping[str, Any]) -> _Face:
  name = data.example_id(record)
  image = record["image"]
  try:
    width, height, mode, orientation = read_header(image, name=name)
  except InputError:
    width, height, mode, orientation = 0, 0, "", 1  # counted and listed as unreadable

  return _Face(
    id=name,
    file=data.to_str(record["file_name"]),
    digest=hashlib.blake2b(image, digest_size=16).digest(),
    size=(width, height),
    mode=mode,
    orientation=orientation,
    landmarks=record["landmarks"],
    visible=record["visible"],
    box=record["box_dataset"],
  )
