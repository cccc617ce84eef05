"""The input pipeline of training, alone and beside the training step."""

import contextlib
import dataclasses
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cv2
import jax
import numpy as np
from ml_collections import ConfigDict

from fal_jax import build, data, parallel
from fal_jax.bench import timing, work
from fal_jax.bench.timing import Task
from fal_jax.crop import CropRule

NUM_FACES = 256  # of a synthetic dataset
NUM_FILES = 8  # different images among them
MAX_RECORDS = 2048  # of a dataset, read over and over: the largest need not fit into memory

# When nothing but reading is measured.
BATCH_SIZE = 32
BATCHES_PER_TURN = 8

# Batches that are ready, or on their way, when a turn begins: `data.train_batches` prefetches four.
PREFETCHED = 6


@dataclasses.dataclass(frozen=True)
class Photo:
  """A kind of synthetic image.

  Attributes:
    width: px.
    height: px.
    side: side of the face's box, which is in the middle, px.
  """

  width: int
  height: int
  side: float


def photos(rule: CropRule) -> dict[str, Photo]:
  """What datasets hold: photographs, or the prepared crops of `tfds_builders.prepare --crops`."""
  crop = Photo(rule.stored_size, rule.stored_size, rule.face)
  return {"synthetic photos of 800 x 600": Photo(800, 600, 280.0), "synthetic prepared crops": crop}


def synthetic_source(photo: Photo, num_landmarks: int) -> data.Source:
  """Records as a prepared dataset has them.

  The images are JPEG files of noise that are as large as a photograph's, about 2 bits per pixel.

  Args:
    photo: size of image and face.
    num_landmarks: K.

  Returns:
    `NUM_FACES` records.
  """
  rng = np.random.default_rng(0)
  centre = np.array([(photo.width - 1) / 2, (photo.height - 1) / 2])
  half = photo.side / 2
  box = np.concatenate([centre - half, centre + half]).astype(np.float32)
  files = [_noise_jpeg(rng, photo) for _ in range(NUM_FILES)]

  def record(index: int) -> dict[str, Any]:
    offsets = photo.side * rng.uniform(-0.5, 0.5, (num_landmarks, 2))
    return {
      "image": files[index % len(files)],
      "file_name": f"{index}.jpg".encode(),
      "face_index": np.int32(0),
      "landmarks": (centre + offsets).astype(np.float32),
      "box_landmarks": box,
      "box_dataset": box,
    }

  return [record(index) for index in range(NUM_FACES)]


def _noise_jpeg(rng: np.random.Generator, photo: Photo) -> bytes:
  """A file of smooth blotches with noise on top."""
  shape = photo.height // 16 + 1, photo.width // 16 + 1, 3
  coarse = rng.integers(0, 256, shape, np.uint8)
  smooth = cv2.resize(coarse, (photo.width, photo.height), interpolation=cv2.INTER_CUBIC)
  noise = rng.normal(0, 6, smooth.shape[:2])[..., None]
  image = np.clip(smooth.astype(np.int16) + noise, 0, 255).astype(np.uint8)
  return cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes()


def sources(config: ConfigDict) -> dict[str, data.Source]:
  """What to read, by name: the config's dataset if its folder is given, else synthetic ones.

  Args:
    config: the run's config.

  Returns:
    At least one source.

  Raises:
    InputError: the dataset is not there.
  """
  num_landmarks = config.data.markup
  if config.data.dir:
    name, split = config.data.name, config.data.train_split
    source = data.open_split(name, split, data_dir=config.data.dir, num_landmarks=num_landmarks)
    return {f"{name}, {split}": source}

  kinds = photos(build.crop_rule(config))
  return {name: synthetic_source(photo, num_landmarks) for name, photo in kinds.items()}


def measure(
  config: ConfigDict, *, pairs: int, rounds: int, echo: Callable[[str], None]
) -> dict[str, Any]:
  """Images per second of the pipeline alone, and seconds of a training step that it feeds.

  Args:
    config: the run's config.
    pairs: the batch size.
    rounds: how often each is measured.
    echo: progress callback.

  Returns:
    `alone`: by source and cache, the spread of images per second. `overlapped`: by cache, of the
    first source, the spread of a step's `seconds`; of `waits`, the fraction by which it takes
    longer than on a batch that is on the devices already; and of `on_host`, the seconds that this
    process spends on fetching the batch and sending it off.
  """
  by_name = {
    name: [source[index] for index in range(min(len(source), MAX_RECORDS))]
    for name, source in sources(config).items()
  }
  alone = {}
  for name, source in by_name.items():
    echo(f"input: {name}")
    alone[name] = _alone(config, source, rounds=rounds, echo=echo)

  first, source = next(iter(by_name.items()))
  overlapped = _overlapped(config, source, pairs=pairs, rounds=rounds, echo=echo)
  return {"alone": alone, "overlapped": {"source": first, **overlapped}}


