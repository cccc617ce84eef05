"""What the user downloaded: folders as they are, archives unpacked safely beside the dataset that
is built.
"""

import contextlib
import dataclasses
import io
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tqdm import tqdm

from fal_jax.errors import InputError

# More than any face dataset unpacks to, and more than photographs can be squeezed: beyond it is a
# bomb, not an archive.
MAX_BYTES = 200 * 10**9
MAX_RATIO = 200
_CHUNK = 1 << 20
_DRIVE = re.compile(r"[A-Za-z]:")
_UNREADABLE = (
  OSError,
  EOFError,
  tarfile.TarError,
  zipfile.BadZipFile,
  zlib.error,
  NotImplementedError,
  RuntimeError,
  ValueError,
)


@dataclasses.dataclass(frozen=True)
class Archive:
  """A file that the authors of a dataset hand out.

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
      found = root
      for part in path.split("/"):
        found /= part
        if (found / part).is_dir():
          found /= part
      if found.exists():
        return found
    return None

  def name(self, path: Path) -> str:
    """The path below its root, with "/" on every system."""
    root = next(root for root in self.roots if path.is_relative_to(root))
    return path.relative_to(root).as_posix()

  def inside(self, path: Path, *, named: str) -> Path:
    """A path that an annotation file names, if it stays below the roots.

    Args:
      path: joined from a root and what the annotation file says.
      named: how the message calls it.

    Raises:
      InputError: it leads out, by `..`, an absolute name or a symbolic link.
    """
    resolved = path.resolve()
    if not any(resolved.is_relative_to(root.resolve()) for root in self.roots):
      raise InputError(f"{named} leads out of the dataset's folder; it is not read.")
    return path


def unpack(archives: Sequence[Archive], manual_dir: Path, into: Path) -> Downloads:
  """Unpacks those archives that lie in `manual_dir` and whose content does not lie there unpacked.

  Each goes into a folder of its own below `into`, under a temporary name until it is complete; a
  complete one is not unpacked again as long as the archive keeps its size and date.

  Args:
    archives: what the dataset consists of.
    manual_dir: the user's folder; nothing is written there.
    into: is created when there is something to unpack.

  Returns:
    The user's folder and the unpacked ones.

  Raises:
    InputError: an archive is damaged, is none, holds members that lead out of it, or would not fit
      on the disk.
  """
  roots = [manual_dir]
  for archive in archives:
    file = manual_dir / archive.name
    if not file.is_file():
      continue
    parts = _parts(file)
    stamp = "-".join(f"{part.stat().st_size}.{part.stat().st_mtime_ns}" for part in parts)
    target, unfinished = into / f"{archive.name}.unpacked", into / f"{archive.name}.unfinished"
    done = target / ".complete"
    if not done.is_file() or done.read_text() != stamp:
      for leftover in (target, unfinished):
        shutil.rmtree(leftover, ignore_errors=True)
      try:
        (unfinished / archive.folder).mkdir(parents=True)
        _extract(parts, unfinished / archive.folder)
        (unfinished / ".complete").write_text(stamp)
        unfinished.rename(target)
      finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    roots.append(target)
  return Downloads(roots)


def _parts(file: Path) -> list[Path]:
  """`x.zip.001` and those that follow it, or the file alone."""
  if file.suffix != ".001":
    return [file]
  parts: list[Path] = []
  while (part := file.with_suffix(f".{len(parts) + 1:03d}")).is_file():
    parts.append(part)
  return parts


def _extract(parts: Sequence[Path], into: Path) -> None:
  """Unpacks one zip or tar archive, which may be cut into parts."""
  name = parts[0].name if len(parts) == 1 else f"{parts[0].name} to {parts[-1].suffix}"
  packed = sum(part.stat().st_size for part in parts)
  limit = min(MAX_BYTES, MAX_RATIO * packed + 10**8)
  with _joined(parts) as file:
    try:
      start = file.read(512)
      file.seek(0)
      if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
          _extract_zip(archive, into, name=name, limit=limit)
      else:
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:*") as archive:
          _extract_tar(archive, into, name=name, limit=limit)
      if not any(into.iterdir()):
        raise ValueError("nothing in it")
    except _UNREADABLE as error:
      if isinstance(error, InputError):
        raise
      raise InputError(
        f"{parts[0].parent / name} cannot be unpacked: {_likely_cause(start, error)}."
      ) from error


def _extract_zip(archive: zipfile.ZipFile, into: Path, *, name: str, limit: int) -> None:
  members = archive.infolist()
  _check_size(sum(member.file_size for member in members), into, name=name, limit=limit)
  for member in tqdm(members, f"Unpacking {name}", unit=" files", disable=None):
    if stat.S_ISLNK(member.external_attr >> 16):
      raise InputError(
        f"{name} holds a symbolic link, {member.filename!r}; it is not unpacked: get it from its authors."
      )
    target = _target(member.filename, into, name=name)
    if target is None:
      continue
    if member.is_dir():
      target.mkdir(parents=True, exist_ok=True)
    else:
      with archive.open(member) as source:
        _copy(source, target, size=member.file_size, name=name)


def _extract_tar(archive: tarfile.TarFile, into: Path, *, name: str, limit: int) -> None:
  total = 0
  for member in tqdm(
    archive, f"Unpacking {name}", unit=" files", disable=None
  ):  # one pass: a compressed tar has no table
    if not member.isfile() and not member.isdir():
      raise InputError(
        f"{name} holds a link or a device, {member.name!r}; it is not unpacked: get it from its authors."
      )
    target = _target(member.name, into, name=name)
    if target is None:
      continue
    if member.isdir():
      target.mkdir(parents=True, exist_ok=True)
      continue
    total += member.size
    _check_size(total, into, name=name, limit=limit, more=member.size)
    with cast(IO[bytes], archive.extractfile(member)) as source:
      _copy(source, target, size=member.size, name=name)
  while archive.fileobj and archive.fileobj.read(
    _CHUNK
  ):  # only at its end does the stream compare its checksum
    pass


def _target(member: str, into: Path, *, name: str) -> Path | None:
  """Where a member goes; None for the leavings of macOS."""
  path = PurePosixPath(member.replace("\\", "/"))
  if path.is_absolute() or ".." in path.parts or _DRIVE.match(member) or "\0" in member:
    raise InputError(
      f"{name} holds {member!r}, which leads out of the archive; it is not unpacked: get it from its authors."
    )
  if path.parts[:1] == ("__MACOSX",) or path.name.startswith("._"):
    return None
  return into / path


def _copy(source: IO[bytes], target: Path, *, size: int, name: str) -> None:
  """Writes no more than the archive's table promised."""
  target.parent.mkdir(parents=True, exist_ok=True)
  if target.exists():
    raise InputError(f"{name} holds {target.name!r} twice: fetch it again.")
  with target.open("xb") as file:
    while chunk := source.read(_CHUNK):
      size -= len(chunk)
      if size < 0:
        raise InputError(
          f"{name}: {target.name!r} is larger than the archive says; it is not unpacked."
        )
      file.write(chunk)
  if size:
    raise InputError(f"{name}: {target.name!r} is cut short, fetch the archive again.")


