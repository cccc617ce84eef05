"""The faces of a built dataset, cut out with a margin.

Small images that training decodes several times as fast, or that are taken along to a machine
without the photographs.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
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
from tfds_builders.common.schema import FaceDatasetBuilder, FaceDatasetInfo

_JPEG = (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 95))  # finer than the photographs' own compression
# To be taken along: half the bytes, off by 0.9 grey levels on average instead of 0.6.
_WEBP = (".webp", (cv2.IMWRITE_WEBP_QUALITY, 92))
_CHUNK = 256  # faces read ahead: all of a large dataset would fill the memory

# Squares that replace the photographs: those of all our configs (416 px, or in this proportion to
# the face), about boxes that are moved by a tenth of the face and a tenth larger.
_FACE, _STORED, _SHIFT, _GROWTH = 220, 416, 0.1, 1.1
SMALLEST_REPLACEMENT = 2 * math.ceil((_STORED * _GROWTH + 2 * _SHIFT * _FACE) / 2)


class FaceCrops(FaceDatasetBuilder, skip_registration=True):  # type: ignore[call-arg]  # TFDS's own
  """Every split of another dataset, each face as one square whose middle is the network's crop.

  Records have the features of the other dataset, and its order; landmarks and boxes are in pixels
  of the square, and so is what is predicted on them: not in pixels of the photograph.
  """

  def __init__(
    self,
    *,
    source: FaceDatasetBuilder,
    rule: CropRule,
    replace: bool = False,
    splits: Sequence[str] = (),
    **kwargs: Any,
  ):
    """See `FaceDatasetBuilder`.

    Args:
      source: a dataset that is built.
      rule: says how large the square and the face in it are, and around which box.
      replace: whether the squares go under the name of the other dataset, in another folder, so
        that they are all that a machine needs of it.
      splits: of the other dataset; by default all.
      **kwargs: `data_dir` and whatever else TFDS takes.

    Raises:
      InputError: the other dataset has no such splits, is one of squares, or the squares cannot
        replace it.
    """
    _check(source, rule, replace=replace, splits=splits)
    config = source.builder_config
    if replace:
      self.name = source.name
      kwargs["config"] = config
    else:
      config_name = config.name if config else ""
      self.name = "_".join(filter(None, (source.name, config_name, f"crops{rule.stored_size}")))
    self.source = source
    self.rule = rule
    self.replace = replace
    self.splits = splits or list(source.info.splits)
    super().__init__(**kwargs)

  @property
  def _cut_by(self) -> dict[str, Any]:
    """The rule as the metadata have it."""
    return {"box": self.rule.box, "face": self.rule.face, "stored_size": self.rule.stored_size}

  @property
  def holds_what_is_wanted(self) -> bool:
    """Whether what is built already was cut by the same rule and has the same splits."""
    built = self.info
    return built.metadata["crops"] == self._cut_by and set(built.splits) == set(self.splits)

  def _info(self) -> tfds.core.DatasetInfo:
    info = self.source.info
    metadata = dict(info.metadata or {}) | {"crops_of": info.full_name, "crops": self._cut_by}

    return FaceDatasetInfo(
      builder=self,
      description=f"{info.full_name}, faces cut out: {self._cut_by}. Landmarks, boxes and what is "
      "predicted on them are in pixels of these squares, not of the photographs.",
      features=info.features,
      homepage=info.homepage,
      citation=info.citation,
      license=info.redistribution_info.license,
      metadata=tfds.core.MetadataDict(metadata),
      disable_shuffling=True,  # the other dataset's own order, on which a run's batches depend
    )

  def train_flags(self) -> str:
    if self.replace:
      return self.source.train_flags()
    flags = f"{self.source.train_flags()} --config.data.name={self.name}"
    if not any(split.startswith("test") for split in self.source.info.splits):
      return flags  # its config evaluates on another dataset
    evaluated = self.source.info.full_name.rsplit("/", 1)[0]  # without the version
    return f"{flags} --config.eval.name={evaluated}"

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[str, Mapping[str, Any]]]]:
    return {split: self._generate_examples(split) for split in self.splits}

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
    suffix, options = _WEBP if self.replace else _JPEG
    _, encoded = cv2.imencode(suffix, square[..., ::-1], options)

    def to_square(points: np.ndarray) -> np.ndarray:
      """(..., 2) image px to (..., 2) float32 px of the square."""
      return affine.apply(stored_from_image, points.astype(np.float64)).astype(np.float32)

    boxes = {
      name: to_square(record[name].reshape(2, 2)).reshape(4)
      for name in ("box_dataset", "box_landmarks")
    }
    landmarks = to_square(record["landmarks"])
    return {**record, "image": encoded.tobytes(), "landmarks": landmarks, **boxes}


def _check(
  source: FaceDatasetBuilder, rule: CropRule, *, replace: bool, splits: Sequence[str]
) -> None:
  """Refuses squares that cannot be cut, or that cannot do what photographs do."""
  if "crops_of" in (source.info.metadata or {}):
    raise InputError(
      f"{source.data_path} holds squares cut out of photographs already: "
      "name the --data_dir of the photographs."
    )
  if unknown := [split for split in splits if split not in source.info.splits]:
    raise InputError(
      f"{source.info.full_name} has no split {unknown[0]!r}; "
      f"it has {', '.join(source.info.splits)}."
    )
  if replace and (rule.stored_size < SMALLEST_REPLACEMENT or rule.stored_size % 2):
    raise InputError(
      f"--crops={rule.stored_size} cannot replace photographs: with --crops_dir it must be even "
      f"and at least {SMALLEST_REPLACEMENT}, so that views of moved and larger boxes still fit."
    )
