"""One annotated face as the readers of the formats give it, and the image that it names."""

import dataclasses
import functools
import itertools
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np

from fal_jax.errors import InputError, join_names

# The folder in which images are looked for that do not lie where an annotation file says.
IMAGES = "images"

ImageIndex = Mapping[str, Sequence[PurePosixPath]]

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]*://|\\\\")
_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
  """One face.

  Attributes:
    where: file and line, for messages.
    image: as the annotation file names it.
    landmarks: (K, 2) float64, image px, pixel-centre, 0-based; NaN where not annotated. None if
      they cannot be read: a finding says so, but the face keeps its number among those of its
      image, and its image its place in the hold-out.
    box: (4,) float64 x0, y0, x1, y1, image px.
    visible: (K,) bool.
    split: where the file gives one.
    size: (width, height) of the image as the file gives it.
  """

  where: str
  image: str
  landmarks: np.ndarray | None
  box: np.ndarray | None = None
  visible: np.ndarray | None = None
  split: str | None = None
  size: tuple[int, int] | None = None


def index_images(root: Path, images: Iterable[Path]) -> ImageIndex:
  """The images below a folder by their names, as `find_image` looks for them.

  Args:
    root: the dataset's folder.
    images: those below it.

  Returns:
    Base name, without what `_loose` takes away -> images of that name, as paths below the root.
  """
  index: dict[str, list[PurePosixPath]] = {}
  for image in images:
    path = PurePosixPath(image.relative_to(root).as_posix())
    for key in {_loose(path.name), _as_uploaded(path.name)}:
      index.setdefault(key, []).append(path)
  return index


def find_image(root: Path, name: str, index: ImageIndex) -> tuple[str, str]:
  """The image of that name below the dataset's folder, or below `images/` in it.

  The name counts first as it stands. Then case, the Unicode form of accents (macOS decomposes them
  in archives), percent-encoding and backslashes no longer count, and a name without any folder may
  be that of an image in one. A path that leads out of the folder is that of another machine, or of
  the annotation tool's own store: the image with the most folders in common is taken, and an
  upload's eight digits before the name may be missing.

  A symbolic link is followed, since the folder is the user's own: `images` may be a link to another
  disk.

  Args:
    root: the dataset's folder.
    name: as an annotation file gives it.
    index: of the images below the folder, see `index_images`.

  Returns:
    The image's path below the root, and how it was found, for a note; "" where it lies where the
    name says.

  Raises:
    InputError: there is none, or more than one that may be meant.
  """
  if not name.strip():
    raise InputError("missing image name")
  cleaned = unquote(name).replace("\\", "/")
  for change in (str, functools.partial(_below, root)):
    for candidate in dict.fromkeys((name, cleaned)):
      if found := _as_it_stands(root, change(candidate)):
        return found, ""

  leads_out = _leads_out(name) or _leads_out(cleaned)
  path = PurePosixPath(cleaned)
  candidates = index.get(_loose(path.name), [])
  how = "its path leads out of this folder, so the image of the same name in it is taken"
  if leads_out:
    if not candidates and (original := _UPLOAD.fullmatch(path.name)):
      candidates = index.get(_as_uploaded(original[1]), [])
    common = [_common_folders(path, candidate) for candidate in candidates]
    candidates = [
      candidate
      for candidate, number in zip(candidates, common, strict=True)
      if number == max(common)
    ]
  elif "/" in cleaned:
    how = "the image's name there differs in case, Unicode form, encoding or backslashes"
    wanted = {_loose(cleaned), _loose(f"{IMAGES}/{cleaned}")}
    candidates = [path for path in candidates if _loose(path.as_posix()) in wanted]
  else:
    how = "it stands there without the image's folder, or in another spelling"
    candidates = [path for path in candidates if _loose(path.name) == _loose(cleaned)]

  if len(candidates) == 1:
    return candidates[0].as_posix(), how
  if candidates:
    found = join_names([str(candidate) for candidate in candidates])
    raise InputError(f"the image {_shown(name)} may be any of {found}: call it by one of them")
  if leads_out:
    raise InputError(
      f"the image {_shown(name)} is outside the dataset's folder, expected its path below it"
    )
  raise InputError(f"there is no image {_shown(name)}, neither here nor in {IMAGES}/")


