"""The fixed hold-out of datasets whose authors name none."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

_EVERY = 10


def hold_out(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
  """Cuts a sequence in two: (held out, kept).

  Every tenth item is held out, beginning with the first. What is in one part depends on the order
  alone, so bad items must keep their place: give None for them.
  """
  kept = [item for index, item in enumerate(items) if index % _EVERY]
  return list(items[::_EVERY]), kept
