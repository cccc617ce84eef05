"""Which annotations of a COCO file are the mark-up's, and in which order they give its landmarks.

A file may hold other things beside faces, and name its key-points in another order or spelling.
Names decide wherever there are any: landmarks taken by position alone would silently be others.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fal_jax.errors import InputError, join_names
from fal_jax.landmarks import Markup
from tfds_builders.common.validate import Finding

_SHOWN = 12  # names in a message
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_MAX_DIGITS = 6  # of a number at the end of a name


@dataclasses.dataclass(frozen=True)
class Category:
  """One category of a file.

  Attributes:
    id: as text; "" for that of a file without categories.
    name: its name.
    keypoints: names of its key-points; empty where the file gives none.
    num: how many key-points its annotations have: that of the names, or else of the first
      annotation that has any; 0 where none has.
    faces: how many annotations it has.
  """

  id: str
  name: str
  keypoints: tuple[str, ...]
  num: int
  faces: int

  def __str__(self) -> str:
    names = join_names(self.keypoints, limit=_SHOWN) or f"{self.num} key-points without names"
    return f"{self.name!r} ({names if self.num else 'no key-points'})"


def read_categories(rows: Sequence[Any], annotations: Sequence[Any]) -> list[Category]:
  """The categories of a file; a single one where it declares none.

  Args:
    rows: its list `categories`.
    annotations: its list `annotations`.

  Returns:
    The categories.

  Raises:
    InputError: a row is not a category, or two have one id.
  """
  faces = [face for face in annotations if isinstance(face, dict)]
  if not rows:
    return [_category("", "", (), faces)]

  categories: dict[str, Category] = {}
  for row, category in enumerate(rows):
    identifier = category.get("id") if isinstance(category, dict) else None
    if not isinstance(identifier, int | str):
      raise InputError(f"categories[{row}] is {str(category)[:80]}, expected an id and a name.")

    key = str(identifier)
    if key in categories:
      raise InputError(f"the id {identifier!r} belongs to two categories.")
    names = category.get("keypoints")
    keypoints = tuple(str(name)[:60] for name in names) if isinstance(names, list) else ()
    own = [face for face in faces if _id_of(face, only=len(rows) == 1, default=key) == key]
    categories[key] = _category(key, str(category.get("name", key))[:60], keypoints, own)
  return list(categories.values())


def category_of(face: dict[str, Any], categories: Sequence[Category]) -> Category | None:
  """The category of an annotation; None if it names none of them."""
  default = categories[0].id
  identifier = _id_of(face, only=len(categories) == 1, default=default)
  if not default:  # the file declares none
    return categories[0]
  return next((category for category in categories if category.id == identifier), None)


def choose(
  categories: Sequence[Category],
  *,
  markup: Markup,
  wanted: Sequence[str],
  file: str,
  findings: list[Finding],
) -> dict[str, np.ndarray]:
  """The categories whose annotations are taken.

  Those that the user names; or the one whose key-points have the mark-up's names; or, for a mark-up
  without names of its own, the only one with its number of key-points.

  Args:
    categories: all of the file.
    markup: the mark-up.
    wanted: names or ids of categories that the mark-up file gives.
    file: what findings call the file.
    findings: what is to be said about names is added here.

  Returns:
    id -> (K,) int, the key-point of the file that is each landmark of the mark-up.

  Raises:
    InputError: there is none, or several, or its names contradict those of the mark-up.
  """
  if wanted:
    chosen = [_wanted(item, categories) for item in wanted]
    for category in chosen:
      if category.num != markup.num:
        raise InputError(
          f"the category {category} has {category.num} key-points, but the mark-up has "
          f"{markup.num} landmarks."
        )
  else:
    chosen = [_only(categories, markup)]
  return {category.id: _order(category, markup, file, findings) for category in chosen}


def _category(key: str, name: str, keypoints: tuple[str, ...], faces: Sequence[Any]) -> Category:
  lengths = (
    len(values) // 3 for face in faces if isinstance(values := face.get("keypoints"), list)
  )
  num = len(keypoints) or next((length for length in lengths if length), 0)
  return Category(key, name, keypoints, num, len(faces))


def _id_of(face: dict[str, Any], *, only: bool, default: str) -> str:
  """The id that an annotation gives; that of the only category where it gives none."""
  identifier = face.get("category_id")
  return default if identifier is None and only else str(identifier)


def _wanted(item: str, categories: Sequence[Category]) -> Category:
  """The category of that name or id."""
  for matches in (
    [category for category in categories if category.name == item],
    [category for category in categories if category.id == item],
    [category for category in categories if _plain(category.name) == _plain(item)],
  ):
    if len(matches) == 1:
      return matches[0]
  raise InputError(f"there is no category {item!r}; {_described(categories)}.")


def _only(categories: Sequence[Category], markup: Markup) -> Category:
  """The one category that the mark-up must mean."""
  with_points = [category for category in categories if category.num]
  names_of = _names(markup)

  matches = [category for category in with_points if category.num == markup.num]
  if names_of:
    for spelling in _SPELLINGS:
      same = [each for each in matches if _match(each.keypoints, names_of, spelling) is not None]
      if same:
        matches = same
        break
    else:  # one whose names differ is taken only if nothing else can be meant
      matches = matches if len(with_points) == 1 else []

  used = [category for category in matches if category.faces]
  if len(used or matches) == 1:
    return (used or matches)[0]

  which = f"{len(matches)} categories have" if matches else "no category has"
  what = f"the {markup.num} landmarks of the mark-up"
  if names_of:
    what += f" ({join_names(names_of, limit=_SHOWN)})"
  raise InputError(
    f"{which} {what}; {_described(categories)}; write `category: NAME` into markup.yaml to choose."
  )


def _described(categories: Sequence[Category]) -> str:
  """All categories of the file, for a message."""
  if not categories[0].id:
    return f"the file has no categories and annotations of {categories[0].num} key-points"
  return f"the file has {join_names([str(category) for category in categories], limit=8)}"


def _names(markup: Markup) -> tuple[str, ...]:
  """The names that a user gave the landmarks; none if they are only counted.

  Those of the library's mark-ups are ours, other tools have never heard of them.
  """
  is_ours = markup.mirror is None
  is_counted = all(name == f"landmark_{k}" for k, name in enumerate(markup.names))
  return () if is_ours or is_counted else markup.names


def _order(category: Category, markup: Markup, file: str, findings: list[Finding]) -> np.ndarray:
  """(K,) int, the key-point that is each landmark, by name; says where names are not equal."""
  names, found = _names(markup), category.keypoints
  in_turn = np.arange(markup.num)
  if not names:
    return in_turn

  def say(severity: Any, message: str) -> None:
    findings.append(Finding(file, message, severity))

  if not found:
    say("note", "its key-points have no names: their order is taken to be that of the mark-up")
    return in_turn

  for spelling, said in _SPELLINGS.items():
    order = _match(found, names, spelling)
    if order is None:
      continue
    pairs = [
      f"{found[row]} is {name}"
      for row, name in zip(order, names, strict=True)
      if found[row] != name
    ]
    if said:
      severity, what = said
      say(severity, f"{what}: {join_names(pairs, limit=_SHOWN)}")
    if (order != in_turn).any():
      say("note", f"key-points are put into the mark-up's order: {join_names(names, limit=_SHOWN)}")
    return order

  both = (
    f"{join_names(found, limit=_SHOWN)} in the file, {join_names(names, limit=_SHOWN)} in "
    "markup.yaml"
  )
  if contradiction := next(_contradictions(found, names), None):
    raise InputError(
      f"{contradiction}: {both}; write the file's names into `landmarks` of markup.yaml, in the "
      "order of the file."
    )
  if _is_numbered(found):
    say("note", "its key-points are numbered: their order is taken to be that of the mark-up")
  else:
    say(
      "warning",
      f"the names of key-points are not the mark-up's, so nothing tells whether their order is: "
      f"{both}",
    )
  return in_turn


def _contradictions(found: Sequence[str], names: Sequence[str]) -> Iterator[str]:
  """Why key-points, some of whose names differ, cannot be in the mark-up's order."""
  place_of = {_sorted_words(name): k for k, name in enumerate(names)}
  for k, (theirs, ours) in enumerate(zip(found, names, strict=True)):
    place = place_of.get(_sorted_words(theirs), k)
    if place != k:
      yield f"key-point {k} is {theirs!r} but landmark {place} is {names[place]!r}"
    sides = [{_SIDES[word] for word in _words(name) if word in _SIDES} for name in (theirs, ours)]
    if all(sides) and sides[0] != sides[1]:
      yield f"key-point {k} is {theirs!r} but landmark {k} is {ours!r}, of the other side"


