"""How long the trainings of a table will take."""

from collections.abc import Hashable, Mapping


class Pace:
  """How long trainings take, from those done so far: in proportion to their number of views."""

  def __init__(self) -> None:
    self._views = 0
    self._seconds = 0.0

  def add(self, views: int, seconds: float) -> None:
    """Counts a whole training."""
    self._views += views
    self._seconds += seconds

  def left(self, views: Mapping[Hashable, int]) -> str:
    """How long trainings will take; "" where nothing is known or left.

    Args:
      views: training -> its number of views.

    Returns:
      A part of a sentence.
    """
    if not views or not self._views:
      return ""
    return f"; about {duration(sum(views.values()) * self._seconds / self._views)} left"


def duration(seconds: float) -> str:
  """Seconds as people say them."""
  if seconds < 60:
    return f"{seconds:.0f} s"
  return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
