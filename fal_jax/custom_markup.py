"""Mark-ups of users: described by plain data in a YAML file, and as JSON in a run's config, which
then needs that file no more.

Both are read by `described`, which names every mistake at once. The keys, of which `mirror` is
never guessed because a wrong one spoils a training without a sound:

  landmarks   how many there are, or their names in the order of the files
  mirror      pairs that change places in a mirror; a landmark in no pair keeps its number
  lines       to draw: landmarks to join in turn; may be left out
  outer_eyes  the outer eye corners, right and left; without them there is no nme_ic
  pupils      right and left: a landmark, or a list of those whose mean is the eye's centre; without
  them there is no nme_ip

A landmark is given by its number, from 0, or by its name.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from fal_jax.errors import InputError
from fal_jax.landmarks import Edge, Markup, markup

KEYS = ("landmarks", "mirror", "lines", "outer_eyes", "pupils")
ORIGINS = (0, 0.5, 1)
_MOST_LANDMARKS = 1000  # a mistyped number would only be found out when memory is spent
_LARGEST_FILE = 1_000_000  # bytes
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class MarkupFile:
  """What a user's YAML file says.

  Attributes:
    name: of the dataset.
    origin: what the files call the coordinate of the first pixel's centre: 0, 1, or 0.5 when they
      count from its corner.
    markup: the mark-up.
    is_own: False where the file names one of the library's.
  """

  name: str
  origin: float
  markup: Markup
  is_own: bool


def read_file(path: str | Path) -> MarkupFile:
  """Reads a YAML file with the keys `name`, `origin` and either those of `described` or `markup:
  68`.

  Raises:
    InputError: the file cannot be read, is no plain YAML, or says something wrong: lists all of it.
  """
  content = _read_yaml(Path(path).expanduser())
  problems = []
  name, origin = content.pop("name", None), content.pop("origin", None)
  if not isinstance(name, str) or not _NAME.fullmatch(name):
    problems.append(
      f"name is {_shown(name)}, expected one of letters, digits and _ that begins with a letter"
    )
  if isinstance(origin, bool) or origin not in ORIGINS:
    problems.append(
      f"origin is {_shown(origin)}, expected the coordinate of the first pixel's centre in your files, 0, 0.5 or 1"
    )
  is_own = "markup" not in content
  try:
    found = described(content) if is_own else _of_the_library(content)
  except InputError as error:
    problems.append(str(error))
  if problems:
    raise InputError(f"{path}: {'; '.join(problems)}.")
  return MarkupFile(str(name), float(origin), found, is_own)


def described(description: Mapping[str, Any]) -> Markup:
  """The mark-up that plain data describe.

  Args:
    description: the keys of this module's docstring.

  Raises:
    InputError: with every mistake, separated by semicolons.
  """
  problems = [
    f"unknown key {_shown(key)}, known are {', '.join(KEYS)}"
    for key in description
    if key not in KEYS
  ]
  names = _names(description.get("landmarks"), problems)
  if not names:  # nothing else can be checked
    raise InputError("; ".join(problems))
  numbers: dict[Any, int] = {name: k for k, name in enumerate(names)}

  def several(value: Any, where: str, least: int, most: int | None = None) -> tuple[int, ...]:
    """Numbers of the landmarks in a list; empty if it is wrong."""
    if not isinstance(value, list) or len(value) < least or (most and len(value) > most):
      problems.append(
        f"{where} is {_shown(value)}, expected a list of {least}{'' if most else ' or more'} landmarks"
      )
      return ()
    found = [
      item if type(item) is int and 0 <= item < len(names) else numbers.get(_hashable(item))
      for item in value
    ]
    if unknown := [
      _shown(item) for item, number in zip(value, found, strict=True) if number is None
    ]:
      problems.append(
        f"{where} holds {', '.join(unknown)}, expected numbers from 0 to {len(names) - 1} or names of landmarks"
      )
      return ()
    return tuple(number for number in found if number is not None)

  def lists(key: str) -> list[Any]:
    value = description.get(key) or []
    if not isinstance(value, list):
      problems.append(f"{key} is {_shown(value)}, expected a list of lists")
    return value if isinstance(value, list) else []

  if not isinstance(description.get("mirror"), list):
    problems.append(
      f"mirror is {_shown(description.get('mirror'))}, expected a list of pairs that change places in a mirror, [] if none do"
    )
  pair_of: dict[int, int] = {}
  mirror = []
  for row, value in enumerate(
    lists("mirror") if isinstance(description.get("mirror"), list) else []
  ):
    if pair := several(value, f"mirror pair {row}", 2, 2):
      mirror.append((pair[0], pair[1]))
      if pair[0] == pair[1]:
        problems.append(
          f"mirror pair {row} is {_shown(value)}, a landmark with itself: leave it out"
        )
      for k in sorted(set(pair)):
        if pair_of.setdefault(k, row) != row:
          problems.append(
            f"landmark {_called(k, names)} is in the mirror pairs {pair_of[k]} and {row}"
          )

  edges: list[Edge] = []
  for row, value in enumerate(lists("lines")):
    line = several(value, f"line {row}", 2)
    edges += itertools.pairwise(line)
    if any(a == b for a, b in itertools.pairwise(line)):
      problems.append(f"line {row} joins a landmark with itself")

  eyes = pupils = None
  if description.get("outer_eyes") is not None and (
    found := several(description["outer_eyes"], "outer_eyes", 2, 2)
  ):
    eyes = found[0], found[1]
    if eyes[0] == eyes[1]:
      problems.append(f"outer_eyes are one landmark, {_called(eyes[0], names)}, twice")
  if (value := description.get("pupils")) is not None:
    if not isinstance(value, list) or len(value) != 2:
      problems.append(f"pupils is {_shown(value)}, expected two, right and left")
    else:
      right, left = (
        several(each if isinstance(each, list) else [each], "pupils", 1) for each in value
      )
      pupils = right, left
      if right and set(right) == set(left):
        problems.append("both pupils are the same landmarks")
  if problems:
    raise InputError("; ".join(problems))
  return Markup(names, tuple(dict.fromkeys(edges)), eyes, pupils, tuple(mirror))


def description_of(markup: Markup) -> dict[str, Any]:
  """Plain data from which `described` makes an equal mark-up; equal for equal mark-ups."""
  found: dict[str, Any] = {
    "landmarks": list(markup.names),
    "mirror": [[k, int(other)] for k, other in enumerate(markup.flip) if k < other],
    "lines": [list(edge) for edge in markup.edges],
  }
  if markup.outer_eyes:
    found["outer_eyes"] = list(markup.outer_eyes)
  if markup.pupils:
    found["pupils"] = [list(pupil) for pupil in markup.pupils]
  return found


def to_json(markup: Markup) -> str:
  """`description_of` in one line, as it stands in a config."""
  return json.dumps(description_of(markup))


def from_json(text: str) -> Markup:
  """The reverse of `to_json`.

  Raises:
    InputError: the text is not what `to_json` writes.
  """
  try:
    description = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise InputError(f"it is no JSON ({error})") from error
  if not isinstance(description, dict):
    raise InputError(f"it is {_shown(description)}, expected keys and values")
  return described(description)


def _of_the_library(content: Mapping[str, Any]) -> Markup:
  """The mark-up that `markup: 68` names."""
  if others := [key for key in content if key != "markup"]:
    raise InputError(
      f"markup stands for all of its landmarks, so leave out {', '.join(map(_shown, others))}"
    )
  num = content["markup"]
  if type(num) is not int:
    raise InputError(f"markup is {_shown(num)}, expected a number of landmarks such as 68")
  return markup(num)


def _names(value: Any, problems: list[str]) -> tuple[str, ...]:
  """Names of the landmarks; none if they cannot be told."""
  if type(value) is int and 1 <= value <= _MOST_LANDMARKS:
    return tuple(f"landmark_{k}" for k in range(value))
  if not isinstance(value, list) or not 1 <= len(value) <= _MOST_LANDMARKS:
    problems.append(
      f"landmarks is {_shown(value)}, expected their number, from 1 to {_MOST_LANDMARKS}, or a list of their names"
    )
    return ()
  if wrong := [item for item in value if not isinstance(item, str) or not item.strip()]:
    problems.append(
      f"landmarks holds {', '.join(map(_shown, wrong))}, expected names: put them in quotation marks"
    )
    return ()
  if twice := sorted({name for name in value if value.count(name) > 1}):
    problems.append(f"landmarks holds {', '.join(map(_shown, twice))} more than once")
    return ()
  return tuple(value)


class _PlainYaml(yaml.SafeLoader):
  """YAML without what a file of a dozen lines has no use for: aliases can grow without bounds, of
  equal keys the last wins.
  """

  def compose_node(self, parent: Any, index: Any) -> Any:
    if self.check_event(yaml.AliasEvent):
      raise yaml.MarkedYAMLError(
        None, None, "aliases are not read, write the value again", self.peek_event().start_mark
      )
    return super().compose_node(parent, index)

  def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
    seen = set()
    for key in (
      [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
      if isinstance(node, yaml.MappingNode)
      else []
    ):
      if key.value in seen:
        raise yaml.MarkedYAMLError(
          None, None, f"the key {key.value!r} is there twice", key.start_mark
        )
      seen.add(key.value)
    return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[Any, Any]:
  try:
    data = path.read_bytes()
  except OSError as error:
    raise InputError(
      f"{path} cannot be read: {error.strerror or error}; name the YAML file of your mark-up."
    ) from error
  if len(data) > _LARGEST_FILE:
    raise InputError(f"{path} has {len(data):,} bytes, which is no description of a mark-up.")
  try:
    content = yaml.load(data.decode("utf-8-sig"), _PlainYaml)
  except UnicodeDecodeError as error:
    raise InputError(f"{path} is not a text file (byte {error.start} is not UTF-8).") from error
  except (yaml.YAMLError, RecursionError, ValueError) as error:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or " ".join(str(error).split())
    place = f", line {mark.line + 1}" if mark else ""
    raise InputError(f"{path}{place}: not plain YAML, {reason[:200]}.") from error
  if not isinstance(content, dict):
    got = "is empty" if content is None else f"holds {_shown(content)}"
    raise InputError(f"{path} {got}, expected keys and values such as `landmarks: 5`.")
  return content


def _called(k: int, names: tuple[str, ...]) -> str:
  return str(k) if names[k] == f"landmark_{k}" else f"{k} ({names[k]})"


def _hashable(value: Any) -> str | None:
  return value if isinstance(value, str) else None


def _shown(value: Any) -> str:
  text = "missing" if value is None else repr(value)
  return text if len(text) <= 60 else f"{text[:57]}..."
