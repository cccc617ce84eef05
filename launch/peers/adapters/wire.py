"""The conversation of a measured system: one line of JSON for each question, one for each answer.

  first      {"versions": {...}, "weights": {file: SHA-256}}
  asked      {"image": "face.ppm", "box": [x0, y0, x1, y1] or null}
  answered   {"faces": [[[x, y], ...], ...], "cpu_ms": 2.5, "wall_ms": 2.6}

With a box, the system places the landmarks of the face in it; with null it finds faces by its own
detector and answers with all of them. Coordinates are px of the image, pixel-centre. Times are of
one call, from pixels in memory to points in memory: CPU time of all threads of the process, and
wall time. This file runs in the environments of others: it needs NumPy alone.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

Align = Callable[[np.ndarray, Sequence[float] | None], Sequence[np.ndarray]]


def take_stdout() -> TextIO:
  """What answers are written to; whatever libraries print goes to the standard error output.

  Returns:
    The former standard output.
  """
  answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
  os.dup2(2, 1)
  return answers


def read_ppm(path: str) -> np.ndarray:
  """Reads an image as `faces.write_ppm` writes it.

  Args:
    path: the file.

  Returns:
    (H, W, 3) uint8 RGB.
  """
  with open(path, "rb") as file:
    if file.readline() != b"P6\n":
      raise ValueError(f"{path} is not a binary PPM file")
    width, height = map(int, file.readline().split())
    file.readline()  # 255
    pixels = np.frombuffer(file.read(), np.uint8)
  return pixels.reshape(height, width, 3).copy()  # libraries want memory of their own


def checked(path: Path, sha256: str) -> str:
  """Refuses weights that are not the ones whose results are published.

  Args:
    path: the file.
    sha256: its expected digest, hexadecimal.

  Returns:
    The digest. Ends the process, with a sentence, if it is another.
  """
  with path.open("rb") as file:
    found = hashlib.file_digest(file, "sha256").hexdigest()
  if found != sha256:
    sys.exit(f"{path} has the SHA-256 {found}, not {sha256}: it is not the file that was measured.")
  return found


def serve(
  answers: TextIO, align: Align, *, versions: Mapping[str, str], weights: Mapping[str, str]
) -> None:
  """Answers until there are no more questions.

  Args:
    answers: from `take_stdout`.
    align: from an image (H, W, 3) uint8 RGB and a box x0, y0, x1, y1, or None, to the landmarks
      (K, 2) of each face.
    versions: of the packages.
    weights: name of a file -> its SHA-256.
  """
  _answer(answers, {"versions": dict(versions), "weights": dict(weights)})
  for line in sys.stdin:
    asked = json.loads(line)
    image = read_ppm(asked["image"])
    cpu, wall = time.process_time(), time.perf_counter()
    faces = align(image, asked["box"])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    points = [np.round(np.asarray(face, float), 4).tolist() for face in faces]
    _answer(answers, {"faces": points, "cpu_ms": 1000 * cpu, "wall_ms": 1000 * wall})


def _answer(answers: TextIO, content: Mapping[str, object]) -> None:
  answers.write(json.dumps(content) + "\n")
  answers.flush()
