"""What the user downloaded: folders as they are, archives unpacked beside the dataset."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from fal_jax.errors import InputError
from tfds_builders.common.archives import extract


@dataclasses.dataclass(frozen=True)
class Archive:
  """A file that the authors of a dataset distribute.

  Attributes:
    name: file name; the first part, ending in `.001`, where it comes in parts.
    folder: where below the dataset's root its content belongs.
    size: what the authors' file has, for messages.
  """

  name: str
  folder: str = ""
  size: str = ""


class Downloads:
  """The folders in which a dataset's files are looked for, the user's own first."""

  def __init__(self, roots: Sequence[Path]):
    self.roots = tuple(roots)

  def find(self, path: str) -> Path | None:
    """The first folder or file `path` ("helen/trainset") below a root; None if no root has it.

    Some unpackers make a folder of the archive's name around the archive's folder: `afw/afw` is
    found as `afw`.
    """
    for root in self.roots:
      candidate = root
      for part in path.split("/"):
        candidate /= part
        if (candidate / part).is_dir():
          candidate /= part

      if candidate.exists():
        return candidate
    return None

  def find_in(self, folders: Sequence[str], path: str) -> Path | None:
    """`find` in several places: `path` below the first of the folders ("COFW/") that has it."""
    candidates = (self.find(folder + path) for folder in folders)
    return next((candidate for candidate in candidates if candidate), None)

  def name(self, path: Path) -> str:
    """The path below its root, with "/" on every system.

    Archives may be unpacked below the user's own folder: the innermost root counts, so that names
    do not depend on where.
    """
    around = (root for root in self.roots if path.is_relative_to(root))
    root = max(around, key=lambda root: len(root.parts))
    return path.relative_to(root).as_posix()

  def inside(self, path: Path, *, named: str) -> Path:
    """A path that an annotation file names, if it stays below the roots.

    Args:
      path: joined from a root and what the annotation file says.
      named: how the message calls it.

    Returns:
      The same path.

    Raises:
      InputError: it is outside, by `..`, an absolute name or a symbolic link.
    """
    resolved = path.resolve()
    if not any(resolved.is_relative_to(root.resolve()) for root in self.roots):
      raise InputError(f"{named} is outside the dataset's folder; it is not read.")
    return path


def unpack(archives: Sequence[Archive], manual_dir: Path, into: Path) -> Downloads:
  """Unpacks the archives in `manual_dir` whose contents are not there unpacked as well.

  Each goes into a folder of its own below `into`, under a temporary name until it is complete; a
  complete one is not unpacked again as long as the archive keeps its size and date.

  Args:
    archives: what the dataset consists of.
    manual_dir: the user's folder; nothing is written there.
    into: is created when there is something to unpack.

  Returns:
    The user's folder and the unpacked ones.

  Raises:
    InputError: a file is damaged or not an archive, holds members that lead out of it, or would not
      fit on the disk.
  """
  roots = [manual_dir]
  for archive in archives:
    file = manual_dir / archive.name
    if not file.is_file():
      continue

    parts = _parts(file)
    stamp = "-".join(f"{part.stat().st_size}.{part.stat().st_mtime_ns}" for part in parts)
    target = into / f"{archive.name}.unpacked"
    done = target / ".complete"
    if not done.is_file() or done.read_text() != stamp:
      _unpack(parts, target, folder=archive.folder, stamp=stamp)
    roots.append(target)
  return Downloads(roots)


def _unpack(parts: Sequence[Path], target: Path, *, folder: str, stamp: str) -> None:
  """Unpacks an archive: `target` then holds all of it and the stamp, or does not exist."""
  unfinished = target.with_suffix(".unfinished")
  for leftover in (target, unfinished):
    shutil.rmtree(leftover, ignore_errors=True)

  try:
    (unfinished / folder).mkdir(parents=True)
    extract(parts, unfinished / folder)
    (unfinished / ".complete").write_text(stamp)
    unfinished.rename(target)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _parts(file: Path) -> list[Path]:
  """`x.zip.001` and those that follow it, or the file alone."""
  if file.suffix != ".001":
    return [file]
  parts: list[Path] = []
  while (part := file.with_suffix(f".{len(parts) + 1:03d}")).is_file():
    parts.append(part)
  return parts
