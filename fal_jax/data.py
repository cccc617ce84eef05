"""Prepared datasets to batches: grain over a TFDS data source, decoded and cropped on the host.

The order of the images is a function of the seed and the step, so a run resumes by asking for its
next step; no iterator state is saved. Random views are drawn on the device, see
`steps.sample_views`.
"""

import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import grain
import numpy as np
import tensorflow_datasets as tfds

from fal_jax import affine
from fal_jax.crop import CropRule, crop_from_image, detector_box, extract
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.output import folders
from fal_jax.prepared import split_names
from fal_jax.prepared.split import PreparedSplit, check_shards, not_prepared
from fal_jax.sampling.order import image_order, process_share

Source = Sequence[Mapping[str, Any]]
# Sources beside a main one, each with its share of the images; the main one has what is left of 1.
Mix = Sequence[tuple[Source, float]]
Cache = Literal["none", "host", "device"]

_ENCODED = {"image": tfds.decode.SkipDecoding()}


def open_dataset(
  name: str, *, data_dir: str | None, num_landmarks: int
) -> tfds.core.DatasetBuilder:
  """Opens a prepared dataset: its splits and metadata.

  Args:
    name: TFDS name, e.g. "w300" or "synthetic_faces/98".
    data_dir: where `tfds_builders.prepare` put it; by default TFDS's own ($TFDS_DATA_DIR or
      ~/tensorflow_datasets).
    num_landmarks: K of the mark-up that the caller is going to use.

  Returns:
    The builder of the dataset.

  Raises:
    InputError: not prepared there, damaged metadata, or another mark-up.
  """
  data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  data_dir = str(folders.locate(data_dir, flag="--config.data.dir"))
  failure: Exception | None = None
  try:
    builder = tfds.builder(name, data_dir=data_dir)
    prepared = builder.is_prepared()
  # What damaged metadata make TFDS and protobuf raise is told from nothing by the files beside it;
  # and the client of a bucket raises whatever it likes.
  except Exception as error:  # noqa: BLE001
    prepared, failure = False, error
  if not prepared:
    raise not_prepared(name, data_dir, error=failure)

  landmarks = dict(builder.info.features.items()).get("landmarks")
  if not isinstance(landmarks, tfds.features.Tensor):
    raise InputError(
      f"The dataset {name!r} is not one that `python -m tfds_builders.prepare` builds: "
      "it has no landmarks."
    )

  count = landmarks.shape[0]
  if count != num_landmarks:
    raise InputError(
      f"The dataset {name!r} has {count} landmarks but config.data.markup is {num_landmarks}: "
      f"set --config.data.markup={count} or choose another dataset."
    )
  return builder


def open_split(name: str, split: str, *, data_dir: str | None, num_landmarks: int) -> PreparedSplit:
  """Opens one split of a prepared dataset, or a union of several, for random access.

  Args:
    name: as in `open_dataset`.
    split: name of a split, TFDS's slices and unions included ("train[:90%]", "fit+val").
    data_dir: as in `open_dataset`.
    num_landmarks: as in `open_dataset`.

  Returns:
    A sequence of records as in `tfds_builders.common.schema`, images still encoded; those of a
    union part after part.

  Raises:
    InputError: as in `open_dataset`; no such split, an empty one, damaged files, or parts of a
      union that share faces.
  """
  builder = open_dataset(name, data_dir=data_dir, num_landmarks=num_landmarks)
  parts = split_names.parts(split)
  sources = [_open_part(builder, name, part) for part in parts]
  if len(parts) == 1:
    return sources[0]

  _check_disjoint(name, parts, sources)
  union = builder.as_data_source(split=split, decoders=_ENCODED)
  return PreparedSplit(union, name=name, split=split, builder=builder)


def open_mix(
  rows: Sequence[Any], *, data_dir: str | None, num_landmarks: int
) -> list[tuple[PreparedSplit, float]]:
  """Opens the splits that a run trains on beside its main one.

  Args:
    rows: `config.data.mix`: dataset, split and share of each, see `shares.check`.
    data_dir: as in `open_dataset`.
    num_landmarks: as in `open_dataset`.

  Returns:
    The source of each and its share.

  Raises:
    InputError: as in `open_split`.
  """
  return [
    (open_split(name, split, data_dir=data_dir, num_landmarks=num_landmarks), share)
    for name, split, share in rows
  ]


