"""The faces of a built dataset, cut out with a margin.

Small images that training decodes several times as fast.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from fal_jax import affine
from fal_jax.crop import CropRule, crop_from_image, extract
from fal_jax.data import example_id, face_box
from fal_jax.errors import InputError
from fal_jax.images import read_image
from tfds_builders.common.schema import FaceDatasetBuilder

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)  # finer than the photographs' own compression
_CHUNK = 256  # faces read ahead: all of a large dataset would fill the memory


class FaceCrops(FaceDatasetBuilder, skip_registration=True):  # type: ignore[call-arg]  # TFDS's own
  """Every split of another dataset, each face as one square whose middle is the network's crop.

  Records have the features of the other dataset; landmarks and boxes are in pixels of the square.
  They are for training: what is predicted on them is not in pixels of the photograph.
  """

  def __init__(self, *, source: FaceDatasetBuilder, rule: CropRule, **kwargs: Any):
    """See `FaceDatasetBuilder`.

    Args:
      source: a dataset that is built.
      rule: says how large the square and the face in it are, and around which box.
      **kwargs: `data_dir` and whatever else TFDS takes.
    """
    config = source.builder_config.name if source.builder_config else ""
    self.name = "_".join(filter(None, (source.name, config, f"crops{rule.stored_size}")))
    self.source = source
    self.rule = rule
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    info = self.source.info
    rule = {"box": self.rule.box, "face": self.rule.face, "stored_size": self.rule.stored_size}
    metadata = dict(info.metadata or {}) | {"crops_of": info.full_name, "crops": rule}

    return tfds.core.DatasetInfo(
      builder=self,
      description=f"{info.full_name}, faces cut out: {rule}.",
      features=info.features,
      homepage=info.homepage,
      citation=info.citation,
      license=info.redistribution_info.license,
      metadata=tfds.core.MetadataDict(metadata),
    )

  def train_flags(self) -> str:
    flags = f"{self.source.train_flags()} --config.data.name={self.name}"
    if not any(split.startswith("test") for split in self.source.info.splits):
      return flags  # its config evaluates on another dataset
    evaluated = self.source.info.full_name.rsplit("/", 1)[0]  # without the version
    return f"{flags} --config.eval.name={evaluated}"

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[str, Mapping[str, Any]]]]:
    return {split: self._generate_examples(split) for split in self.source.info.splits}

  def _generate_examples(self, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    decoders = {"image": tfds.decode.SkipDecoding()}
    records = self.source.as_data_source(split=split, decoders=decoders)
    bar = tqdm(total=len(records), desc=f"Cutting {split}", unit=" faces", disable=None)

    with ThreadPoolExecutor(os.cpu_count()) as pool, bar:
      for start in range(0, len(records), _CHUNK):
        rows = [records[row] for row in range(start, min(start + _CHUNK, len(records)))]
        for record, example in zip(rows, pool.map(self._cut, rows), strict=True):
          bar.update()
          yield f"{record['file_name'].decode()}#{int(record['face_index'])}", example

  def _cut(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of one face with the square in place of the image."""
    try:
      crop = crop_from_image(face_box(record, self.rule), self.rule)
    except InputError as error:
      raise InputError(f"{example_id(record)}: {error}") from error
    stored_from_crop = affine.invert(self.rule.crop_from_stored.astype(np.float64))
    stored_from_image = affine.compose(stored_from_crop, crop)

    image = read_image(record["image"], name=example_id(record))
    square = extract(image, stored_from_image, self.rule.stored_size)
    _, jpeg = cv2.imencode(".jpg", square[..., ::-1], _JPEG)

    def to_square(points: np.ndarray) -> np.ndarray:
      """(..., 2) image px to (..., 2) float32 px of the square."""
      return affine.apply(stored_from_image, points.astype(np.float64)).astype(np.float32)

    boxes = {
      name: to_square(record[name].reshape(2, 2)).reshape(4)
      for name in ("box_dataset", "box_landmarks")
    }
    landmarks = to_square(record["landmarks"])
    return {**record, "image": jpeg.tobytes(), "landmarks": landmarks, **boxes}