def _check_size(total: int, into: Path, *, name: str, limit: int, more: int | None = None) -> None:
  if total > limit:
    raise InputError(
      f"{name} would unpack to more than {limit / 1e9:.1f} GB, far more than its size allows; it is not unpacked."
    )
  needed, free = total if more is None else more, shutil.disk_usage(into).free
  if needed > free:
    raise InputError(
      f"{name} needs {needed / 1e9:.1f} GB to unpack and {into} has {free / 1e9:.1f} GB: make room."
    )


def _likely_cause(start: bytes, error: Exception) -> str:
  if not start:
    return "the file is empty (an interrupted download?), fetch it again"
  head = start.lower().lstrip()
  if head.startswith((b"<!doctype html", b"<html", b"<?xml")):
    return "it is a web page (a login or error page?), download it again"
  if b"password" in str(error).encode() or "encrypted" in str(error):
    return "it is protected by a password, unpack it yourself"
  if start.startswith((b"PK", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or b"ustar" in start:
    return f"it is cut short or damaged ({' '.join(str(error).split()) or type(error).__name__}), fetch it again"
  if start.startswith((b"Rar!", b"7z\xbc\xaf")):
    return "RAR and 7z archives are not read, unpack it yourself"
  return "it is neither a zip nor a tar archive, fetch it again"


@contextlib.contextmanager
def _joined(parts: Sequence[Path]) -> Iterator[IO[bytes]]:
  """The bytes of all parts, one after the other, as one file."""
  if len(parts) == 1:
    with parts[0].open("rb") as file:
      yield file
    return
  with contextlib.ExitStack() as stack:
    files = [stack.enter_context(part.open("rb")) for part in parts]
    yield cast(IO[bytes], io.BufferedReader(_Joined(files)))


class _Joined(io.RawIOBase):
  """Several open files read as one."""

  def __init__(self, files: Sequence[IO[bytes]]):
    self._files = files
    self._sizes = [os.fstat(file.fileno()).st_size for file in files]
    self._position = 0

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
    base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: sum(self._sizes)}[whence]
    if base + offset < 0:
      raise OSError("negative seek position")
    self._position = base + offset
    return self._position

  def tell(self) -> int:
    return self._position

  def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
    start = self._position
    for file, size in zip(self._files, self._sizes, strict=True):
      if start < size:
        file.seek(start)
        data = file.read(min(len(buffer), size - start))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
      start -= size
    return 0
