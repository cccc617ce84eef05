"""What each of several datasets has of the images that a run trains on."""

import math
from collections.abc import Sequence
from typing import Any

from fal_jax.errors import InputError


def check(rows: Sequence[Any]) -> None:
  """Checks `config.data.mix`.

  Args:
    rows: (dataset, split, share of the images) of each split beside the main one.

  Raises:
    InputError: a row is something else, a split is named twice, or nothing is left to the main one.
  """
  for row in rows:
    if not isinstance(row, tuple | list) or [type(value) for value in row] != [str, str, float]:
      raise InputError(
        "config.data.mix must hold rows of dataset, split and share of the images, such as "
        f"(('synthetic_faces/68', 'train', 0.25),), got {row!r}."
      )

  shares = [share for _, _, share in rows]
  if not all(share > 0 for share in shares) or not sum(shares) < 1:
    listed = " and ".join(f"{share:g}" for share in shares)
    raise InputError(
      "config.data.mix must have shares above 0 that leave a part of 1 to config.data.name, "
      f"got {listed}."
    )

  splits = [(name, split) for name, split, _ in rows]
  for name, split in splits:
    if splits.count((name, split)) > 1:
      raise InputError(f"config.data.mix names {split!r} of {name!r} twice: write one row.")


def counts(images: int, shares: Sequence[float]) -> list[int]:
  """How many of the first images are of which dataset: its share of them, to an image.

  No count falls when images are added.

  Args:
    images: how many.
    shares: of each dataset but the first, which has what is left of 1.

  Returns:
    A count per dataset, of which `images` is the sum.
  """
  others, images_left, share_left = [], images, 1.0
  for share in shares:
    others.append(math.floor(images_left * (share / share_left)))
    images_left -= others[-1]
    share_left -= share
  return [images_left, *others]
