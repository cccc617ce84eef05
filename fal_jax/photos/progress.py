"""How far a long prediction is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from fal_jax.output import metric_log

SECONDS_APART = 10.0  # of two lines in a log

Item = TypeVar("Item")


def progress(
  items: Iterable[Item],
  *,
  unit: str,
  total: int | None = None,
  clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
  """Yields the items, and says on stderr how many are done, how fast, and how long the rest takes.

  Args:
    items: whatever is worked on one after the other.
    unit: what they are, in the plural: "photos", "frames".
    total: how many there are, if that is known.
    clock: monotonic, s; tests pass their own.

  Yields:
    Each item.
  """
  if sys.stderr.isatty():
    from tqdm import tqdm  # not needed in a log, nor for a single photograph

    yield from tqdm(items, total=total, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True)
    return

  # The time is taken from the second item on: the first one waits for compilation.
  start = last = clock()
  for done, item in enumerate(items):
    now = clock()
    if done == 1:
      start = now
    if done > 1 and now - last >= SECONDS_APART:
      last = now
      print(line(done, total, unit, (done - 1) / max(now - start, 1e-9)), file=sys.stderr)
    yield item


def line(done: int, total: int | None, unit: str, rate: float) -> str:
  """ "120/900 frames  13 %  11.2 frames/s  left 1 min 10 s"; without `total`, what is known."""
  if total is None or total < done:  # headers of videos guess
    return f"{done} {unit}  {rate:.1f} {unit}/s"
  left = metric_log.duration((total - done) / rate)
  return f"{done}/{total} {unit}  {100 * done / total:.0f} %  {rate:.1f} {unit}/s  left {left}"


def say(text: str) -> None:
  """Prints a line, above the bar if there is one."""
  if not sys.stderr.isatty():
    print(text, flush=True)
    return
  from tqdm import tqdm

  tqdm.write(text, file=sys.stdout)
