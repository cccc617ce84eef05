"""The sentence on a folder of which nothing is read: what lies there, and whose it looks like."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fal_jax.errors import InputError, join_names
from tfds_builders.custom.imglab import root_element

# What is known but not read: a key at the top of a JSON file, or XML's outermost element -> whose.
_JSON_KEYS = {
  "_via_settings": "VIA",
  "_via_img_metadata": "VIA",
  "objects": "Supervisely",
  "items": "Datumaro",
  "item": "Darwin",
}
_XML_ROOTS = {"annotations": "CVAT", "annotation": "Pascal VOC"}


def nothing_read(
  root: Path, files: Sequence[Path], parsed: Mapping[Path, Any], *, expected: str, table: str
) -> InputError:
  """The error for a folder without any of the formats.

  Args:
    root: the dataset's folder.
    files: all files below it.
    parsed: the content of its JSON files, or the `InputError` of reading one.
    expected: the formats that are read.
    table: what a table must be called.

  Returns:
    The error, which names the files that are there, and what to do about those it knows.
  """
  first: dict[str, Path] = {}
  for file in files:
    first.setdefault(_ending(file), file)
  there = [
    f"{number} {ending} ({first[ending].relative_to(root).as_posix()}{', ...' * (number > 1)})"
    for ending, number in Counter(map(_ending, files)).most_common()
  ]

  hints = [
    f"{name} is of {whose}, which is not read: export it as COCO key-points"
    for whose, name in _known(root, files, parsed).items()
  ]
  tables = [file.name for file in files if file.parent == root and _ending(file) == ".csv"]
  if tables:
    hints.append(f"is it {join_names(tables, limit=3)}? Rename it to {table}")
  broken = [str(error).rstrip(".") for error in parsed.values() if isinstance(error, InputError)]
  hints += broken[:1]
  return InputError(
    f"{root} holds no landmarks that are read, only {join_names(there, limit=6) or 'no file'}: "
    f"expected {expected}{''.join(f'; {hint}' for hint in hints[:3])}."
  )


def _ending(file: Path) -> str:
  return file.suffix.lower() or file.name


def _known(root: Path, files: Sequence[Path], parsed: Mapping[Path, Any]) -> dict[str, str]:
  """Whose format -> the first file of it."""
  found: dict[str, str] = {}
  for file in files:
    content = parsed.get(file)
    whose = None
    if isinstance(content, dict):
      whose = next((_JSON_KEYS[key] for key in content if key in _JSON_KEYS), None)
    elif isinstance(content, list) and content and isinstance(content[0], dict):
      whose = "COCO's results" if {"image_id", "keypoints"} <= {*content[0]} else None
    elif _ending(file) == ".xml":
      whose = _XML_ROOTS.get(root_element(file))
    if whose:
      found.setdefault(whose, file.relative_to(root).as_posix())
  return found