def index_stems(root: Path, images: Iterable[Path]) -> dict[str, list[str]]:
  """The images below a folder by their paths without ending, as `images_of_stem` looks for them.

  Args:
    root: the dataset's folder.
    images: those below it.

  Returns:
    Path without ending, exact and without what `_loose` takes away -> paths below the root.
  """
  index: dict[str, list[str]] = {}
  for image in images:
    stem = image.relative_to(root).with_suffix("").as_posix()
    for key in (stem, f"\0{_loose(stem)}"):
      index.setdefault(key, []).append(image.relative_to(root).as_posix())
  return index


def images_of_stem(stem: str, index: Mapping[str, list[str]]) -> list[str]:
  """The images that belong to a file of the same name.

  Args:
    stem: path of the file below the root without its ending.
    index: see `index_stems`.

  Returns:
    Paths below the root; those whose case or Unicode form differs only if none is called so.
  """
  return index.get(stem) or index.get(f"\0{_loose(stem)}", [])


def beside(root: Path, file: Path, name: str) -> str:
  """The name of an image, given relative to the file that names it, as a path below the root.

  Args:
    root: the dataset's folder.
    file: the annotation file, somewhere below it.
    name: as the file has it.

  Returns:
    The path; it leads out of the root where the name does.
  """
  folder = file.parent.relative_to(root).as_posix()
  cleaned = name.replace("\\", "/")
  if not name.strip() or (folder == "." and ".." not in cleaned) or _is_elsewhere(cleaned):
    return name
  return posixpath.normpath(f"{folder}/{cleaned}")


def _as_it_stands(root: Path, name: str) -> str:
  """The path below the root of the image of exactly that name; "" where there is none."""
  if _leads_out(name):
    return ""
  for folder in ("", IMAGES):
    path = PurePosixPath(folder, name)
    try:
      if (root / path).is_file():
        return path.as_posix()
    except (OSError, ValueError):  # longer than the system allows, or half a Unicode character
      return ""
  return ""


def _below(root: Path, name: str) -> str:
  """A path that leads to the root and on, as the part of it below the root."""
  path, folder = PurePosixPath(name), PurePosixPath(root.resolve().as_posix())
  if path.is_absolute():
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else name
  for number in range(1, len(path.parts)):
    if folder.parts[-number:] == path.parts[:number]:
      return PurePosixPath(*path.parts[number:]).as_posix()
  return name


def _leads_out(name: str) -> bool:
  return "\0" in name or ".." in PurePosixPath(name).parts or _is_elsewhere(name)


def _is_elsewhere(name: str) -> bool:
  """Whether a name is an absolute path, here or on Windows, or a web address."""
  return name.startswith("/") or _DRIVE.match(name) is not None


def _loose(text: str) -> str:
  """A name or path without case and the Unicode form of its accents."""
  folded = unicodedata.normalize("NFC", text).casefold()
  return posixpath.normpath(unicodedata.normalize("NFC", folded))


def _as_uploaded(name: str) -> str:
  """What label-studio makes of a file's name: no spaces, no signs but `-`, `_` and `.`."""
  return _loose(re.sub(r"[^\w.-]", "", name.strip().replace(" ", "_")))


def _common_folders(path: PurePosixPath, other: PurePosixPath) -> int:
  """How many folders above the two files are called the same."""
  pairs = zip(reversed(path.parent.parts), reversed(other.parent.parts), strict=False)
  return sum(1 for _ in itertools.takewhile(lambda pair: _loose(pair[0]) == _loose(pair[1]), pairs))


def _shown(name: str) -> str:
  """A name for a message, of at most 120 characters."""
  return repr(name if len(name) <= 120 else f"{name[:57]}...{name[-57:]}")
