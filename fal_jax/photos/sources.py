"""From what the user named to image files, each with the id that its faces have in the results.

Order: as named; in a folder its files in the order of their names, then those of its folders. The
same file counts once.
"""

import dataclasses
import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from fal_jax.errors import InputError, counted, join_names
from fal_jax.images import IMAGE_SUFFIXES, MAX_JPEG_PIXELS, read_image

# fmt: off
VIDEO_SUFFIXES = (
  ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts",
)
# fmt: on

# Photographs that cannot be read: not to be passed over without a hint.
_HEIC_SUFFIXES = (".heic", ".heif")


@dataclasses.dataclass(frozen=True)
class Item:
  """One file to be predicted.

  Attributes:
    id: its name in the results, with "/": the path below the folder that was named.
    path: where it is.
    failure: why it cannot be read, if that is known already.
  """

  id: str
  path: Path
  failure: str = ""

  @property
  def kind(self) -> Literal["image", "video", "camera"]:
    """What it is, by its name; "camera:0" is the first camera."""
    if _is_camera(self.path):
      return "camera"
    return "video" if self.path.suffix.lower() in VIDEO_SUFFIXES else "image"


@dataclasses.dataclass(frozen=True)
class Found:
  """What the user's words lead to.

  Attributes:
    items: the images, in order.
    passed_over: what else lies in the folders, in order.
    notes: lines that the user should read.
  """

  items: tuple[Item, ...]
  passed_over: tuple[str, ...]
  notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Frame:
  """One image, or why there is none.

  Attributes:
    id: its name in the results.
    path: the file that it is from.
    image: (H, W, 3) uint8 RGB, upright; None where it could not be read.
    failure: why; a sentence.
    seconds: the time of a video's frame, s; None of a photograph.
  """

  id: str
  path: Path
  image: np.ndarray | None
  failure: str = ""
  seconds: float | None = None


class _Seen(NamedTuple):
  """Something that the search came across.

  `below` is the folder that the user named, below which the path is the id.
  """

  path: Path
  below: Path
  kind: Literal["image", "file", "folder"]
  failure: str = ""


def find(words: Sequence[str], *, recursive: bool, out: Path) -> Found:
  """Finds the images that the user named.

  Args:
    words: of --images: files, folders, patterns, and several of them joined by commas.
    recursive: whether folders in folders are looked into.
    out: folder for the results, in which nothing is looked for.

  Returns:
    The images. A file that is named and does not exist is among them, unless none exists.

  Raises:
    InputError: there is no image at all.
  """
  seen: list[_Seen] = []
  notes = []
  for part in itertools.chain(*map(_split, words)):
    of_part = list(_expand(part, recursive=recursive, out=out))
    if not any(each.kind == "image" for each in of_part):
      suffixes = ", ".join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
      notes.append(f"{part} holds no image or video ({suffixes}).")
    seen += of_part

  images = _once(each for each in seen if each.kind == "image")
  passed_over = _once(each for each in seen if each.kind == "file")
  folders = _once(each for each in seen if each.kind == "folder")
  notes += _passed_over_notes(passed_over, folders)

  if not images:
    raise InputError(" ".join(notes) or f"No image is named by --images={','.join(words)}.")
  if not any(image.path.exists() or _is_camera(image.path) for image in images):
    read_image(images[0].path)  # says why that is impossible
  return Found(_items(images), tuple(_text(each.path) for each in passed_over), tuple(notes))


def frames(
  items: Iterable[Item], *, value_range: tuple[float, float] | None = None
) -> Iterator[Frame]:
  """Reads images one after the other.

  Args:
    items: the files.
    value_range: of images of more than 8 bits per channel, what the network was trained to see as
      black and white, see `read_image`.

  Yields:
    One frame for each, in the same order.
  """
  for item in items:
    yield _read(item, value_range)


def _read(item: Item, value_range: tuple[float, float] | None) -> Frame:
  if item.failure:
    return Frame(item.id, item.path, None, item.failure)
  try:
    image = read_image(
      item.path, upright=True, value_range=value_range, max_jpeg_pixels=MAX_JPEG_PIXELS
    )
  except InputError as error:
    return Frame(item.id, item.path, None, str(error))
  return Frame(item.id, item.path, image)


