"""A dozen drawn faces with exactly known landmarks, and a config to train on them in seconds.

Each face is a constellation of soft discs, one colour for each landmark, on dark ground. The discs'
centres are the landmarks, so a test can measure where an image really shows a landmark.
"""

import contextlib
import fcntl
import functools
import io
import json
import os
import runpy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import tensorflow_datasets as tfds
from jax.experimental.compilation_cache import compilation_cache
from ml_collections import ConfigDict
from PIL import Image

from fal_jax import config_json, parallel, train
from fal_jax.landmarks import MARKUPS
from fal_jax.plots import curves
from fal_jax.scoring import face_sheets, reports
from tfds_builders.common.schema import (
  FaceDatasetBuilder,
  FaceDatasetInfo,
  face_example,
  face_features,
)

ROOT = Path(__file__).parents[2]
NAME = "tiny_faces"
MARKUP = 29
SIGMA = 1.5  # px, of a disc
TRAIN = 12  # images
TEST = 11  # images; neither the batch size nor the device count of the tests divides it
# Keys of a config for a network of 8 features and 8 epochs, which are 12 steps.
SMALL = {
  "crop.size": 64,
  "crop.stored_size": 104,
  "crop.face": 55.0,
  "model.num_stacks": 1,
  "model.features": 8,
  "model.depth": 1,
  "optimizer.learning_rate": 1e-2,
  "train.batch_size": 8,
  "train.epochs": 8.0,
  "eval.batch_size": 8,
  "eval.boxes": (),
  "checkpoint.every_steps": 5,
  "log.every_steps": 1,
}
EYES = MARKUPS[MARKUP].outer_eyes  # their discs are white and far from all others


def image_size(seed: int) -> tuple[int, int]:
  """Rows and columns of the dataset's image `seed`."""
  return 70 + seed % 7, 80 + seed % 5


def face_landmarks(seed: int, size: tuple[int, int]) -> np.ndarray:
  """One mirror-symmetric constellation, placed at random.

  Args:
    seed: of the place.
    size: rows and columns of the image.

  Returns:
    (K, 2) float64 image px.
  """
  flip = MARKUPS[MARKUP].flip
  shape = np.random.default_rng(0).uniform([-0.25, -0.3], [0.25, 0.5], (MARKUP, 2))
  shape[list(EYES)] = [[-0.5, -0.5], [0.5, -0.5]]
  shape = (shape + shape[flip] * [-1, 1]) / 2

  rng = np.random.default_rng(seed)
  scale = rng.uniform(0.35, 0.5) * min(size)
  angle = rng.uniform(-0.3, 0.3)
  turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
  centre = np.array([size[1], size[0]]) * rng.uniform(0.45, 0.55, 2)
  return scale * shape @ turn + centre


def draw_face(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """(H, W, 3) uint8: the discs are Gaussians, so that their centre of mass is the landmark."""
  colours = np.random.default_rng(1).uniform(0, 90, (len(landmarks), 3))
  colours[list(EYES)] = 220
  rows, columns = np.mgrid[: size[0], : size[1]]

  image = np.zeros((*size, 3))
  for (x, y), colour in zip(landmarks, colours, strict=True):
    disc = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * SIGMA**2))
    image += colour * disc[..., None]
  return np.clip(np.round(image), 0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
  """(H, W, 3) uint8 as the bytes of a file."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, "PNG")
  return file.getvalue()


class TinyFaces(FaceDatasetBuilder, skip_registration=True):
  """Splits `train` and `test`, and `nowhere`: one face whose dataset gives no box."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    return FaceDatasetInfo(builder=self, description="", features=face_features(MARKUP))

  def _split_generators(
    self, dl_manager: Any
  ) -> dict[str, Iterator[tuple[str, Mapping[str, Any]]]]:
    return {
      "train": self._generate_examples("train", 0, TRAIN),
      "test": self._generate_examples("test", 100, TEST),
      "nowhere": self._generate_examples("nowhere", 200, 1),
    }

  def _generate_examples(
    self, split: str, first: int, count: int
  ) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for seed in range(first, first + count):
      size = image_size(seed)
      landmarks = face_landmarks(seed, size)
      box = None
      if split != "nowhere":
        box = np.concatenate([landmarks.min(0) - 3, landmarks.max(0) + 5])

      example = face_example(
        image=png(draw_face(landmarks, size)),
        landmarks=landmarks,
        file_name=f"{split}/{seed:03d}.png",
        box_dataset=box,
      )
      yield str(seed), example


def prepare(data_dir: Path) -> Path:
  """Builds the dataset in a folder and returns it."""
  builder = TinyFaces(data_dir=data_dir)
  builder.download_and_prepare(download_dir=data_dir / "downloads")
  return data_dir


def config(data_dir: Path, **changes: Any) -> ConfigDict:
  """The default config, made `SMALL`.

  Args:
    data_dir: where the dataset is.
    **changes: values of other keys, "." written as "__".
  """
  config = runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]().unlock()
  config.update_from_flattened_dict(
    {
      "data.name": NAME,
      "data.dir": str(data_dir),
      "data.markup": MARKUP,
      **SMALL,
      **{key.replace("__", "."): value for key, value in changes.items()},
    }
  )
  return config.lock()


