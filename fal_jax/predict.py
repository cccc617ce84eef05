"""Landmarks on photographs: image and boxes in, points in image pixels out."""

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fal_jax import affine, build, crop, parallel, restore
from fal_jax.build import Setup
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.output import folders
from fal_jax.plots import sheets
from fal_jax.scoring import landmark_csv

MAX_DRAWN_SIZE = 1024  # px
BATCH_SIZE = 8  # faces per call of the network; fixed, so it compiles once
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
  """A trained network, ready for photographs. It needs boxes from any face detector.

  Attributes:
    setup: what the network was trained with: mark-up, crop, codec.
  """

  def __init__(self, setup: Setup, variables: Any):
    self.setup = setup
    self._variables = variables
    self._predict = parallel.make_predict(setup.network, setup.codec)

  @classmethod
  def from_checkpoint(cls, path: str | Path) -> "FaceAligner":
    """Loads the newest checkpoint of a run, with the config it was trained under.

    Args:
      path: the run's `--workdir`, or the `checkpoints` folder in it.

    Returns:
      An aligner with the network of the run.

    Raises:
      InputError: there is no run, or no readable checkpoint.
    """
    workdir = Path(path).expanduser()
    workdir = workdir.parent if workdir.name == "checkpoints" else workdir
    setup = build.setup(restore.saved_config(workdir))
    variables, _ = restore.restore_variables(setup, workdir)
    return cls(setup, variables)

  def __call__(self, image: np.ndarray, boxes: np.ndarray) -> FaceLandmarks:
    """Locates the landmarks of each box.

    Args:
      image: (H, W, 3) uint8 RGB.
      boxes: (N, 4) x0, y0, x1, y1 in image px, around the face from the brows to the chin; may
        reach beyond the image, and N may be 0.

    Returns:
      (N, K, 2) landmarks and (N, K) scores.

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
    size = self.setup.crop.size
    crops_from_image = [crop.crop_from_image(box, self.setup.crop) for box in boxes]
    landmarks = np.zeros((len(boxes), self.setup.markup.num, 2))
    scores = np.zeros(landmarks.shape[:2], np.float32)

    for first in range(0, len(boxes), BATCH_SIZE):
      maps = crops_from_image[first : first + BATCH_SIZE]
      images = np.zeros((BATCH_SIZE, size, size, 3), np.uint8)
      images[: len(maps)] = [crop.extract(image, crop_from_image, size) for crop_from_image in maps]
      landmarks_crop, batch_scores = self._predict(self._variables, images)

      for row, crop_from_image in enumerate(maps):
        image_from_crop = affine.invert(crop_from_image)
        in_crop = landmarks_crop[row].astype(np.float64)
        landmarks[first + row] = affine.apply(image_from_crop, in_crop)
        scores[first + row] = batch_scores[row]

    return FaceLandmarks(landmarks, scores)


def run(workdir: str | Path, images: list[str], box: list[float] | None) -> Path:
  """--mode=predict: writes `predict/predictions.csv` and each image with its points drawn.

  Args:
    workdir: a trained run's folder.
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
      "No --box given: treating each whole image as one face, from brows to chin; "
      "low scores suggest it is not.",
      flush=True,
    )
  directory = folders.make_dir(workdir, "predict")

  predicted = []
  for number, file in enumerate(files):
    image = read_image(file, upright=True)
    height, width = image.shape[:2]
    face = np.array([box or (-0.5, -0.5, width - 0.5, height - 0.5)], np.float64)
    result = aligner(image, face)
    predicted.append(result.landmarks[0])

    small, small_from_image = _at_most(image, MAX_DRAWN_SIZE)
    sheets.draw_faces(
      directory / f"{number:04d}_{file.stem}.jpg",
      [small],
      None,
      affine.apply(small_from_image, result.landmarks),
      markup=aligner.setup.markup,
      titles=[f"{file.name}  mean score {result.scores.mean():.2f}"],
      columns=1,
      scale=1,
    )

  names = [str(file) for file in files]
  landmark_csv.write(directory / "predictions.csv", names, np.stack(predicted))
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
  # Rounding makes the two axes differ a little.
  stretch_x, stretch_y = width / size[0], height / size[1]
  small_from_image = np.array(
    [
      [1 / stretch_x, 0, 0.5 / stretch_x - 0.5],
      [0, 1 / stretch_y, 0.5 / stretch_y - 0.5],
    ]
  )
  return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small_from_image
