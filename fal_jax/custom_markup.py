"""Mark-ups of users: written as plain data in a YAML file, and as JSON in a run's config.

The config holds all of it, so a run no longer needs the file. Both are read by `parse_markup`,
which names every mistake at once. The keys, of which `mirror` is never guessed because a wrong one
silently corrupts training:

  landmarks   how many there are, or their names in the order of the files
  mirror      pairs that change places in a mirror; a landmark in no pair keeps its number
  lines       to draw: landmarks to join in turn; may be left out
  outer_eyes  the outer eye corners, right and left; without them there is no nme_ic
  pupils      right and left: a landmark, or a list of those whose mean is the eye's centre; without
              them there is no nme_ip

A landmark is given by its number, from 0, or by its name.
"""

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fal_jax.errors import InputError, cut, join_findings, join_names
from fal_jax.landmarks import Edge, Markup, markup
from fal_jax.parsing import limits, plain_json
from fal_jax.parsing.plain_yaml import read_yaml

KEYS = ("landmarks", "mirror", "lines", "outer_eyes", "pupils")
FILE_KEYS = ("name", "origin", "markup", "upright", "range", "category")  # of a file only
ORIGINS = (0, 0.5, 1)
_MAX_PROBLEMS = 8  # that a message tells
_MAX_VALUE = 1e12  # of a pixel; NaN and infinity are above
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class MarkupFile:
  """The content of a user's YAML file.

  Attributes:
    name: name of the dataset.
    origin: what the files call the coordinate of the first pixel's centre: 0, 1, or 0.5 when they
      count from its corner.
    markup: the mark-up.
    is_custom: False where the file names one of the library's.
    upright: whether landmarks were set on images turned as their EXIF orientation says; None where
      the file does not tell.
    value_range: of images of more than 8 bits per channel, the values that become black and white.
    categories: names or numbers of the categories of a COCO file whose annotations are taken.
  """

  name: str
  origin: float
  markup: Markup
  is_custom: bool
  upright: bool | None = None
  value_range: tuple[float, float] | None = None
  categories: tuple[str, ...] = ()


def read_file(path: str | Path) -> MarkupFile:
  """Reads a YAML file: `name`, `origin`, the keys of a mark-up or `markup: 68`, and optional ones.

  Args:
    path: the file to read; `~` is expanded.

  Returns:
    What the file says, checked.

  Raises:
    InputError: the file cannot be read, is not plain YAML, or has mistakes: lists all of them.
  """
  content = read_yaml(Path(path).expanduser())
  known = (*FILE_KEYS, *KEYS)
  unknown = [key for key in content if key not in known]
  problems = _unknown(unknown, known)
  for key in unknown:
    del content[key]

  name = content.pop("name", None)
  if not isinstance(name, str) or not _NAME.fullmatch(name):
    problems.append(
      f"name is {_repr(name)}, expected letters, digits and _, beginning with a letter"
    )

  origin = content.pop("origin", None)
  if isinstance(origin, bool) or origin not in ORIGINS:
    problems.append(
      f"origin is {_repr(origin)}, expected the coordinate of the first pixel's centre "
      "in your files, 0, 0.5 or 1"
    )

  upright = content.pop("upright", None)
  if not isinstance(upright, bool | None):
    problems.append(
      f"upright is {_repr(upright)}, expected true if the landmarks were set on images turned as "
      "their EXIF orientation says, false if on the stored pixels"
    )
  value_range = _parse_range(content.pop("range", None), problems)
  categories = _parse_categories(content.pop("category", None), problems)

  is_custom = "markup" not in content
  scheme = _parse_markup(content, problems) if is_custom else _builtin(content, problems)
  if problems or scheme is None:
    raise InputError(f"{path}: {join_findings(problems, limit=_MAX_PROBLEMS)}.")
  return MarkupFile(
    name=str(name),
    origin=float(origin),
    markup=scheme,
    is_custom=is_custom,
    upright=upright,
    value_range=value_range,
    categories=categories,
  )


def parse_markup(description: Mapping[str, Any]) -> Markup:
  """The mark-up that plain data describe.

  Args:
    description: the keys of this module's docstring.

  Returns:
    The mark-up, with pairs of `mirror` instead of names with sides.

  Raises:
    InputError: with the first mistakes, separated by semicolons, and how many more there are.
  """
  problems: list[str] = []
  scheme = _parse_markup(description, problems)
  if problems or scheme is None:
    raise InputError(join_findings(problems, limit=_MAX_PROBLEMS))
  return scheme


