"""Records as a prepared dataset gives them, for the doctor's tests, and what it says about them."""

import functools

import numpy as np
import tiny_dataset

from fal_jax import landmarks
from fal_jax.doctor import page, sheets
from fal_jax.doctor.examine import examine
from fal_jax.doctor.splits import read_split
from fal_jax.landmarks import MARKUPS
from tfds_builders.common.schema import face_example

FLIP = MARKUPS[tiny_dataset.MARKUP].flip
SIZE = 90, 100


def points_of(seed):
  """(29, 2) float64 image px: the landmarks of a seed's face."""
  return tiny_dataset.face_landmarks(seed, SIZE)


@functools.cache
def photograph(seed):
  """A PNG file of a seed's face."""
  return tiny_dataset.png(tiny_dataset.draw_face(points_of(seed), SIZE))


def record(seed, *, points=None, name=None, **extra):
  """One face as a prepared dataset gives it; the image is of another face for every seed."""
  points = points_of(seed) if points is None else points
  box = np.concatenate([points.min(0) - 3, points.max(0) + 5])
  return face_example(
    image=photograph(seed),
    landmarks=points,
    file_name=name or f"{seed:03d}.png",
    **{"box_dataset": box, **extra},
  )


def clean_records():
  """Two splits without a defect."""
  return {
    "train": [record(seed) for seed in range(10)],
    "test": [record(seed) for seed in range(100, 106)],
  }


def examine_records(records, *, metadata=None, **changes):
  """Report, findings and flags of splits, under a tiny config with changes."""
  splits = {name: read_split(source, title=name) for name, source in records.items()}
  return examine(splits, tiny_dataset.config("nowhere", **changes), metadata=metadata or {})


def titles(findings, severity):
  return [finding.title for finding in findings if finding.severity == severity]


def render_page(records, **changes):
  """HTML of the page about splits, under a tiny config with changes."""
  config = tiny_dataset.config("nowhere", **changes)
  splits = {name: read_split(source, title=name) for name, source in records.items()}
  report, findings, flags = examine(splits, config, metadata={})

  scheme = landmarks.markup(config.data.markup)
  shown = page.largest(report)
  tiles = sheets.draw(
    splits, records, scheme, distances=report["distances"], flags=flags, shown=shown
  )
  report = {"dataset": "<d>", "command": "a < b", **report}
  return page.render(report, findings, tiles, scheme)
