"""Markdown tables whose columns also line up on a screen."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """An aligned table: the first column to the left, all others to the right."""
  widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
  rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

  def line(cells: Sequence[str]) -> str:
    aligned = [cells[0].ljust(widths[0])]
    aligned += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join(aligned)} |"

  return "\n".join(map(line, (head, rule, *rows)))