def _parse_markup(description: Mapping[str, Any], problems: list[str]) -> Markup | None:
  """The mark-up; none, and what is wrong with it, if the description does not say one."""
  problems += _unknown([key for key in description if key not in KEYS], KEYS)

  names = _parse_names(description.get("landmarks"), problems)
  if not names:  # nothing else can be checked
    return None

  parser = _Parser(names, problems)
  mirror = parser.mirror(description.get("mirror"))
  edges = parser.edges(description.get("lines"))
  outer_eyes = parser.outer_eyes(description.get("outer_eyes"))
  pupils = parser.pupils(description.get("pupils"))

  return None if problems else Markup(names, edges, outer_eyes, pupils, mirror)


def to_dict(markup: Markup) -> dict[str, Any]:
  """Plain data from which `parse_markup` makes an equal mark-up; equal for equal mark-ups."""
  description: dict[str, Any] = {
    "landmarks": list(markup.names),
    "mirror": [[k, int(other)] for k, other in enumerate(markup.flip) if k < other],
    "lines": [list(edge) for edge in markup.edges],
  }
  if markup.outer_eyes:
    description["outer_eyes"] = list(markup.outer_eyes)
  if markup.pupils:
    description["pupils"] = [list(pupil) for pupil in markup.pupils]
  return description


def to_json(markup: Markup) -> str:
  """`to_dict` in one line, as it stands in a config."""
  return json.dumps(to_dict(markup))


def from_json(text: str) -> Markup:
  """The reverse of `to_json`.

  Raises:
    InputError: the text is not what `to_json` writes.
  """
  try:
    description = plain_json.loads(text)
  except ValueError as error:
    raise InputError(f"it is not valid JSON ({cut(str(error))})") from error

  if not isinstance(description, dict):
    raise InputError(f"it is {_repr(description)}, expected keys and values")
  return parse_markup(description)


def _builtin(content: Mapping[str, Any], problems: list[str]) -> Markup | None:
  """The mark-up of the library that `markup: 68` names; none, and a problem, if it names none."""
  num = content["markup"]
  if others := [key for key in content if key != "markup"]:
    problems.append(f"markup stands for all of its landmarks, so leave out {_reprs(others)}")
  elif type(num) is not int:
    problems.append(f"markup is {_repr(num)}, expected a number of landmarks such as 68")
  else:
    try:
      return markup(num)
    except InputError as error:
      problems.append(str(error))
  return None


def _unknown(keys: Sequence[Any], known: Sequence[str]) -> list[str]:
  """A problem, if there are keys that are not known."""
  word = "key" if len(keys) == 1 else "keys"
  return [f"unknown {word} {_reprs(keys)}, known are {', '.join(known)}"] if keys else []


def _parse_range(value: Any, problems: list[str]) -> tuple[float, float] | None:
  """Two numbers, the lower first; none, and a problem, if the value is not that."""
  if value is None:
    return None
  numbers = value if isinstance(value, list) else []
  finite = [float(x) for x in numbers if type(x) in (int, float) and abs(x) < _MAX_VALUE]
  if len(numbers) == len(finite) == 2 and finite[0] < finite[1]:
    return finite[0], finite[1]
  problems.append(
    f"range is {_repr(value)}, expected two numbers [low, high]: of 16-bit images, the values that "
    "become black and white"
  )
  return None


def _parse_categories(value: Any, problems: list[str]) -> tuple[str, ...]:
  """Names or numbers of categories, one or a list; none, and a problem, if they are not that."""
  if value is None:
    return ()
  items = value if isinstance(value, list) else [value]
  if items and all(type(item) in (int, str) for item in items):
    return tuple(map(str, items))
  problems.append(
    f"category is {_repr(value)}, expected the name of a category of annotations.json, "
    "or a list of names"
  )
  return ()


def _parse_names(value: Any, problems: list[str]) -> tuple[str, ...]:
  """Names of the landmarks; none, and a problem, if the value does not say them."""
  if type(value) is int and 1 <= value <= limits.MAX_LANDMARKS:
    return tuple(f"landmark_{k}" for k in range(value))

  if not isinstance(value, list) or not 1 <= len(value) <= limits.MAX_LANDMARKS:
    problems.append(
      f"landmarks is {_repr(value)}, expected their number, from 1 to {limits.MAX_LANDMARKS}, "
      "or a list of their names"
    )
    return ()

  if wrong := [item for item in value if not isinstance(item, str) or not item.strip()]:
    problems.append(f"landmarks holds {_reprs(wrong)}, expected names: put them in quotation marks")
    return ()

  if repeated := sorted({name for name in value if value.count(name) > 1}):
    problems.append(f"landmarks holds {_reprs(repeated)} more than once")
    return ()

  return tuple(value)


