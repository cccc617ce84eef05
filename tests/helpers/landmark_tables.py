"""A few faces with known distances, and files of landmarks in every format that is read."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax import landmarks

N = 7
IDS = [f"a b/{row:02d}.jpg" for row in range(N)]
SHIFT = np.array([3.0, 4.0])  # px; 12.5 % of the 40 px between the eyes


def make_faces(num: int = 68) -> np.ndarray:
  """(N, K, 2) faces with 40 px between the outer eye corners, in boxes of 100 x 160 px."""
  points = np.random.default_rng(0).uniform([0, 0], [100, 160], (N, num, 2)) + 50
  points[:, [1, 2]] = [[50, 50], [150, 210]]
  points[:, list(landmarks.MARKUPS[num].outer_eyes)] = [[80, 100], [120, 100]]
  return points


def write_csv(path: Path, points: np.ndarray, ids: Sequence[str] = IDS) -> Path:
  """Writes landmarks (N, K, 2) with all their digits, and returns the path."""
  with path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["id", *(f"{axis}{k}" for k in range(points.shape[1]) for axis in "xy")])
    for name, face in zip(ids, points, strict=True):
      writer.writerow([name, *map(repr, face.reshape(-1).tolist())])
  return path


def write(path: Path, points: np.ndarray, ids: Sequence[str] = IDS) -> Path:
  """Writes landmarks (N, K, 2) in the format of the suffix; "list.json" is a list of faces."""
  faces: Any = {name: face.tolist() for name, face in zip(ids, points, strict=True)}
  match path.suffix:
    case ".csv":
      write_csv(path, points, ids)
    case ".json":
      if path.stem == "list":
        faces = [{"id": name, "landmarks": face} for name, face in faces.items()]
      path.write_text(json.dumps(faces))
    case _:
      np.savez(path, landmarks=points, ids=np.array(ids))
  return path
