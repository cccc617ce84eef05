"""Faces between whose outer eye corners are 50 px, and predictions at known distances from them."""

import json
from typing import Any

import numpy as np

from fal_jax import landmarks
from fal_jax.scoring import protocols, summary
from fal_jax.scoring.faces import Faces, Predictions


def make_faces(n: int, num: int = 68, **columns: Any) -> Faces:
  """N random faces of `num` landmarks, with further columns of `Faces`."""
  points = np.random.default_rng(0).uniform(50, 150, (n, num, 2))
  points[:, list(landmarks.MARKUPS[num].outer_eyes)] = [[75, 100], [125, 100]]
  columns = {
    "name": "test",
    "dataset": "mine",
    "box": "landmarks",
    "ids": [str(row) for row in range(n)],
    "boxes": np.concatenate([points.min(1), points.max(1)], -1),
    **columns,
  }
  return Faces(landmarks=points, **columns)


def percent(*values: float) -> np.ndarray:
  """(N, 1, 2) shifts that cost these percents of the 50 px between the eyes."""
  return np.array(values)[:, None, None] * [0.3, 0.4]


def summarise(faces: Faces, pred: np.ndarray, protocol: protocols.Protocol) -> dict[str, Any]:
  """The summary of predictions (N, K, 2), through JSON."""
  predictions, num = Predictions(faces, pred), pred.shape[1]
  errors = summary.measure(predictions, num, protocol)
  written = json.dumps(summary.summarise(predictions, errors, num, protocol), allow_nan=False)
  return json.loads(written)
