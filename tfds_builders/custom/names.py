"""Names of landmarks as tools spell them, matched with those of the mark-up.

By name, never by position: a tool may order its key-points as it likes, and lists only those that
somebody has set.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from fal_jax.errors import InputError, join_names

_SEPARATORS = re.compile(r"[\s_\-]+")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\s_\-]+(?=\d)")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def normalised(name: str) -> str:
  """The name without what tools and typists change.

  Case, spaces, `_`, `-`, leading zeros and the Unicode form of accents count for nothing, so
  `Left Eye`, `left-eye` and `left_eye` are one name. A separator between two digits stays one:
  `eye_1_0` is not `eye_10`.

  Args:
    name: as a file or the mark-up has it.

  Returns:
    What is compared; equal for two spellings of one name.
  """
  folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
  plain = _SEPARATORS.sub("", _BETWEEN_DIGITS.sub("\0", folded))
  return _LEADING_ZEROS.sub("", plain).replace("\0", "_") or name


def landmarks_of(names_of_files: Iterable[str], names_of_markup: Sequence[str]) -> dict[str, int]:
  """Which landmark each name of the files means.

  Where no name is that of a landmark but all are whole numbers, they number the landmarks: from 0
  if there is a 0 among them, from 1 if the highest is the number of landmarks.

  Args:
    names_of_files: all names that occur in the dataset (not those of one face alone, so that
      numbers can be told apart). One landmark may be spelt in several ways.
    names_of_markup: the names of the mark-up's landmarks, in its order.

  Returns:
    Name as the files spell it -> number of the landmark. Names of no landmark are left out.

  Raises:
    InputError: a name may be any of two landmarks, or numbers may count from 0 or from 1.
  """
  names = list(dict.fromkeys(names_of_files))
  exact = {name: k for k, name in enumerate(names_of_markup)}
  like: dict[str, list[int]] = {}
  for k, name in enumerate(names_of_markup):
    like.setdefault(normalised(name), []).append(k)

  landmarks = {}
  for name in names:
    candidates = [exact[name]] if name in exact else like.get(normalised(name), [])
    if len(candidates) > 1:
      raise InputError(
        f"the name {name!r} may be any of the landmarks "
        f"{join_names([names_of_markup[k] for k in candidates])}: "
        "spell it as the mark-up file does"
      )
    if candidates:
      landmarks[name] = candidates[0]
  return landmarks or _numbered(names, len(names_of_markup))


def order_of(
  names_of_file: Sequence[str], names_of_markup: Sequence[str]
) -> tuple[int | None, ...]:
  """Where each landmark of the mark-up stands in a file's list of names.

  Args:
    names_of_file: a list that gives the order of the file's points.
    names_of_markup: the names of the mark-up's landmarks, in its order.

  Returns:
    For each landmark of the mark-up the index of its name in `names_of_file`; None where the file
    has no such name. An index that does not occur is of a name that the mark-up does not have.

  Raises:
    InputError: two names of the file are one landmark; or see `landmarks_of`.
  """
  landmarks = landmarks_of(names_of_file, names_of_markup)
  order: list[int | None] = [None] * len(names_of_markup)
  for index, name in enumerate(names_of_file):
    k = landmarks.get(name)
    if k is None:
      continue
    if (other := order[k]) is not None:
      raise InputError(
        f"the names {names_of_file[other]!r} and {name!r} both mean the landmark "
        f"{names_of_markup[k]}: keep one of them"
      )
    order[k] = index
  return tuple(order)


def _numbered(names: Sequence[str], num_landmarks: int) -> dict[str, int]:
  """`landmarks_of` for names that are numbers; nothing where some are not, or are too high."""
  if not names or not all(re.fullmatch(r"[0-9]{1,6}", name) for name in names):
    return {}

  low, high = min(map(int, names)), max(map(int, names))
  if high > num_landmarks or (low == 0 and high == num_landmarks):
    return {}
  if low > 0 and high < num_landmarks:
    raise InputError(
      f"its landmarks are called {low} to {high}, which may count from 0 or from 1 with "
      f"{num_landmarks} in the mark-up: call them by the names of the mark-up file"
    )
  return {name: int(name) - min(low, 1) for name in names}
