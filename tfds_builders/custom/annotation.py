"""One annotated face as the readers of the three formats give it, and the image that it names."""

import dataclasses
from pathlib import Path, PurePosixPath

import numpy as np

from fal_jax.errors import InputError

# The folder in which images are looked for that do not lie where an annotation file says.
IMAGES = "images"


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
  """One face.

  Attributes:
    where: file and line, for messages.
    image: as the annotation file names it.
    landmarks: (K, 2) float64, image px, pixel-centre, 0-based; NaN where not annotated. None if
      they cannot be read: a finding says so, but the face keeps its number among those of its
      image, and its image its place in the hold-out.
    box: (4,) float64 x0, y0, x1, y1, image px.
    visible: (K,) bool.
    split: where the file gives one.
    size: (width, height) of the image as the file gives it.
  """

  where: str
  image: str
  landmarks: np.ndarray | None
  box: np.ndarray | None = None
  visible: np.ndarray | None = None
  split: str | None = None
  size: tuple[int, int] | None = None


def find_image(root: Path, name: str) -> Path:
  """The image of that name below the dataset's folder, or below `images/` in it.

  A symbolic link is followed, since the folder is the user's own: `images` may be a link to another
  disk.

  Args:
    root: the dataset's folder.
    name: as an annotation file gives it.

  Returns:
    The image's path.

  Raises:
    InputError: there is none, or it is outside the folder.
  """
  path = PurePosixPath(name)
  if not name.strip():
    raise InputError("missing image name")
  if "\\" in name:
    raise InputError(f"the image {name!r} is written with backslashes, expected / between folders")
  if path.is_absolute() or ".." in path.parts or "\0" in name:
    raise InputError(
      f"the image {name!r} is outside the dataset's folder, expected its path below it"
    )

  for folder in (root, root / IMAGES):
    if (folder / path).is_file():
      return folder / path
  raise InputError(f"there is no image {name!r}, neither here nor in {IMAGES}/")
