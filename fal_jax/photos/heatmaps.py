"""--heatmaps: the heatmaps of a few landmarks of each face of a photograph."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fal_jax import affine, detect
from fal_jax.errors import InputError
from fal_jax.photos.faces import Face, Result
from fal_jax.photos.sources import Item
from fal_jax.plots import landmark_heatmaps
from fal_jax.plots.figure import NO_MATPLOTLIB, has_matplotlib
from fal_jax.predict import FaceAligner

# Name of a picture without its ending -> what draws it to a path.
Pictures = Mapping[str, Callable[[Path], None]]


def prepare(
  texts: Sequence[str], items: Sequence[Item], aligner: FaceAligner, *, command: str
) -> Callable[[Result], Pictures]:
  """Reads --heatmaps.

  Args:
    texts: its values; none where there are to be no pictures.
    items: what is predicted.
    aligner: the network. It looks at each face as at first, whatever --refine and --views say.
    command: what makes the pictures again.

  Returns:
    What gives the pictures of one photograph, for each face and landmark.

  Raises:
    InputError: the network has no such landmark, or no such picture can be drawn.
  """
  if not texts:
    return lambda result: {}
  setup, origin = aligner.setup, aligner.origin
  numbers = landmark_heatmaps.numbers(texts, setup.markup)
  if not has_matplotlib():
    raise InputError(f"--heatmaps: {NO_MATPLOTLIB}.")
  if any(item.kind != "image" for item in items):
    raise InputError("--heatmaps are of photographs, not of videos: leave it out, or name images.")
  network = origin.get("name") or f"{origin.get('workdir')}, step {origin.get('step')}"
  look = landmark_heatmaps.make_look(setup, aligner.variables)

  def pictures(result: Result) -> Pictures:
    if result.frame.image is None:
      return {}
    drawn = {}
    for face in result.faces:
      looks = look(*_upright(result.frame.image, face))
      caption = f"Network {network}, face {face.id}."
      for number in numbers:
        drawn[f"{face.id}_{number}"] = functools.partial(
          landmark_heatmaps.draw,
          looks=looks,
          setup=setup,
          landmark=number,
          caption=caption,
          command=command,
        )
    return drawn

  return pictures


def _upright(image: np.ndarray, face: Face) -> tuple[np.ndarray, np.ndarray]:
  """A photograph (H, W, 3), turned so that one face is upright, and its box (4,) in there."""
  if not face.quarter_turns:
    return image, face.box
  height, width = image.shape[:2]
  image_from_turned = detect.image_from_turned(height, width, face.quarter_turns)
  corners = affine.apply(affine.invert(image_from_turned), face.box.reshape(2, 2))
  turned = np.ascontiguousarray(np.rot90(image, face.quarter_turns))
  return turned, np.concatenate([corners.min(0), corners.max(0)])
