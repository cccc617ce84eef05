"""The order of the training images: a function of the seed and the place, without any state."""

import functools
from collections.abc import Sequence

import grain
import numpy as np

from fal_jax.sampling import shares

EPOCHS = 2**32  # endless; grain's own endless repetition overflows in batches of one


def image_order(
  lengths: Sequence[int],
  mixed_shares: Sequence[float],
  *,
  batch_size: int,
  seed: int,
  ahead: int = 0,
) -> grain.MapDataset:
  """Endless epochs of each dataset, every one a new permutation; all have their share of a batch.

  Images are numbered through, from one dataset to the next.

  Args:
    lengths: images of each dataset.
    mixed_shares: share of each dataset but the first, which has what is left of 1.
    batch_size: images per step.
    seed: determines the order.
    ahead: images by which a run is further than `batch_size` times its steps, since it began with
      larger batches (negative: smaller ones).

  Returns:
    The number of the image at each place; `batch_size` places make a step. With `ahead`, places
    that would lie before the first image have no meaning.
  """
  firsts = np.cumsum([0, *lengths]).tolist()
  orders = [
    grain.MapDataset.range(first, first + length).shuffle(seed=(seed + number) % 2**32)
    for number, (first, length) in enumerate(zip(firsts, lengths, strict=False))
  ]
  orders = [order.repeat(EPOCHS) for order in orders]
  places = grain.MapDataset.range(EPOCHS * batch_size)
  if len(orders) == 1:
    return places.map(lambda place: orders[0][place + ahead]) if ahead else orders[0]

  # `grain.MapDataset.mix` meets shares to a hundredth of the smallest only, and in a fixed pattern,
  # of which each process would always see the same part.
  @functools.lru_cache(maxsize=64)
  def batch(step: int) -> np.ndarray:
    before = shares.counts(step * batch_size + ahead, mixed_shares)
    after = shares.counts((step + 1) * batch_size + ahead, mixed_shares)
    images = [
      order[place]
      for order, start, stop in zip(orders, before, after, strict=True)
      for place in range(start, stop)
    ]
    return np.random.default_rng((seed, step)).permutation(images)

  return places.map(lambda place: batch(place // batch_size)[place % batch_size])


def process_share(
  order: grain.MapDataset, *, batch_size: int, process_index: int, process_count: int
) -> grain.MapDataset:
  """The images of one process: of each batch a run of neighbours, as each device has.

  So it does not depend on how many processes drive the devices which images share BatchNorm's
  statistics, where these are not of the whole batch.

  Args:
    order: from `image_order`.
    batch_size: images per step, of all processes; a multiple of `process_count`.
    process_index: which share of each batch.
    process_count: number of shares.

  Returns:
    The number of the image at each place; `batch_size` / `process_count` places make a step.
  """
  size = batch_size // process_count

  def image(place: int) -> int:
    step, row = divmod(place, size)
    return order[step * batch_size + process_index * size + row]

  return grain.MapDataset.range(EPOCHS * size).map(image)
