"""The faces that everybody is asked about, as files that every language reads."""

import dataclasses
from pathlib import Path

import numpy as np

from fal_jax import data
from fal_jax.images import read_image
from fal_jax.landmarks import tight_boxes


@dataclasses.dataclass(frozen=True)
class Faces:
  """Annotated faces with their images on disk.

  Attributes:
    ids: N names, as in the truth of --mode=score.
    images: N binary PPM files.
    landmarks: (N, 68, 2) float64, image px.
    boxes: (N, 4) float64 x0, y0, x1, y1, tight around them.
  """

  ids: list[str]
  images: list[Path]
  landmarks: np.ndarray
  boxes: np.ndarray

  def __len__(self) -> int:
    return len(self.ids)

  def every(self, step: int) -> "Faces":
    """Every step-th face, from the first."""
    return Faces(self.ids[::step], self.images[::step], self.landmarks[::step], self.boxes[::step])


def write(folder: Path, split: str, *, data_dir: str, every: int = 1) -> Faces:
  """Writes the images of a split of 300W.

  Args:
    folder: where to; photographs of 300W must not be passed on.
    split: "fit", the training faces, or "val", our hold-out.
    data_dir: where the dataset is prepared.
    every: leaves out all but every so manieth face.

  Returns:
    The faces.

  Raises:
    InputError: it is not prepared.
  """
  source = data.open_split("w300", split, data_dir=data_dir, num_landmarks=68)
  folder.mkdir(parents=True, exist_ok=True)
  ids, images, landmarks = [], [], []
  for row in range(0, len(source), every):
    record = source[row]
    name = data.example_id(record)
    path = folder / f"{split}_{row:04d}.ppm"
    write_ppm(path, read_image(record["image"], name=name))
    ids.append(name)
    images.append(path)
    landmarks.append(record["landmarks"])
  points = np.stack(landmarks).astype(np.float64)
  return Faces(ids, images, points, tight_boxes(points))


def write_ppm(path: Path, image: np.ndarray) -> None:
  """Writes an image as binary PPM: three lines of text, then its bytes.

  Args:
    path: the file.
    image: (H, W, 3) uint8 RGB.
  """
  height, width = image.shape[:2]
  path.write_bytes(f"P6\n{width} {height}\n255\n".encode() + image.tobytes())
