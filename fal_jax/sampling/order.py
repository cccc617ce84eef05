"""The order of the training images: a function of the seed and the place, without any state."""

import functools
from collections.abc import Sequence

import grain
import numpy as np

from fal_jax.sampling import shares

EPOCHS = 2**32  # endless; grain's own endless repetition overflows in batches of one


def image_order(
  lengths: Sequence[int], mixed_shares: Sequence[float], *, batch_size: int, seed: int
) -> grain.MapDataset:
  """Endless epochs of each dataset, every one a new permutation; all have their share of a batch.

  Images are numbered through, from one dataset to the next.

  Args:
    lengths: images of each dataset.
    mixed_shares: share of each dataset but the first, which has what is left of 1.
    batch_size: images per step.
    seed: determines the order.

  Returns:
    The number of the image at each place; `batch_size` places make a step.
  """
  firsts = np.cumsum([0, *lengths]).tolist()
  orders = [
    grain.MapDataset.range(first, first + length).shuffle(seed=(seed + number) % 2**32)
    for number, (first, length) in enumerate(zip(firsts, lengths, strict=False))
  ]
  orders = [order.repeat(EPOCHS) for order in orders]
  if len(orders) == 1:
    return orders[0]

  # `grain.MapDataset.mix` meets shares to a hundredth of the smallest only, and in a fixed pattern,
  # of which each process would always see the same part.
  @functools.lru_cache(maxsize=64)
  def batch(step: int) -> np.ndarray:
    before = shares.counts(step * batch_size, mixed_shares)
    after = shares.counts((step + 1) * batch_size, mixed_shares)
    images = [
      order[place]
      for order, start, stop in zip(orders, before, after, strict=True)
      for place in range(start, stop)
    ]
    return np.random.default_rng((seed, step)).permutation(images)

  places = grain.MapDataset.range(EPOCHS * batch_size)
  return places.map(lambda place: batch(place // batch_size)[place % batch_size])
