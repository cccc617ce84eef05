"""The one record layout of every face dataset, and the builder class that writes it without
TensorFlow.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds


class FaceDatasetBuilder(tfds.core.GeneratorBasedBuilder):
  """Builds array_record files: TFDS's default format, TFRecord, cannot be written without
  TensorFlow.
  """

  OFFICIAL_COUNTS: ClassVar[
    Mapping[str, int]
  ] = {}  # split -> number of faces its authors give, where they give one

  def __init__(self, *, file_format: str | None = None, **kwargs: Any):
    super().__init__(file_format=file_format or "array_record", **kwargs)

  def train_flags(self) -> str:
    """Flags of `fal_jax.main` that train on this dataset, or test on it; `prepare` proposes them
    when it is built.
    """
    return f"--config=configs/{self.name}.py"

  def workdir(self) -> str:
    """The run that `train_flags` are for: another dataset's where this one is for testing only."""
    return f"runs/{self.name}"

  def official_counts(self) -> Mapping[str, int]:
    """`OFFICIAL_COUNTS`, or those of the configuration and release that is built."""
    return self.OFFICIAL_COUNTS


def face_features(num_landmarks: int, **extra: Any) -> tfds.features.FeaturesDict:
  """Features of one annotated face; `extra` adds what only one dataset has (attributes, subsets).

  Coordinates are (x, y) in pixels of the stored image, pixel-centre: (0, 0) is the centre of the
  top-left pixel.
  """
  return tfds.features.FeaturesDict(
    {
      "image": tfds.features.Image(shape=(None, None, 3)),  # the file's own bytes, stored untouched
      "landmarks": tfds.features.Tensor(
        shape=(num_landmarks, 2), dtype=np.float32
      ),  # NaN where not annotated
      "visible": tfds.features.Tensor(shape=(num_landmarks,), dtype=np.bool_),
      "box_dataset": tfds.features.Tensor(
        shape=(4,), dtype=np.float32
      ),  # x0, y0, x1, y1; NaN where the dataset has none
      "box_landmarks": tfds.features.Tensor(
        shape=(4,), dtype=np.float32
      ),  # tight around the landmarks
      "file_name": tfds.features.Text(),  # relative to the dataset's root, with "/" on every system
      "face_index": tfds.features.Scalar(dtype=np.int32),  # counts the faces of one image
      **extra,
    }
  )


def face_example(
  *,
  image: bytes,
  landmarks: np.ndarray,
  file_name: str,
  visible: np.ndarray | None = None,
  box_dataset: np.ndarray | None = None,
  face_index: int = 0,
  **extra: Any,
) -> Mapping[str, Any]:
  """One record of `face_features`.

  Args:
    image: bytes of an image file that is known to decode.
    landmarks: (K, 2) float, image px, pixel-centre; NaN where not annotated.
    file_name: path below the dataset's root.
    visible: (K,) bool; by default whatever is annotated.
    box_dataset: (4,) x0, y0, x1, y1 in image px as the dataset's authors give it.
    face_index: which face of the image this is.
    **extra: values for the extra features.
  """
  landmarks = np.asarray(landmarks, np.float32)
  annotated = np.isfinite(landmarks).all(-1)
  known = landmarks[annotated]
  return {
    "image": image,
    "landmarks": landmarks,
    "visible": annotated if visible is None else np.asarray(visible, bool) & annotated,
    "box_dataset": np.full(4, np.nan, np.float32)
    if box_dataset is None
    else np.asarray(box_dataset, np.float32),
    "box_landmarks": np.concatenate([known.min(0), known.max(0)]),
    "file_name": file_name,
    "face_index": face_index,
    **extra,
  }
