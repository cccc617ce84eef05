"""Adam with a learning rate that drops at given epochs."""

import itertools
import math
from collections.abc import Sequence

import optax

from fal_jax.errors import InputError


def adam_with_drops(
  *, learning_rate: float, drop_epochs: Sequence[float], drop_factor: float, steps_per_epoch: float
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """Builds the optimiser and the schedule it follows.

  Source: Bulat et al. 2021, Sec. 5.1: Adam, 1e-4, dropped at epochs 25 and 40 of 50. The factor is
  not stated; 0.1 is usual.

  Args:
    learning_rate: the rate before the first drop.
    drop_epochs: increasing; each multiplies the rate by `drop_factor`. Fractions of an epoch are
      allowed.
    drop_factor: what each drop multiplies the rate by, in (0, 1].
    steps_per_epoch: optimiser steps in one pass over the data, may be fractional.

  Returns:
    The optimiser, and the learning rate as a function of the step.

  Raises:
    InputError: the epochs or the factor are out of range.
  """
  increasing = all(earlier < later for earlier, later in itertools.pairwise((0, *drop_epochs)))
  if not increasing or not all(map(math.isfinite, drop_epochs)):
    raise InputError(
      "optimizer.drop_epochs must be positive, finite and strictly increasing, "
      f"got {tuple(drop_epochs)}."
    )
  if not 0 < drop_factor <= 1:
    raise InputError(f"optimizer.drop_factor must be above 0 and at most 1, got {drop_factor}.")

  boundaries: dict[int, float] = {}
  for epoch in drop_epochs:
    step = max(1, round(epoch * steps_per_epoch))
    # In a short run two drops may fall on one step.
    boundaries[step] = boundaries.get(step, 1.0) * drop_factor

  schedule = optax.piecewise_constant_schedule(learning_rate, boundaries)
  return optax.adam(schedule), schedule