def _match(
  found: Sequence[str], names: Sequence[str], spelling: Callable[[str], Any]
) -> np.ndarray | None:
  """(K,) int, the place of each name among those found, all of them spelled anew; or None."""
  theirs, ours = [spelling(name) for name in found], [spelling(name) for name in names]
  if len(theirs) != len(ours) or set(theirs) != set(ours) or len(set(ours)) != len(ours):
    return None
  place = {name: row for row, name in enumerate(theirs)}
  return np.array([place[name] for name in ours])


def _is_numbered(names: Sequence[str]) -> bool:
  """Whether names only count, "1", "2", ... or "point_0", "point_1", ..."""
  parts = []
  for name in names:
    prefix = name.rstrip("0123456789")
    digits = name[len(prefix) :]
    if not 0 < len(digits) <= _MAX_DIGITS:
      return False
    parts.append((prefix, int(digits)))
  prefix, first = parts[0]
  return parts == [(prefix, first + k) for k in range(len(parts))]


def _words(name: str) -> list[str]:
  """The words of a name, in small letters: "Left-Eye", "leftEye" and "left eye" have two."""
  apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
  return [word for word in re.split(r"[\W_]+", apart.casefold()) if word]


def _plain(name: str) -> str:
  return "".join(_words(name))


def _sorted_words(name: str) -> tuple[str, ...]:
  return tuple(sorted(_words(name)))


# From the strictest to the laxest: how names are compared, and what is said of them then.
_SPELLINGS: dict[Callable[[str], Any], tuple[str, str] | None] = {
  str: None,
  _plain: ("note", "key-points are known by their names, which are spelled otherwise"),
  _sorted_words: (
    "warning",
    "the names of key-points are the mark-up's with their words in another order",
  ),
}
