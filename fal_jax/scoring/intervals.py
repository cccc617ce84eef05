"""Bootstrap intervals: how far a mean over faces would move with other faces of the same kind.

NME, area and failure rate are all means over faces, so one table of values (faces x metrics) and
random counts of how often each face is drawn give all of them in one matrix product. This says how
well a test set of this size tells two networks apart; it knows nothing of annotators, training
seeds, or other datasets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fal_jax.errors import InputError

_BLOCK = 4_000_000  # counts drawn at a time: 32 MB


def bootstrap(
  values: ArrayLike,
  *,
  seed: int,
  groups: Sequence[str] | None = None,
  resamples: int = 2000,
  level: float = 0.95,
) -> np.ndarray:
  """Percentile bootstrap interval of the mean of each column.

  Args:
    values: (N, S) what each of N faces contributes to S means; NaN where it has no part in one.
    seed: seed of the draws; the same seed draws the same faces.
    groups: N names; faces of one name are drawn together. Frames of a video resemble each other, so
      an interval over frames instead of videos would be far too narrow.
    resamples: how many times N faces (or all groups) are drawn with replacement.
    level: fraction of the resamples inside the interval; equally many lie outside on both sides.

  Returns:
    (S, 2) float64, lower and upper end, in the unit of the values.

  Raises:
    InputError: a mean of no face, infinite values, or an argument out of range.
  """
  values = np.asarray(values, np.float64)
  known = ~np.isnan(values)
  if values.ndim != 2 or not len(values) or not known.any(0).all() or np.isinf(values).any():
    raise InputError(
      f"values have shape {values.shape}, expected (faces, metrics), at least one face for each "
      "metric and no infinite number"
    )
  if resamples < 1 or not 0 < level < 1:
    raise InputError(
      f"resamples={resamples} and level={level}: give at least one resample and a level between 0 "
      "and 1"
    )
  names = np.arange(len(values)) if groups is None else np.asarray(groups)
  if names.shape != (len(values),):
    raise InputError(
      f"groups have shape {names.shape}, expected ({len(values)},): one name per face"
    )

  # A drawn mean is a ratio of two sums, and both need only the sums and sizes of the groups.
  distinct, member = np.unique(names, return_inverse=True)
  num_groups = len(distinct)
  sums, sizes = np.zeros((2, num_groups, values.shape[1]))
  for column, (contributions, counts) in enumerate(zip(values.T, known.T, strict=True)):
    sums[:, column] = np.bincount(member[counts], contributions[counts], num_groups)
    sizes[:, column] = np.bincount(member[counts], minlength=num_groups)

  rng = np.random.default_rng(seed)
  chances = np.full(num_groups, 1 / num_groups)
  means = np.empty((resamples, values.shape[1]))
  rows = max(1, _BLOCK // num_groups)
  for first in range(0, resamples, rows):
    size = min(rows, resamples - first)
    drawn = rng.multinomial(num_groups, chances, size=size).astype(np.float64)
    # A draw without any face that has a part in a mean says nothing about it.
    size_drawn = drawn @ sizes
    means[first : first + size] = (drawn @ sums) / np.where(size_drawn > 0, size_drawn, np.nan)
  return np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0).T
