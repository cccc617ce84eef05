"""Stopping at a step that all processes of a run have in common."""

import contextlib
import threading
from collections.abc import Iterator

import jax

from fal_jax.output import stopping


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
  """`stopping.stop_on_signal` in a process that runs alone.

  Yields:
    The flag for `agreed`. With several processes JAX's runtime has the signal, and tells all of
    them: the flag stays unset.
  """
  if jax.process_count() > 1:
    yield threading.Event()
    return
  with stopping.stop_on_signal() as requested:
    yield requested


def agreed(requested: threading.Event, step: int) -> bool:
  """Whether to stop after this step; the processes of a run all get the same answer.

  Args:
    requested: the flag of a process that runs alone. Of several, each may get a signal: JAX's
      runtime announces it to the others and finds a step that none has passed.
    step: number of updates made; to be asked after each.

  Returns:
    True once.
  """
  if jax.process_count() == 1:
    return requested.is_set()
  from jax.experimental import multihost_utils

  return multihost_utils.reached_preemption_sync_point(step)