@dataclasses.dataclass(frozen=True)
class _Parser:
  """Reads the values of a description, and collects what is wrong with them.

  Attributes:
    names: names of the landmarks.
    problems: found so far; the methods add theirs.
  """

  names: tuple[str, ...]
  problems: list[str]

  @functools.cached_property
  def _index(self) -> dict[str, int]:
    return {name: k for k, name in enumerate(self.names)}

  def mirror(self, value: Any) -> tuple[Edge, ...]:
    """Pairs that change places; a landmark may be in one pair only."""
    if not isinstance(value, list):
      self.problems.append(
        f"mirror is {_repr(value)}, expected a list of pairs that change places in a mirror, "
        "[] if none do"
      )
      return ()

    mirror: list[Edge] = []
    pair_of: dict[int, int] = {}
    for row, item in enumerate(value):
      pair = self._landmarks(item, f"mirror pair {row}", at_least=2, at_most=2)
      if not pair:
        continue

      mirror.append((pair[0], pair[1]))
      if pair[0] == pair[1]:
        self.problems.append(
          f"mirror pair {row} is {_repr(item)}, a landmark with itself: leave it out"
        )
      for k in sorted(set(pair)):
        if pair_of.setdefault(k, row) != row:
          self.problems.append(
            f"landmark {self._describe(k)} is in the mirror pairs {pair_of[k]} and {row}"
          )
    return tuple(mirror)

  def edges(self, value: Any) -> tuple[Edge, ...]:
    """The edges of all lines, each once."""
    value = value or []
    if not isinstance(value, list):
      self.problems.append(f"lines is {_repr(value)}, expected a list of lists")
      return ()

    edges: list[Edge] = []
    for row, item in enumerate(value):
      line = list(itertools.pairwise(self._landmarks(item, f"line {row}", at_least=2)))
      edges += line
      if any(a == b for a, b in line):
        self.problems.append(f"line {row} joins a landmark with itself")
    return tuple(dict.fromkeys(edges))

  def outer_eyes(self, value: Any) -> Edge | None:
    """Outer corners of the right and the left eye, two different landmarks."""
    if value is None:
      return None
    corners = self._landmarks(value, "outer_eyes", at_least=2, at_most=2)
    if not corners:
      return None

    right, left = corners
    if right == left:
      self.problems.append(f"outer_eyes are one landmark, {self._describe(right)}, twice")
    return right, left

  def pupils(self, value: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The landmarks around the centres of the right and the left eye."""
    if value is None:
      return None
    if not isinstance(value, list) or len(value) != 2:
      self.problems.append(f"pupils is {_repr(value)}, expected two, right and left")
      return None

    right, left = (
      self._landmarks(item if isinstance(item, list) else [item], "pupils", at_least=1)
      for item in value
    )
    if right and set(right) == set(left):
      self.problems.append("both pupils are the same landmarks")
    return right, left

  def _landmarks(
    self, value: Any, where: str, *, at_least: int, at_most: int | None = None
  ) -> tuple[int, ...]:
    """Numbers of the landmarks in a list; none, and a problem, if the list is wrong."""
    too_many = at_most is not None and isinstance(value, list) and len(value) > at_most
    if not isinstance(value, list) or len(value) < at_least or too_many:
      count = f"{at_least}" if at_most else f"{at_least} or more"
      self.problems.append(f"{where} is {_repr(value)}, expected a list of {count} landmarks")
      return ()

    numbers = [self._number(item) for item in value]
    if None in numbers:
      unknown = [item for item, number in zip(value, numbers, strict=True) if number is None]
      self.problems.append(
        f"{where} holds {_reprs(unknown)}, "
        f"expected numbers from 0 to {len(self.names) - 1} or names of landmarks"
      )
      return ()
    return tuple(number for number in numbers if number is not None)

  def _number(self, item: Any) -> int | None:
    """The landmark that an item of a list names by its number or name, if any."""
    if type(item) is int and 0 <= item < len(self.names):
      return item
    return self._index.get(item) if isinstance(item, str) else None

  def _describe(self, k: int) -> str:
    """A landmark for a message: its number, and its name if the user gave it one."""
    return str(k) if self.names[k] == f"landmark_{k}" else f"{k} ({cut(self.names[k])})"


def _repr(value: Any) -> str:
  """A value for a message, of at most 60 characters."""
  text = "missing" if value is None else repr(value)
  return text if len(text) <= 60 else f"{text[:57]}..."


def _reprs(values: Sequence[Any]) -> str:
  """Some of several values for a message, and how many more there are."""
  return join_names([_repr(value) for value in values], limit=3)
