"""A dataset of a dozen drawn "faces" whose landmarks are known to a hundredth of a pixel, and a config to train on it in seconds.

Each face is a constellation of soft discs, one colour for each landmark, on dark ground. The discs' centres are the landmarks, so a
test can measure where a picture really shows a landmark.
"""

import io
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict
from PIL import Image

from fal_jax.landmarks import MARKUPS
from tfds_builders.common.schema import FaceDatasetBuilder, face_example, face_features

ROOT = Path(__file__).parents[1]
NAME = "tiny_faces"
MARKUP = 29
TRAIN, TEST = 12, 11  # images; neither the batch nor the device count of the tests divides the latter
EYES = MARKUPS[MARKUP].outer_eyes  # their discs are white, wider, and far from all others


def face_landmarks(seed: int, size: tuple[int, int]) -> np.ndarray:
  """(K, 2) float64 image px: one constellation, mirror-symmetric, placed at random in an image of `size` rows and columns."""
  rng = np.random.default_rng(0)
  flip = MARKUPS[MARKUP].flip
  shape = rng.uniform([-0.25, -0.3], [0.25, 0.5], (MARKUP, 2))
  shape[list(EYES)] = [[-0.5, -0.5], [0.5, -0.5]]
  shape = (shape + shape[flip] * [-1, 1]) / 2
  rng = np.random.default_rng(seed)
  scale, angle = rng.uniform(0.35, 0.5) * min(size), rng.uniform(-0.3, 0.3)
  turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
  centre = np.array([size[1], size[0]]) * rng.uniform(0.45, 0.55, 2)
  return scale * shape @ turn + centre


def draw_face(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """(H, W, 3) uint8: the discs are Gaussians, so that their centre of mass is the landmark."""
  colours = np.random.default_rng(1).uniform(0, 90, (len(landmarks), 3))
  colours[list(EYES)] = 220
  sigmas = np.full(len(landmarks), 1.5)
  rows, columns = np.mgrid[: size[0], : size[1]]
  image = np.zeros((*size, 3))
  for (x, y), colour, sigma in zip(landmarks, colours, sigmas, strict=True):
    image += colour * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))[..., None]
  return np.clip(np.round(image), 0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
  file = io.BytesIO()
  Image.fromarray(image).save(file, "PNG")
  return file.getvalue()


class TinyFaces(FaceDatasetBuilder, skip_registration=True):
  """Splits `train` and `test`, and `nowhere`: one face whose dataset gives no box."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(builder=self, description="", features=face_features(MARKUP))

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, Mapping[str, Any]]]]:
    return {"train": self._generate_examples("train", 0, TRAIN), "test": self._generate_examples("test", 100, TEST),
            "nowhere": self._generate_examples("nowhere", 200, 1)}  # fmt: skip

  def _generate_examples(self, split: str, first: int, count: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for seed in range(first, first + count):
      size = 70 + seed % 7, 80 + seed % 5
      landmarks = face_landmarks(seed, size)
      box = None if split == "nowhere" else np.concatenate([landmarks.min(0) - 3, landmarks.max(0) + 5])
      yield f"{seed}", face_example(
          image=png(draw_face(landmarks, size)), landmarks=landmarks, file_name=f"{split}/{seed:03d}.png", box_dataset=box
      )


def prepare(data_dir: Path) -> Path:
  """Builds the dataset in a folder and returns it."""
  builder = TinyFaces(data_dir=data_dir)
  builder.download_and_prepare(download_dir=data_dir / "downloads")
  return data_dir


def config(data_dir: Path) -> ConfigDict:
  """Trains a network of 8 features for two epochs of one and a half batches."""
  config = runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]().unlock()
  config.data.name = NAME
  config.data.dir = str(data_dir)
  config.data.markup = MARKUP
  config.crop.size = 64
  config.crop.stored_size = 104
  config.crop.face = 55.0
  config.model.num_stacks = 1
  config.model.features = 8
  config.optimizer.learning_rate = 1e-2
  config.train.batch_size = 8
  config.train.epochs = 4
  config.eval.batch_size = 8
  config.checkpoint.every_steps = 2
  config.log.every_steps = 1
  return config.lock()