def _alone(
  config: ConfigDict, source: data.Source, *, rounds: int, echo: Callable[[str], None]
) -> dict[str, Any]:
  """By cache, the spread of images per second when nothing but reading is done."""
  with contextlib.ExitStack() as on_exit:
    batches = {
      cache: _batches(on_exit, source, config, cache=cache, size=BATCH_SIZE)
      for cache in ("none", "host")
    }
    _skip(batches["host"], -(-len(source) // BATCH_SIZE))  # the first epoch fills the cache
    seconds = timing.interleaved(
      {cache: _reading(iterator) for cache, iterator in batches.items()},
      rounds=rounds,
      min_seconds=0,
      echo=echo,
      before={
        cache: functools.partial(_skip, iterator, PREFETCHED) for cache, iterator in batches.items()
      },
    )

  images = BATCH_SIZE * BATCHES_PER_TURN
  return {
    cache: timing.spread([images / second for second in samples])
    for cache, samples in seconds.items()
  }


def _overlapped(
  config: ConfigDict, source: data.Source, *, pairs: int, rounds: int, echo: Callable[[str], None]
) -> dict[str, Any]:
  """By cache, the step that is fed by it, as in `measure`."""
  _, init, step = work.training(config)
  state = init()
  fixed = work.on_devices(work.random_batch(config, pairs))
  on_host: dict[str, list[float]] = defaultdict(list)

  def fed_by(name: str, next_batch: Callable[[], Any]) -> Task:
    def call() -> Any:
      nonlocal state
      start = time.perf_counter()
      batch = next_batch()
      on_host[name].append(time.perf_counter() - start)
      state, metrics = step(state, batch)
      return metrics

    return work.repeated(call)

  baseline = "batch on the device"
  tasks = {baseline: fed_by(baseline, lambda: fixed)}
  before = {}
  with contextlib.ExitStack() as on_exit:
    for cache in ("none", "host", "device"):
      batches = _batches(on_exit, source, config, cache=cache, size=pairs)
      put: Callable = parallel.split_over_devices
      if cache == "device":
        put = parallel.make_device_cache(data.decode_all(source, build.crop_rule(config)))
      tasks[cache] = fed_by(cache, functools.partial(_next, batches, put))
      before[cache] = functools.partial(_skip, batches, PREFETCHED)

    echo("input beside the training step")
    min_seconds = 0.0 if jax.default_backend() == "cpu" else 1.0
    seconds = timing.interleaved(
      tasks, rounds=rounds, min_seconds=min_seconds, before=before, echo=echo
    )

  def summary(name: str) -> dict[str, Any]:
    longer = [ratio - 1 for ratio in timing.ratios(seconds[name], seconds[baseline])]
    return {
      "seconds": timing.spread(seconds[name]),
      "waits": timing.spread(longer),
      "on_host": timing.spread(on_host[name]),
    }

  return {name: summary(name) for name in seconds}


def _batches(
  on_exit: contextlib.ExitStack, source: data.Source, config: ConfigDict, *, cache: Any, size: int
) -> Iterator[Any]:
  """Training batches of `size` images, closed by `on_exit`."""
  rule = build.crop_rule(config)
  batches = data.train_batches(source, rule=rule, batch_size=size, seed=config.seed, cache=cache)
  on_exit.callback(batches.close)  # type: ignore[attr-defined]  # grain's iterators have it
  return batches


def _next(batches: Iterator[Mapping[str, np.ndarray]], put: Callable[[Any], Any]) -> Any:
  return put(next(batches))


def _skip(batches: Iterator[Any], count: int) -> None:
  for _ in range(count):
    next(batches)


def _reading(batches: Iterator[Any]) -> Task:
  return lambda repeats: _skip(batches, repeats * BATCHES_PER_TURN)