def _open_part(builder: tfds.core.DatasetBuilder, name: str, part: str) -> PreparedSplit:
  """Opens a split, or a slice of one, of the dataset that the user calls `name`."""
  (base,) = split_names.bases(part)
  if base not in builder.info.splits:
    known = ", ".join(sorted(builder.info.splits))
    raise InputError(f"The dataset {name!r} has no split {part!r}; it has {known}.")

  check_shards(builder, name, base)
  try:
    records = builder.as_data_source(split=part, decoders=_ENCODED)
  except ValueError as error:
    raise InputError(
      f"The split {part!r} of {name!r} holds no image: slices look like 'train[:90%]'."
    ) from error
  source = PreparedSplit(records, name=name, split=part, builder=builder)
  for index in (0, -1 % len(source)):
    source[index]  # raises if it is damaged
  return source


def _check_disjoint(name: str, parts: Sequence[str], sources: Sequence[Source]) -> None:
  """Refuses a union that would train or be evaluated on some faces twice."""
  ids = [dict.fromkeys(map(example_id, source)) for source in sources]
  for (a, ids_a), (b, ids_b) in itertools.combinations(zip(parts, ids, strict=True), 2):
    if shared := [face for face in ids_a if face in ids_b]:
      raise InputError(
        f"{a!r} and {b!r} of {name!r} share {len(shared):,} faces, such as {shared[0]}: the parts "
        f"of a union such as {'+'.join(parts)!r} must not overlap, leave one of them out."
      )


def example_id(record: Mapping[str, Any]) -> str:
  """Name of one face in reports and prediction files.

  Returns:
    The path of its image, and "#" with its number if it is not the first face there.
  """
  name = to_str(record["file_name"])
  face = int(record["face_index"])
  return name if face == 0 else f"{name}#{face}"


def face_box(record: Mapping[str, Any], rule: CropRule) -> np.ndarray:
  """The box that the rule asks for.

  Args:
    record: one face, as in `tfds_builders.common.schema`.
    rule: says which box.

  Returns:
    (4,) float64 x0, y0, x1, y1, image px.

  Raises:
    InputError: the dataset has no such box for this face, or its landmarks lie on one spot.
  """
  box = np.asarray(record["box_dataset" if rule.box == "dataset" else "box_landmarks"], np.float64)
  if not np.isfinite(box).all():
    raise InputError(
      f"{example_id(record)} has no {rule.box} box: set --config.data.box=landmarks."
    )
  if rule.box != "dataset" and (box[:2] == box[2:]).all():
    raise InputError(
      f"{example_id(record)}: its landmarks lie on one spot, which has no box: "
      "set --config.data.box=dataset, or leave this face out."
    )
  return detector_box(box, example_id(record)) if rule.box == "detector" else box


def load_train_example(source: Source, index: int, rule: CropRule) -> dict[str, np.ndarray]:
  """One face for `steps.train_step`.

  Args:
    source: the split.
    index: number of the face in it.
    rule: how its box becomes a crop.

  Returns:
    `image` (stored_size, stored_size, 3) uint8, the crop with its margin; `landmarks` (K, 2)
    float32, px of the crop without margin, NaN where not annotated; `index` () int32.
  """
  record = source[index]
  crop = crop_from_image(face_box(record, rule), rule)
  stored_from_crop = affine.invert(rule.crop_from_stored.astype(np.float64))
  stored_from_image = affine.compose(stored_from_crop, crop)

  return {
    "image": extract(_pixels(record), stored_from_image, rule.stored_size),
    "landmarks": affine.apply(crop, record["landmarks"].astype(np.float64)).astype(np.float32),
    "index": np.int32(index),
  }


def load_eval_example(
  source: Source, index: int, rule: CropRule, *, view_from_crop: np.ndarray | None = None
) -> dict[str, Any]:
  """One face for evaluation.

  Args:
    source: the split.
    index: number of the face in it.
    rule: how its box becomes a crop.
    view_from_crop: (2, 3), another look at that crop, which then stands in for it.

  Returns:
    `image` (size, size, 3) uint8, `crop_from_image` (2, 3), `landmarks` (K, 2) float64 in image px,
    `box` (4,), `id`, and `record`: the record itself without its encoded image.
  """
  record = source[index]
  box = face_box(record, rule)
  crop = crop_from_image(box, rule)
  if view_from_crop is not None:
    crop = affine.compose(view_from_crop, crop)

  return {
    "image": extract(_pixels(record), crop, rule.size),
    "crop_from_image": crop,
    "landmarks": record["landmarks"].astype(np.float64),
    "box": box,
    "id": example_id(record),
    "record": {name: value for name, value in record.items() if name != "image"},
  }