# The runs of all tests share what they compile, which takes most of their time: in this process
# through these two, with other processes through the folder of JAX's compilation cache.
make_predict = functools.cache(parallel.make_predict)
_train_functions: dict[str, Callable] = {}


def _shared(session: Path) -> Path:
  """The folder of all processes; those that pytest-xdist starts have folders of their own in it."""
  return session.parent if "PYTEST_XDIST_WORKER" in os.environ else session


@contextlib.contextmanager
def _one_process(session: Path, name: str) -> Iterator[None]:
  """Lets one process at a time into what all of them share by this name."""
  with (_shared(session) / f"{name}.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield


@functools.cache
def folder(session: Path) -> Path:
  """Prepares the dataset, once for all processes, and keeps all that is compiled from here on.

  Args:
    session: folder of this session, `tmp_path_factory.getbasetemp()`.

  Returns:
    Where the dataset is; it must not be written to.
  """
  cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(_shared(session) / "compilations")
  os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": cache,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  jax.config.update("jax_compilation_cache_dir", cache)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

  # Without this it stays unused in a process that has compiled something before.
  compilation_cache.reset_cache()
  data_dir = _shared(session) / "tiny_faces"
  with _one_process(session, "tiny_faces"):
    if not data_dir.exists():
      prepare(session / "in_preparation").rename(data_dir)
  return data_dir


# What takes longer than the rest of an evaluation, and is looked at in few of them.
FIGURES = (
  (face_sheets, "draw_first_and_worst"),
  (face_sheets, "draw_failures"),
  (reports, "draw"),
  (curves, "draw_run"),
)


@contextlib.contextmanager
def without_figures() -> Iterator[None]:
  """Runs and evaluations in this process draw nothing."""
  with contextlib.ExitStack() as on_exit:
    for module, name in FIGURES:
      on_exit.enter_context(mock.patch.object(module, name, lambda *_, **__: None))
    yield


def run(
  config: ConfigDict,
  workdir: Path | str,
  *,
  around_step: Callable[[Callable], Callable] = lambda step: step,
) -> dict[str, Any]:
  """`train.train_and_evaluate`.

  Args:
    config: of the run.
    workdir: of the run.
    around_step: puts something around the compiled training step.

  Returns:
    Summary of each split.
  """
  sections = config_json.to_json(config)
  del sections["data"]["cache"]  # another way to the same batches
  for name in ("eval", "train", "checkpoint", "log"):
    del sections[name]
  make = parallel.make_train_step

  def shared(recipe: Any) -> Callable:
    key = json.dumps([sections, recipe.frozen_statistics, recipe.accumulate])
    if key not in _train_functions:
      _train_functions[key] = make(recipe)
    return around_step(_train_functions[key])

  with mock.patch.multiple(parallel, make_train_step=shared, make_predict=make_predict):
    return train.train_and_evaluate(config, workdir)


def run_without_figures(config: ConfigDict, workdir: Path | str, **options: Any) -> dict[str, Any]:
  """`run`, which draws nothing."""
  with without_figures():
    return run(config, workdir, **options)


@functools.cache
def trained(session: Path) -> Path:
  """Workdir of a finished run, made once for all processes; it must not be written to."""
  data_dir, workdir = folder(session), _shared(session) / "trained"
  with _one_process(session, "trained"):
    if not workdir.exists():
      run(config(data_dir), session / "in_training")
      (session / "in_training").rename(workdir)
  return workdir


def last_digest(workdir: Path) -> str:
  """Digest of the newest state on disk."""
  newest = max(
    (path for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()),
    key=lambda path: int(path.name),
  )
  return json.loads((newest / "extra" / "metadata").read_text())["digest"]
