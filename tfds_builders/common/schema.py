"""The one record layout of every face dataset, and the builder that writes it: no TensorFlow."""

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from fal_jax.landmarks import tight_boxes

RESEARCH_ONLY = (
  "Research and other non-commercial use only; the photographs belong to their owners."
)


class FaceDatasetInfo(tfds.core.DatasetInfo):
  """What a face dataset says of itself."""

  def initialize_from_bucket(self) -> None:
    """Does nothing: TFDS looks for an earlier description of a dataset that is not prepared yet.

    None of ours lies in its bucket, and each time it would leave an empty temporary folder behind.
    """


class FaceDatasetBuilder(tfds.core.GeneratorBasedBuilder):
  """Describes a face dataset by class attributes and builds array_record files.

  TFDS's default format, TFRecord, cannot be written without TensorFlow.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}

  HOMEPAGE: ClassVar[str] = ""
  CITATION: ClassVar[str] = ""
  LICENSE: ClassVar[str] = ""
  # The mark-up; datasets with several configurations override `num_landmarks` instead.
  NUM_LANDMARKS: ClassVar[int] = 0
  # What only this dataset has, beside `face_features`.
  EXTRA_FEATURES: ClassVar[Mapping[str, Any]] = {}
  # Split -> number of faces that its authors give, where they give one.
  OFFICIAL_COUNTS: ClassVar[Mapping[str, int]] = {}
  # Whether records stay in the order in which they are generated; TFDS shuffles them otherwise.
  KEEP_ORDER: ClassVar[bool] = False

  def __init__(self, *, file_format: str | None = None, **kwargs: Any):
    super().__init__(file_format=file_format or "array_record", **kwargs)

  @property
  def num_landmarks(self) -> int:
    """K, the number of landmarks of the mark-up that is built."""
    return self.NUM_LANDMARKS

  def extra_features(self) -> Mapping[str, Any]:
    """`EXTRA_FEATURES`, or those of the configuration that is built."""
    return self.EXTRA_FEATURES

  def extra_metadata(self) -> dict[str, Any]:
    """What the prepared dataset says about itself beside its mark-up."""
    return {}

  def train_flags(self) -> str:
    """Flags of `fal_jax.main` that train on this dataset, or test on it.

    `prepare` proposes them when the dataset is built.
    """
    return f"--config=configs/{self.name}.py"

  def workdir(self) -> str:
    """The run that `train_flags` are for: another dataset's where this one is for testing only."""
    return f"runs/{self.name}"

  def official_counts(self) -> Mapping[str, int]:
    """`OFFICIAL_COUNTS`, or those of the configuration and release that is built."""
    return self.OFFICIAL_COUNTS

  def _info(self) -> tfds.core.DatasetInfo:
    return FaceDatasetInfo(
      builder=self,
      description=sys.modules[type(self).__module__].__doc__,
      features=face_features(self.num_landmarks, **self.extra_features()),
      homepage=self.HOMEPAGE,
      citation=self.CITATION,
      license=self.LICENSE,
      metadata=tfds.core.MetadataDict(markup=self.num_landmarks, **self.extra_metadata()),
      disable_shuffling=self.KEEP_ORDER,
    )


def face_features(num_landmarks: int, **extra: Any) -> tfds.features.FeaturesDict:
  """Features of one annotated face.

  Coordinates are (x, y) in pixels of the stored image, pixel-centre: (0, 0) is the centre of the
  top-left pixel.

  Args:
    num_landmarks: K.
    **extra: what only one dataset has (attributes, subsets).

  Returns:
    The features of a record.
  """
  return tfds.features.FeaturesDict(
    {
      # The file's own bytes, stored untouched.
      "image": tfds.features.Image(shape=(None, None, 3)),
      # NaN where not annotated.
      "landmarks": tfds.features.Tensor(shape=(num_landmarks, 2), dtype=np.float32),
      "visible": tfds.features.Tensor(shape=(num_landmarks,), dtype=np.bool_),
      # x0, y0, x1, y1; NaN where the dataset has none.
      "box_dataset": tfds.features.Tensor(shape=(4,), dtype=np.float32),
      # Tight around the landmarks.
      "box_landmarks": tfds.features.Tensor(shape=(4,), dtype=np.float32),
      # Relative to the dataset's root, with "/" on every system.
      "file_name": tfds.features.Text(),
      # Counts the faces of one image.
      "face_index": tfds.features.Scalar(dtype=np.int32),
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

  Returns:
    Feature name -> value: landmarks (K, 2) float32, visible (K,) bool, boxes (4,) float32.
  """
  landmarks = np.asarray(landmarks, np.float32)
  annotated = np.isfinite(landmarks).all(-1)
  if visible is None:
    visible = annotated

  if box_dataset is None:
    box_dataset = np.full(4, np.nan)

  return {
    "image": image,
    "landmarks": landmarks,
    "visible": np.asarray(visible, bool) & annotated,
    "box_dataset": np.asarray(box_dataset, np.float32),
    "box_landmarks": tight_boxes(landmarks[None])[0],
    "file_name": file_name,
    "face_index": face_index,
    **extra,
  }
