"""Times tasks by turns, so that a spell in which the machine is slow affects all of them alike."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Task = Callable[[int], Any]  # repeats its work that many times, and returns when all of it is done


def interleaved(
  tasks: Mapping[str, Task],
  *,
  rounds: int,
  min_seconds: float = 0.02,
  max_repeats: int = 200,
  before: Mapping[str, Callable[[], Any]] | None = None,
  clock: Callable[[], float] = time.perf_counter,
  echo: Callable[[str], None] = lambda line: None,
) -> dict[str, list[float]]:
  """Runs every task once per round, in reverse order every other round.

  Args:
    tasks: name -> task. Each first runs unmeasured: once to compile, and once more to find out how
      often it must be repeated.
    rounds: how often each task is measured.
    min_seconds: a task that takes less is repeated within its turn until this time has passed; 0
      for no repetition.
    max_repeats: the most repeats within one turn.
    before: name -> what must happen before each turn of a task and is not measured.
    clock: returns seconds, rising; replaced by tests.
    echo: progress callback, called per task and round.

  Returns:
    For each task the seconds that one repeat took, one value per round; equal positions in two
    lists are of the same round.
  """

  def measure(name: str, repeats: int) -> float:
    if before and name in before:
      before[name]()
    start = clock()
    tasks[name](repeats)
    return (clock() - start) / repeats

  repeats = {}
  for name in tasks:
    first = measure(name, 1)
    echo(f"{name}: ready after {first:.1f} s")

    # The first call has compiled; only a second one tells how long the work itself takes.
    once = measure(name, 1) if min_seconds > 0 else first
    needed = math.ceil(min_seconds / max(once, 1e-9))
    repeats[name] = min(max_repeats, max(1, needed))

  samples: dict[str, list[float]] = {name: [] for name in tasks}
  names = list(tasks)
  for number in range(rounds):
    for name in names if number % 2 == 0 else reversed(names):
      samples[name].append(measure(name, repeats[name]))
    echo(f"round {number + 1} of {rounds}")
  return samples


def spread(samples: Sequence[float]) -> dict[str, float]:
  """Median, quartiles and extremes.

  Args:
    samples: at least one. Quartiles are interpolated linearly between the sorted samples.

  Returns:
    `median`, `q1`, `q3`, `min` and `max`.

  Raises:
    ValueError: there are no samples.
  """
  if not samples:
    raise ValueError("a spread needs samples")

  q1 = median = q3 = samples[0]
  if len(samples) > 1:
    q1, median, q3 = statistics.quantiles(samples, n=4, method="inclusive")
  return {"median": median, "q1": q1, "q3": q3, "min": min(samples), "max": max(samples)}


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
  """One measurement over another, round by round: a slowdown of both cancels out."""
  return [a / b for a, b in zip(numerators, denominators, strict=True)]