def _split(word: str) -> list[str]:
  """The parts between commas; a comma in the name of an existing file is none of these."""
  pieces = word.split(",")
  parts = []
  while pieces:
    names = (",".join(pieces[:count]) for count in range(len(pieces), 1, -1))
    part = next((name for name in names if Path(name).expanduser().exists()), pieces[0])
    pieces = pieces[part.count(",") + 1 :]
    parts.append(part)
  return [part for part in parts if part.strip()]


def _expand(part: str, *, recursive: bool, out: Path) -> Iterator[_Seen]:
  """What one name stands for: a file, a folder's content or what fits a pattern."""
  path = Path(part).expanduser()
  if "://" in part:
    read_image(part)  # refuses web addresses
  if path.is_dir():
    yield from _walk(path, path, recursive=recursive, out=out)
    return
  matches = sorted(glob.glob(str(path), recursive=True))
  if path.exists() or not glob.has_magic(part) or not matches:
    yield _Seen(path, path.parent, "image")
    return

  # The ids of what fits a/*/b.jpg are paths below a.
  below = Path(*itertools.takewhile(lambda name: not glob.has_magic(name), path.parts))
  for match in map(Path, matches):
    if match.is_dir():
      if recursive:
        yield from _walk(match, below, recursive=True, out=out)
      else:
        yield _Seen(match, below, "folder")
    else:
      yield _Seen(match, below, "image" if _is_image(match) else "file")


def _walk(folder: Path, below: Path, *, recursive: bool, out: Path) -> Iterator[_Seen]:
  """What a folder holds, and the folders in it if they are looked into."""
  # Never its own results: the next call would take overlays for photographs.
  visited = {os.path.realpath(path) for path in (out, out / "overlays", out / "pts")}
  visited.discard(os.path.realpath(folder))
  unlisted: list[OSError] = []

  for root, folders, files in os.walk(folder, followlinks=True, onerror=unlisted.append):
    inside = Path(root)
    folders.sort()
    if os.path.realpath(inside) in visited:  # symbolic links may lead in a circle
      folders.clear()
      continue
    visited.add(os.path.realpath(inside))

    for path in sorted(inside / name for name in files):
      yield _Seen(path, below, "image" if _is_image(path) else "file")
    if not recursive:
      for name in folders:
        yield _Seen(inside / name, below, "folder")
      folders.clear()

  for error in unlisted:
    failure = f"{error.filename} cannot be read: {error.strerror}."
    yield _Seen(Path(error.filename), below, "image", failure)


def _is_image(path: Path) -> bool:
  """Whether a file in a folder is an image or a video; macOS leaves `._a.jpg` beside `a.jpg`."""
  suffixes = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
  return path.suffix.lower() in suffixes and not path.name.startswith(".")


def _is_camera(path: Path) -> bool:
  """Whether it stands for a camera: "camera:0" is the first one."""
  kind, _, number = str(path).partition(":")
  return kind == "camera" and number.isdecimal()


def _once(seen: Iterable[_Seen]) -> list[_Seen]:
  """Without those that were met before."""
  first: dict[str, _Seen] = {}
  for each in seen:
    first.setdefault(os.path.abspath(each.path), each)
  return list(first.values())


def _passed_over_notes(files: Sequence[_Seen], folders: Sequence[_Seen]) -> list[str]:
  """Lines about what lies in the folders beside images."""
  notes = []
  if files:
    names = join_names([_text(each.path) for each in files])
    notes.append(f"Passed over {counted(len(files), 'file')} without an image's ending: {names}.")
  if heic := [each.path.name for each in files if each.path.suffix.lower() in _HEIC_SUFFIXES]:
    notes.append(f"HEIC cannot be read, convert to JPEG: {join_names(heic)}.")
  if folders:
    names = join_names([_text(each.path) for each in folders])
    notes.append(f"Not looked into without --recursive: {names}.")
  return notes


def _items(images: Sequence[_Seen]) -> tuple[Item, ...]:
  """Ids are paths below the folder named; below what all have in common where two are equal."""
  ids = [_text(image.path.relative_to(image.below)) for image in images]
  if len(set(ids)) < len(ids):
    paths = [os.path.abspath(image.path) for image in images]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    ids = [_text(Path(os.path.relpath(path, common))) for path in paths]
  return tuple(
    Item(name, image.path, image.failure) for name, image in zip(ids, images, strict=True)
  )


def _text(path: Path) -> str:
  """A path with "/"; what is not UTF-8 in it is escaped, so that it can be written to files."""
  return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
