"""The photos that the page has uploaded: the last few, in memory, and nowhere else."""

import secrets
from collections import OrderedDict

import numpy as np

MAX_PHOTOS = 8
# Of all of them together, decoded; a single one may have more, the largest that is read 603 MB.
MAX_BYTES = 400_000_000


class PhotoStore:
  """Images by a name that nobody can guess; the oldest give way to new ones."""

  def __init__(self, *, max_photos: int = MAX_PHOTOS, max_bytes: int = MAX_BYTES):
    self._max_photos = max_photos
    self._max_bytes = max_bytes
    self._images: OrderedDict[str, np.ndarray] = OrderedDict()

  def add(self, image: np.ndarray) -> str:
    """Keeps an image.

    Args:
      image: (H, W, 3) uint8 RGB.

    Returns:
      Its name.
    """
    name = secrets.token_urlsafe(12)
    self._images[name] = image
    while len(self._images) > 1 and self._is_full():
      self._images.popitem(last=False)
    return name

  def get(self, name: str) -> np.ndarray | None:
    """The image (H, W, 3) uint8 of that name, which is now the youngest; None if it is gone."""
    if name in self._images:
      self._images.move_to_end(name)
    return self._images.get(name)

  def __len__(self) -> int:
    return len(self._images)

  def _is_full(self) -> bool:
    num_bytes = sum(image.nbytes for image in self._images.values())
    return len(self) > self._max_photos or num_bytes > self._max_bytes
