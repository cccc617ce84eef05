"""Rendered heads whose landmarks are exact, needing no download."""

import functools
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from tfds_builders.common.schema import FaceDatasetBuilder, face_example
from tfds_builders.synthetic_faces.render import render_encoded
from tfds_builders.synthetic_faces.video import render_frame_encoded


@dataclass(eq=False)
class SyntheticFacesConfig(tfds.core.BuilderConfig):
  """What is written.

  The images depend on `seed` and `varied`, not on the mark-up or on how many there are.

  Attributes:
    num_landmarks: mark-up, 68 or 98.
    num_train: examples of the split `train`; 0 for no such split.
    num_test: examples of the split `test`.
    num_frames: of each video, which follow one another; 0 for single photographs.
    seed: seed of the generator.
    annotated: landmarks where an annotator puts them, see `landmark_points`.
    varied: people and cameras over a wider range, see `person.py` and `scene.py`.
    num_processes: renderers at work; 0 means one for every processor. The result is the same for
      any number.
  """

  num_landmarks: int = 68
  num_train: int = 2000
  num_test: int = 400
  num_frames: int = 0
  seed: int = 0
  annotated: bool = False
  varied: bool = False
  num_processes: int = 0


class Builder(FaceDatasetBuilder):
  """Faces rendered from a parametric 3-D head, with 68 (300W) or 98 (WFLW) exact landmarks.

  Nobody is shown: shape, expression, skin, hair and light are drawn at random. Pose, occlusion,
  blur, noise and compression vary as in photographs. The landmarks are points of the 3-D model,
  projected by the camera that made the image; those of the jaw slide to the visible contour.
  `box_dataset` imitates a face detector: the tight box around the 68 landmarks with every side
  moved by a normal deviate of 4 % of the box' size.
  """

  BUILDER_CONFIGS: ClassVar[list[SyntheticFacesConfig]] = [
    SyntheticFacesConfig(
      name="68", description="68 landmarks in the order of 300W.", num_landmarks=68
    ),
    SyntheticFacesConfig(
      name="small",
      description="The first faces of `68` alone, for trials that must not wait.",
      num_train=600,
      num_test=100,
    ),
    SyntheticFacesConfig(
      name="98", description="98 landmarks in the order of WFLW.", num_landmarks=98
    ),
    SyntheticFacesConfig(
      name="large",
      description="68 landmarks, ten times as many faces that vary more, and where 300W has them.",
      num_train=20_000,
      annotated=True,
      varied=True,
    ),
    SyntheticFacesConfig(
      name="video",
      description="24 videos of 40 frames, 25 a second, of people as in `large`; to test on.",
      num_train=0,
      num_test=24 * 40,
      num_frames=40,
      annotated=True,
      varied=True,
    ),
  ]
  LICENSE = "Apache-2.0; no real person is shown."
  KEEP_ORDER = True

  @property
  def num_landmarks(self) -> int:
    num = self.builder_config.num_landmarks
    if num not in (68, 98):
      raise InputError(
        f"synthetic_faces has the mark-ups 68 and 98, got num_landmarks={num}; choose one of them."
      )
    return num

  def extra_features(self) -> Mapping[str, Any]:
    """Those of 300VW, by which evaluation knows videos."""
    if not self.builder_config.num_frames:
      return {}
    return {"video": tfds.features.Text(), "frame": tfds.features.Scalar(dtype=np.int32)}

  def train_flags(self) -> str:
    flags = "--config=configs/demo.py"
    name = self.builder_config.name
    if not self.builder_config.num_train:  # to test the run of `68`
      return f"{flags} --mode=eval --config.eval.name={self.name}/{name}"
    if name == "68":  # the config's own
      return flags
    markup = self.num_landmarks
    return f"{flags} --config.data.name={self.name}/{name} --config.data.markup={markup}"

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, Any]]]:
    del dl_manager
    counts = {"train": self.builder_config.num_train, "test": self.builder_config.num_test}
    return {
      split: self._generate_examples(split, count) for split, count in counts.items() if count
    }

  def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, Any]]:
    config = self.builder_config
    of_split = (config.seed, split, config.num_landmarks)
    options = {"annotated": config.annotated, "varied": config.varied}
    render = (
      functools.partial(render_frame_encoded, *of_split, config.num_frames, **options)
      if config.num_frames
      else functools.partial(render_encoded, *of_split, **options)
    )
    processes = min(config.num_processes or os.cpu_count() or 1, max(count, 1))
    if processes == 1:
      for index in range(count):
        yield index, face_example(**render(index))
      return

    # Spawned, not forked: the parent may hold threads of JAX or OpenCV, and a forked child would
    # inherit their locks.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
      for index, record in enumerate(
        pool.imap(render, range(count), chunksize=config.num_frames or 8)
      ):
        yield index, face_example(**record)
