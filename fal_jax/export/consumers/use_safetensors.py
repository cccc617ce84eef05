"""Landmarks of a face with model.safetensors: python use_safetensors.py photo.jpg x0 y0 x1 y1

Needs `pip install fal_jax`, which cuts the face out as in training and has other decoders, several
views of each face and refinement. The box is in px of the photo, from the brows to the chin;
`fal_jax.detect` finds faces and makes such boxes. This program is Apache-2.0, as fal_jax is; the
network has a licence of its own, see README.md.
"""

import sys
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.predict import FaceAligner

HERE = Path(__file__).parent


def main(path, *corners):
  """Prints a line for each landmark: its name, x and y in the photo, and its score."""
  aligner = FaceAligner.from_exported(HERE)
  photo = np.load(path) if path.endswith(".npy") else read_image(path, upright=True)

  faces = aligner(photo, np.array([corners], float))

  names = aligner.setup.markup.names
  for name, (x, y), score in zip(names, faces.landmarks[0], faces.scores[0], strict=True):
    print(f"{name} {x:.3f} {y:.3f} {score:.3f}")


if __name__ == "__main__":
  if len(sys.argv) != 6:
    sys.exit(f"Usage: python {sys.argv[0]} photo.jpg x0 y0 x1 y1 (the face's box, see README.md)")
  try:
    main(*sys.argv[1:])
  except (InputError, OSError, ValueError) as error:  # no photograph, or no box in it
    sys.exit(str(error))
