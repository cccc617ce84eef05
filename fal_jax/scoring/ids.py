"""Which id in one file is which in another, where the same image is called by a longer path."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence


def join(wanted: Sequence[str], given: Sequence[str]) -> dict[str, str]:
  """The given id for each wanted one: its equal, or else the only one whose path ends alike.

  `./images/000.png`, `/data/me/images/000.png` and `images\\000.png` all end like `000.png`: what
  they have in common is all of the shorter path. A pair counts only if neither of the two ends like
  any other id, so nothing is guessed.

  Args:
    wanted: ids, each once; what follows "#" is part of them.
    given: the same.

  Returns:
    wanted -> given, for those that have one.
  """
  equal = {*wanted} & {*given}
  matched = {name: name for name in equal}
  if len(equal) == len(wanted) or len(equal) == len(given):
    return matched

  partners = alike(wanted, given)
  others = alike(given, wanted)
  for name in wanted:
    if name not in equal and len(partners[name]) == 1:
      (partner,) = partners[name]
      if partner not in equal and len(others[partner]) == 1:
        matched[name] = partner
  return matched


def alike(names: Iterable[str], others: Iterable[str]) -> dict[str, set[str]]:
  """The ids of which one path is the end of the other.

  Args:
    names: ids.
    others: ids that they are compared with.

  Returns:
    name -> those of the others that end like it.
  """
  names, others = list(names), list(others)
  wholes: dict[tuple[str, ...], list[str]] = {}
  ends: dict[tuple[str, ...], list[str]] = {}
  for other in others:
    first, *rest = _ends(other)
    wholes.setdefault(first, []).append(other)
    for end in (first, *rest):
      ends.setdefault(end, []).append(other)

  # Either the name is an end of the other, or the other is an end of the name.
  found = {}
  for name in names:
    first, *rest = _ends(name)
    shorter = (other for end in rest for other in wholes.get(end, ()))
    found[name] = {*ends.get(first, ()), *shorter}
  return found


def _ends(name: str) -> Iterator[tuple[str, ...]]:
  """The path, then the same without its first folder, and so on down to the name of the file."""
  path = unicodedata.normalize("NFC", name).replace("\\", "/")
  parts = tuple(part for part in path.split("/") if part not in ("", ".")) or (path,)
  return (parts[first:] for first in range(len(parts)))
