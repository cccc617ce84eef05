"""Time of things that run by turns, so that a machine that is slower for a while is slower for all
of them.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Task = Callable[[int], Any]  # does its work so many times, and returns when all is done


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
  """Runs every task once in every round, every other round in reverse.

  Args:
    tasks: by name. Each is first run unseen, once to compile, and once more to find how often it
      must be repeated.
    rounds: how many times each is measured.
    min_seconds: a task that is done sooner is repeated within its turn until that time has
      passed; 0 for no repetition.
    max_repeats: but no more often than this.
    before: by name, what must be done before each turn of a task and does not count.
    clock: seconds, rising; from tests.
    echo: takes a line of progress for each task and round.

  Returns:
    For each task the seconds it took once, one number a round; the same place in two lists is the
    same round.
  """

  def seconds(name: str, repeats: int) -> float:
    if before and name in before:
      before[name]()
    start = clock()
    tasks[name](repeats)
    return (clock() - start) / repeats

  repeats = {}
  for name in tasks:
    first = seconds(name, 1)
    echo(f"{name}: ready after {first:.1f} s")
    once = seconds(name, 1) if min_seconds > 0 else first
    repeats[name] = min(max_repeats, max(1, math.ceil(min_seconds / max(once, 1e-9))))
  found: dict[str, list[float]] = {name: [] for name in tasks}
  for number in range(rounds):
    for name in list(tasks)[:: 1 if number % 2 == 0 else -1]:
      found[name].append(seconds(name, repeats[name]))
    echo(f"round {number + 1} of {rounds}")
  return found


def spread(samples: Sequence[float]) -> dict[str, float]:
  """Median and quartiles, by linear interpolation between the sorted samples.

  Returns:
    `median`, `q1`, `q3`, `least` and `most`.

  Raises:
    ValueError: there are no samples.
  """
  if not samples:
    raise ValueError("a spread needs samples")
  quartiles = (
    statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [samples[0]] * 3
  )
  q1, median, q3 = quartiles
  return {"median": median, "q1": q1, "q3": q3, "least": min(samples), "most": max(samples)}


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
  """One measurement over another, round by round: what slowed down both is in neither."""
  return [a / b for a, b in zip(above, below, strict=True)]