def train_batches(
  source: Source,
  *,
  rule: CropRule,
  batch_size: int,
  seed: int,
  mix: Mix = (),
  cache: Cache = "none",
  start_step: int = 0,
  ahead: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
  """Endless batches of this process, from `start_step` on; every epoch is a new permutation.

  Args:
    source: the split.
    rule: how boxes become crops.
    batch_size: images per batch of all processes together; a multiple of `process_count`.
    seed: determines the order.
    mix: what else is in every batch, from `open_mix`; its images are numbered after the split's.
    cache: "host" keeps every crop in memory once it is decoded, stored_size^2 * 3 bytes each;
      "none" decodes again each epoch; with "device" the batches hold the `index` alone, for
      `parallel.make_device_cache` of `decode_all`.
    start_step: how many batches to skip; costs nothing.
    ahead: see `image_order`.
    process_index: which share of each global batch belongs to this process.
    process_count: number of shares.

  Returns:
    A grain iterator (close it when done) of `load_train_example`, stacked to (B, ...); B is
    batch_size / process_count.
  """
  records = joined(source, mix)

  def load(index: int) -> dict[str, Any]:
    if cache == "device":
      return {"index": np.int32(index)}
    return load_train_example(records, index, rule)

  loader = functools.cache(load) if cache == "host" else load

  lengths = [len(source), *(len(other) for other, _ in mix)]
  mixed_shares = [share for _, share in mix]
  order = image_order(lengths, mixed_shares, batch_size=batch_size, seed=seed, ahead=ahead)
  share = process_share(
    order, batch_size=batch_size, process_index=process_index, process_count=process_count
  )
  images = share.map(lambda index: loader(int(index)))
  batches = images.batch(batch_size // process_count)[start_step:]

  threads = os.cpu_count() or 1
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4)
  return iter(batches.to_iter_dataset(options))


def decode_all(source: Source, rule: CropRule, *, mix: Mix = ()) -> dict[str, np.ndarray]:
  """Every face for training at once, decoded on all cores.

  Args:
    source: the split.
    rule: how boxes become crops.
    mix: as in `train_batches`.

  Returns:
    `image` (N, stored_size, stored_size, 3) uint8 and `landmarks` (N, K, 2) float32, as in
    `load_train_example`.
  """
  records = joined(source, mix)
  first = load_train_example(records, 0, rule)
  examples = {
    name: np.empty((len(records), *first[name].shape), first[name].dtype)
    for name in ("image", "landmarks")
  }

  def load(index: int) -> None:
    example = load_train_example(records, index, rule)
    for name, array in examples.items():
      array[index] = example[name]

  with ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(load, range(len(records))))  # raises what a thread raised
  return examples


def joined(source: Source, mix: Mix) -> Source:
  """The records of all sources, one source after the other, as batches number them."""
  if not mix:
    return source
  sources = [source, *(other for other, _ in mix)]
  return grain.MapDataset.concatenate([grain.MapDataset.source(each) for each in sources])


def eval_batches(
  source: Source, *, rule: CropRule, batch_size: int, view_from_crop: np.ndarray | None = None
) -> Iterator[list[dict[str, Any]]]:
  """The examples of a split in order, in batches of which the last may be short.

  Args:
    source: the split.
    rule: how boxes become crops.
    batch_size: examples per batch.
    view_from_crop: (2, 3), see `load_eval_example`.

  Returns:
    An iterator over batches, each a list of `load_eval_example`.
  """
  loaded = grain.MapDataset.range(len(source)).map(
    lambda index: load_eval_example(source, int(index), rule, view_from_crop=view_from_crop)
  )
  threads = os.cpu_count() or 1
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * batch_size)
  examples = iter(loaded.to_iter_dataset(options))

  try:
    batch = []
    for example in examples:
      batch.append(example)
      if len(batch) == batch_size:
        yield batch
        batch = []

    if batch:
      yield batch
  finally:
    examples.close()  # grain leaks its shared memory otherwise


def to_str(value: Any) -> str:
  """A record's text as str: depending on the reader it is bytes or str."""
  return value.decode() if isinstance(value, bytes) else str(value)


def _pixels(record: Mapping[str, Any]) -> np.ndarray:
  """The record's image, (H, W, 3) uint8; `prepare` has decoded the same bytes."""
  return read_image(record["image"], name=example_id(record), trusted=True)
