"""Landmarks on photographs: image and boxes in, points in image pixels out."""

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ml_collections import ConfigDict

from fal_jax import affine, build, crop, evaluate, parallel
from fal_jax.checkpoint import Checkpoints
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.plots import curves as plots

BATCH_SIZE = 8  # the one batch size that compiles; further faces go in further batches
IMAGE_SUFFIXES = (
  ".jpg",
  ".jpeg",
  ".png",
  ".webp",
  ".bmp",
  ".gif",
  ".tif",
  ".tiff",
  ".ppm",
  ".avif",
  ".jp2",
)


@dataclasses.dataclass(frozen=True)
class FaceLandmarks:
  """Landmarks of the faces in one image.

  Attributes:
    landmarks: (N, K, 2) float64, x and y in image px, pixel-centre.
    scores: (N, K) float32, height of each landmark's peak: about 1 where the network is sure, near
      0 where it sees nothing.
  """

  landmarks: np.ndarray
  scores: np.ndarray


class FaceAligner:
  """A trained network, ready for photographs. It brings no face detector: give it anybody's boxes."""

  def __init__(self, config: ConfigDict, variables: Any):
    self.config = config
    self.rule = build.crop_rule(config)
    self._variables = variables
    self._predict = parallel.make_predict(build.model(config, axis_name=None), build.codec(config))

  @classmethod
  def from_checkpoint(cls, path: str | Path) -> "FaceAligner":
    """Loads the newest checkpoint of a run, with the config it was trained under.

    Args:
      path: the run's `--workdir`, or the `checkpoints` folder in it.
    """
    workdir = Path(path).expanduser()
    workdir = workdir.parent if workdir.name == "checkpoints" else workdir
    checkpoints = Checkpoints(workdir, create=False)
    try:
      saved = checkpoints.read_config()
    finally:
      checkpoints.close()
    if saved is None:
      raise InputError(
        f"There is no readable checkpoint in {workdir}: train first, or give the --workdir of a run."
      )
    config = ConfigDict(saved)
    variables, _ = evaluate.restore_variables(config, workdir)
    return cls(config, variables)

  def __call__(self, image: np.ndarray, boxes: np.ndarray) -> FaceLandmarks:
    """Locates the landmarks of each box.

    Args:
      image: (H, W, 3) uint8 RGB.
      boxes: (N, 4) x0, y0, x1, y1 in image px, around the face from the brows to the chin; may
        reach beyond the image, and N may be 0.

    Raises:
      InputError: the image is not uint8 RGB, or a box is inverted, empty or not finite.
    """
    image, boxes = np.asarray(image), np.asarray(boxes, np.float64)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
      raise InputError(
        f"the image must be uint8 RGB of shape (H, W, 3), got {image.dtype} {image.shape}."
      )
    if not image.size:
      raise InputError(f"the image has no pixels, its shape is {image.shape}.")
    if boxes.size == 0:
      boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[-1] != 4:
      raise InputError(
        f"boxes must have shape (N, 4), x0, y0, x1, y1 for each face, got {boxes.shape}."
      )
    crops_from_image = [crop.crop_from_image(box, self.rule) for box in boxes]
    landmarks = np.zeros((len(boxes), self.config.data.markup, 2))
    scores = np.zeros(landmarks.shape[:2], np.float32)
    for first in range(0, len(boxes), BATCH_SIZE):
      maps = crops_from_image[first : first + BATCH_SIZE]
      images = np.zeros((BATCH_SIZE, self.rule.size, self.rule.size, 3), np.uint8)
      images[: len(maps)] = [
        crop.extract(image, crop_from_image, self.rule.size) for crop_from_image in maps
      ]
      landmarks_crop, peaks = self._predict(self._variables, images)
      for row, crop_from_image in enumerate(maps):
        landmarks[first + row] = affine.apply(
          affine.invert(crop_from_image), landmarks_crop[row].astype(np.float64)
        )
        scores[first + row] = peaks[row]
    return FaceLandmarks(landmarks, scores)


def run(workdir: str | Path, images: list[str], box: list[float] | None) -> Path:
  """--mode=predict: writes `predict/predictions.csv` and a picture of each image with its points.

  Args:
    workdir: of a trained run.
    images: image files and folders of them.
    box: x0, y0, x1, y1 of the face, for all images; None takes each image as a whole, which suits
      portraits.

  Returns:
    The folder written to.
  """
  files = _image_files(images)
  aligner = FaceAligner.from_checkpoint(workdir)
  if box is None:
    print(
      "No --box given: each image is taken as one face from brows to chin. Low scores mean that it is not.",
      flush=True,
    )
  directory = Path(workdir).expanduser() / "predict"
  directory.mkdir(parents=True, exist_ok=True)
  found = []
  for number, file in enumerate(files):
    image = read_image(file, upright=True)
    height, width = image.shape[:2]
    face = np.array([box or (-0.5, -0.5, width - 0.5, height - 0.5)], np.float64)
    result = aligner(image, face)
    found.append(result.landmarks[0])
    drawn, drawn_from_image = _at_most(image, 1024)
    points = affine.apply(drawn_from_image, result.landmarks)
    title = f"{file.name}  mean score {result.scores.mean():.2f}"
    picture = directory / f"{number:04d}_{file.stem}.jpg"
    plots.draw_faces(
      picture,
      [drawn],
      None,
      points,
      markup=build.markup(aligner.config),
      titles=[title],
      columns=1,
      scale=1,
    )
  evaluate.write_predictions(
    directory / "predictions.csv", [str(file) for file in files], np.stack(found)
  )
  return directory


def _image_files(paths: list[str]) -> list[Path]:
  """Files as given; of folders, whatever is named like an image, in order of names."""
  files: list[Path] = []
  for path in (Path(path).expanduser() for path in paths):
    if path.is_dir():
      inside = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
      if not inside:
        raise InputError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
      files += inside
    else:
      files.append(path)
  if not files:
    raise InputError("No image given: name files or folders with --images=photo.jpg,folder.")
  return files


def _at_most(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
  """The image shrunk to at most `side` px, and the (2, 3) map to it."""
  height, width = image.shape[:2]
  stride = max(height, width) / side
  if stride <= 1:
    return image, affine.shrink(1)
  size = round(width / stride), round(height / stride)
  stretch = np.array(
    [width / size[0], height / size[1]]
  )  # rounding makes the two axes differ a little
  small = np.array(
    [[1 / stretch[0], 0, 0.5 / stretch[0] - 0.5], [0, 1 / stretch[1], 0.5 / stretch[1] - 0.5]]
  )
  return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small
