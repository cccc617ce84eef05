"""The first batches of a training."""

import itertools

from fal_jax import data


def first(source, count, **options):
  """The first `count` batches of `data.train_batches`, which is closed."""
  batches = data.train_batches(source, **options)
  try:
    return list(itertools.islice(batches, count))
  finally:
    batches.close()
