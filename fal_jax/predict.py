"""--mode=predict: photographs in, a file of points and drawings of them out."""

from pathlib import Path

import cv2
import numpy as np

from fal_jax import affine
from fal_jax.align import FaceAligner
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.output import folders
from fal_jax.plots import sheets
from fal_jax.scoring import landmark_csv

MAX_DRAWN_SIZE = 1024  # px
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
