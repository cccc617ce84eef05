"""Adam, and the learning rate that it follows."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import jax
import jax.numpy as jnp

from fal_jax.errors import InputError

if TYPE_CHECKING:
  import optax

Schedule = Literal["drops", "cosine"]
COSINE_END = 0.01  # of the learning rate


def adam(
  *,
  learning_rate: float,
  drop_epochs: Sequence[float],
  drop_factor: float,
  steps_per_epoch: float,
  epochs: float,
  schedule: Schedule = "drops",
  warmup: float = 0.0,
  steps_ahead: float = 0.0,
) -> "tuple[optax.GradientTransformation, optax.Schedule]":
  """Builds the optimiser and the schedule it follows.

  Source: Bulat et al. 2021, Sec. 5.1: Adam, 1e-4, dropped at epochs 25 and 40 of 50. The factor is
  not stated; 0.1 is usual. "cosine" and the warm-up are ours.

  Args:
    learning_rate: the rate before the first drop, or where the cosine begins.
    drop_epochs: increasing; each multiplies the rate by `drop_factor`. Fractions of an epoch are
      allowed.
    drop_factor: what each drop multiplies the rate by, in (0, 1].
    steps_per_epoch: optimiser steps in one pass over the data, may be fractional.
    epochs: length of the run.
    schedule: "drops" at these epochs, or "cosine" from the rate to a hundredth of it at the end.
    warmup: fraction of the run's steps over which the rate rises linearly from zero.
    steps_ahead: by how many of these steps a run is further in its epochs than it has made steps,
      since it began with larger batches (negative: smaller ones); may be fractional.

  Returns:
    The optimiser, and the learning rate as a function of the step.

  Raises:
    InputError: an option is unknown or out of range.
  """
  import optax  # here, since whoever only predicts does not train

  check(drop_epochs=drop_epochs, drop_factor=drop_factor, schedule=schedule, warmup=warmup)

  total_steps = max(1, round(epochs * steps_per_epoch))
  if schedule == "cosine":
    rate = optax.cosine_decay_schedule(learning_rate, total_steps, alpha=COSINE_END)
  else:
    boundaries: dict[int, float] = {}
    for epoch in drop_epochs:
      step = max(1, round(epoch * steps_per_epoch))
      # In a short run two drops may fall on one step.
      boundaries[step] = boundaries.get(step, 1.0) * drop_factor
    rate = optax.piecewise_constant_schedule(learning_rate, boundaries)

  rising_steps = round(warmup * total_steps)
  if rising_steps:
    rate = _rising(rate, rising_steps)
  if steps_ahead:
    rate = _ahead(rate, steps_ahead)
  return optax.adam(rate), rate


def check(
  *, drop_epochs: Sequence[float], drop_factor: float, schedule: Schedule, warmup: float
) -> None:
  """Raises InputError where one of these options of `adam` is unknown or out of range."""
  increasing = all(earlier < later for earlier, later in itertools.pairwise((0, *drop_epochs)))
  if not increasing or not all(map(math.isfinite, drop_epochs)):
    raise InputError(
      "optimizer.drop_epochs must be positive, finite and strictly increasing, "
      f"got {tuple(drop_epochs)}."
    )
  if not 0 < drop_factor <= 1:
    raise InputError(f"optimizer.drop_factor must be above 0 and at most 1, got {drop_factor}.")
  if schedule not in get_args(Schedule):
    raise InputError(
      f"optimizer.schedule is {schedule!r}; choose one of {', '.join(get_args(Schedule))}."
    )
  if not 0 <= warmup < 1:
    raise InputError(f"optimizer.warmup must be at least 0 and below 1, got {warmup}.")


def _rising(rate: "optax.Schedule", steps: int) -> "optax.Schedule":
  """A schedule that is multiplied by 1 / steps, 2 / steps ... 1 at first."""

  def schedule(step: jax.Array | int) -> jax.Array:
    return rate(step) * jnp.minimum((step + 1) / steps, 1)

  return schedule


def _ahead(rate: "optax.Schedule", steps: float) -> "optax.Schedule":
  """A schedule that is further than its step says."""
  return lambda step: rate(step + steps)
