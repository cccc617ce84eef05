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

FACES = 256  # of a synthetic dataset
READ = 32, 8  # images a batch and batches a turn, when nothing but reading is measured
MOST = (
  2048  # records of a dataset that are read, over and over: the largest need not fit into memory
)
# batches that wait already when a turn begins, or are on the way: `data.train_batches` prefetches
# four
PREFETCHED = 6


@dataclasses.dataclass(frozen=True)
class Photo:
  """A kind of synthetic image.

  Attributes:
    width: px.
    height: px.
    side: of the face's box in it, which is in the middle, px.
  """

  width: int
  height: int
  side: float


def photos(rule: CropRule) -> dict[str, Photo]:
  """What datasets hold: photographs, or the prepared crops of `tfds_builders.prepare --crops`."""
  crop = Photo(rule.stored_size, rule.stored_size, rule.face)
  return {"synthetic photos of 800 x 600": Photo(800, 600, 280.0), "synthetic prepared crops": crop}


def synthetic_source(photo: Photo, landmarks: int) -> data.Source:
  """Records as of a prepared dataset, JPEG files of noise that is as large on disk as a photograph,
  about 2 bits a pixel.

  Args:
    photo: size of image and face.
    landmarks: K.
  """
  rng = np.random.default_rng(0)
  middle = np.array([(photo.width - 1) / 2, (photo.height - 1) / 2])
  box = np.concatenate([middle - photo.side / 2, middle + photo.side / 2]).astype(np.float32)
  files = []
  for _ in range(8):
    coarse = rng.integers(0, 256, (photo.height // 16 + 1, photo.width // 16 + 1, 3), np.uint8)
    image = cv2.resize(coarse, (photo.width, photo.height), interpolation=cv2.INTER_CUBIC).astype(
      np.int16
    )
    image = np.clip(image + rng.normal(0, 6, image.shape[:2])[..., None], 0, 255).astype(np.uint8)
    files.append(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes())
  return [
    {
      "image": files[index % len(files)],
      "file_name": f"{index}.jpg".encode(),
      "face_index": np.int32(0),
      "landmarks": (middle + photo.side * rng.uniform(-0.5, 0.5, (landmarks, 2))).astype(
        np.float32
      ),
      "box_landmarks": box,
      "box_dataset": box,
    }
    for index in range(FACES)
  ]


def sources(config: ConfigDict) -> dict[str, data.Source]:
  """What to read, by name: the config's dataset if its folder is given, synthetic ones otherwise.

  Raises:
    InputError: the dataset is not there.
  """
  if config.data.dir:
    name, split, place = config.data.name, config.data.train_split, config.data.dir
    return {
      f"{name}, {split}": data.open_split(
        name, split, data_dir=place, num_landmarks=config.data.markup
      )
    }
  return {
    name: synthetic_source(photo, config.data.markup)
    for name, photo in photos(build.crop_rule(config)).items()
  }


def measure(
  config: ConfigDict, *, pairs: int, rounds: int, echo: Callable[[str], None]
) -> dict[str, Any]:
  """Images per second of the pipeline alone, and seconds of a training step that is fed by it.

  Args:
    config: of the run.
    pairs: the batch size.
    rounds: how often each is measured.
    echo: takes a line of progress.

  Returns:
    `alone`: by source and cache, the spread of images per second. `overlapped`: by cache, of the
    first source, the spread of a step's `seconds`, of `waits`, the share by which it takes longer
    than on a batch that is on the devices already, and of `on_host`, the seconds in which this
    process takes the batch and sends it off.
  """
  alone: dict[str, Any] = {}
  found = sources(config)
  for name, source in found.items():
    with contextlib.ExitStack() as on_exit:
      echo(f"input: {name}")
      few = [source[index] for index in range(min(len(source), MOST))]
      batches = {
        cache: _batches(on_exit, few, config, cache=cache, size=READ[0])
        for cache in ("none", "host")
      }
      _take(batches["host"], -(-len(few) // READ[0]))  # the first epoch fills the cache
      seconds = timing.interleaved(
        {cache: _reading(each) for cache, each in batches.items()},
        rounds=rounds,
        min_seconds=0,
        echo=echo,
        before={
          cache: functools.partial(_take, each, PREFETCHED) for cache, each in batches.items()
        },
      )
    rates = {
      cache: [READ[0] * READ[1] / second for second in samples]
      for cache, samples in seconds.items()
    }
    alone[name] = {cache: timing.spread(rate) for cache, rate in rates.items()}
  name, source = next(iter(found.items()))
  source = [source[index] for index in range(min(len(source), MOST))]
  return {
    "alone": alone,
    "overlapped": {
      "source": name,
      **_overlapped(config, source, pairs=pairs, rounds=rounds, echo=echo),
    },
  }


def _overlapped(
  config: ConfigDict, source: data.Source, *, pairs: int, rounds: int, echo: Callable[[str], None]
) -> dict[str, Any]:
  _, init, step = work.training(config)
  held = [init()]
  fixed = work.on_devices(work.random_batch(config, pairs))
  on_host: dict[str, list[float]] = defaultdict(list)

  def fed(name: str, batch: Callable[[], Any]) -> Task:
    def call() -> Any:
      start = time.perf_counter()
      given = batch()
      on_host[name].append(time.perf_counter() - start)
      held[0], metrics = step(held[0], given)
      return metrics

    return work.repeated(call)

  with contextlib.ExitStack() as on_exit:
    base = "batch on the device"
    tasks, before = {base: fed(base, lambda: fixed)}, {}
    for cache in ("none", "host", "device"):
      batches = _batches(on_exit, source, config, cache=cache, size=pairs)
      put: Callable = parallel.split_over_devices
      if cache == "device":
        put = parallel.make_device_cache(data.decode_all(source, build.crop_rule(config)))
      tasks[cache] = fed(cache, functools.partial(_next, batches, put))
      before[cache] = functools.partial(_take, batches, PREFETCHED)
    echo("input beside the training step")
    least = 0.0 if jax.default_backend() == "cpu" else 1.0
    seconds = timing.interleaved(tasks, rounds=rounds, min_seconds=least, before=before, echo=echo)
  return {
    cache: {
      "seconds": timing.spread(samples),
      "waits": timing.spread([ratio - 1 for ratio in timing.ratios(samples, seconds[base])]),
      "on_host": timing.spread(on_host[cache]),
    }
    for cache, samples in seconds.items()
  }


def _batches(
  on_exit: contextlib.ExitStack, source: data.Source, config: ConfigDict, *, cache: Any, size: int
) -> Iterator[Any]:
  rule = build.crop_rule(config)
  batches = data.train_batches(source, rule=rule, batch_size=size, seed=config.seed, cache=cache)
  on_exit.callback(batches.close)  # type: ignore[attr-defined]  # grain's iterators have it
  return batches


def _next(batches: Iterator[Mapping[str, np.ndarray]], put: Callable[[Any], Any]) -> Any:
  return put(next(batches))


def _take(batches: Iterator[Any], count: int) -> None:
  for _ in range(count):
    next(batches)


def _reading(batches: Iterator[Any]) -> Task:
  return lambda repeats: _take(batches, repeats * READ[1])
