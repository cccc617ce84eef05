"""Unpacks zip and tar archives safely: anything damaged or hostile is refused by name."""

import contextlib
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tqdm import tqdm

from fal_jax.errors import InputError, cut
from fal_jax.parsing import limits
from tfds_builders.common.files import is_web_page

_CHUNK = 1 << 20
# Kinds of members of tar that only describe the next one.
_HEADERS = (
  tarfile.XHDTYPE,
  tarfile.XGLTYPE,
  tarfile.SOLARIS_XHDTYPE,
  tarfile.GNUTYPE_LONGNAME,
  tarfile.GNUTYPE_LONGLINK,
)
_DRIVE = re.compile(r"[A-Za-z]:")
_UNREADABLE = (
  OSError,
  EOFError,
  tarfile.TarError,
  zipfile.BadZipFile,
  zlib.error,
  lzma.LZMAError,
  NotImplementedError,
  RuntimeError,
  ValueError,
  LookupError,
  AttributeError,
  struct.error,
  MemoryError,
)


def extract(parts: Sequence[Path], into: Path) -> None:
  """Unpacks one zip or tar archive, which may be cut into parts.

  Args:
    parts: the file, or its parts in their order.
    into: an empty folder.

  Raises:
    InputError: the file is damaged or not an archive, holds members that lead out of it, or would
      not fit on the disk.
  """
  name = parts[0].name if len(parts) == 1 else f"{parts[0].name} to {parts[-1].suffix}"
  packed = sum(part.stat().st_size for part in parts)
  limit = min(limits.MAX_ARCHIVE_BYTES, limits.MAX_RATIO * packed + limits.MAX_ARCHIVE_FREE_BYTES)

  with _joined(parts) as file:
    start = file.read(512)
    file.seek(0)
    try:
      is_zip = zipfile.is_zipfile(file)
      file.seek(0)
      if is_zip:
        with zipfile.ZipFile(file) as archive:
          _extract_zip(archive, into, name=name, limit=limit)
      else:
        with tarfile.open(fileobj=file, mode="r:*", tarinfo=_Member) as archive:
          _extract_tar(archive, into, name=name, limit=limit)
      if not any(into.iterdir()):
        raise ValueError("nothing in it")
    except InputError:
      raise
    except _UNREADABLE as error:
      cause = _likely_cause(start, error)
      raise InputError(f"{parts[0].parent / name} cannot be unpacked: {cause}.") from error


def _extract_zip(archive: zipfile.ZipFile, into: Path, *, name: str, limit: int) -> None:
  members = archive.infolist()
  _check_count(len(members), name=name)
  _check_size(sum(member.file_size for member in members), into, name=name, limit=limit)

  for member in tqdm(members, f"Unpacking {name}", unit=" files", disable=None):
    if stat.S_ISLNK(member.external_attr >> 16):
      raise _refusal(f"{name} holds a symbolic link, {cut(member.filename)!r}")
    target = _target(member.filename, into, name=name)
    if target is None:
      continue
    if member.is_dir():
      target.mkdir(parents=True, exist_ok=True)
      continue
    with archive.open(member) as source:
      _copy(source, target, size=member.file_size, name=name)


def _extract_tar(archive: tarfile.TarFile, into: Path, *, name: str, limit: int) -> None:
  total = count = 0
  # One pass: a compressed tar has no table.
  for member in tqdm(archive, f"Unpacking {name}", unit=" files", disable=None):
    if not member.isfile() and not member.isdir():
      raise _refusal(f"{name} holds a link or a device, {cut(member.name)!r}")
    count += 1
    _check_count(count, name=name)
    # Of what is left out too, since it is decompressed.
    total += member.size
    _check_size(total, into, name=name, limit=limit, more=member.size)

    target = _target(member.name, into, name=name)
    if target is None:
      continue
    if member.isdir():
      target.mkdir(parents=True, exist_ok=True)
      continue
    with cast(IO[bytes], archive.extractfile(member)) as source:
      _copy(source, target, size=member.size, name=name)

  # Only at its end does the stream compare its checksum.
  while archive.fileobj and archive.fileobj.read(_CHUNK):
    pass


def _target(member: str, into: Path, *, name: str) -> Path | None:
  """Where a member goes; None for macOS metadata files."""
  path = PurePosixPath(member.replace("\\", "/"))
  if path.is_absolute() or ".." in path.parts or _DRIVE.match(member) or "\0" in member:
    raise _refusal(f"{name} holds {cut(member)!r}, which leads out of the archive")
  if path.parts[:1] == ("__MACOSX",) or path.name.startswith("._"):
    return None
  return into / path


def _refusal(what: str) -> InputError:
  """The error for an archive with a member that no honest archive has."""
  return InputError(f"{what}; it is not unpacked: get it from its authors.")


def _copy(source: IO[bytes], target: Path, *, size: int, name: str) -> None:
  """Writes a member, and no more of it than the archive's table promised: `size` bytes."""
  target.parent.mkdir(parents=True, exist_ok=True)
  if target.exists():
    raise InputError(f"{name} holds {cut(target.name)!r} twice: download it again.")

  with target.open("xb") as file:
    while chunk := source.read(_CHUNK):
      size -= len(chunk)
      if size < 0:
        raise InputError(
          f"{name}: {cut(target.name)!r} is larger than the archive says; it is not unpacked."
        )
      file.write(chunk)
  if size:
    raise InputError(f"{name}: {cut(target.name)!r} is truncated, download the archive again.")


class _Member(tarfile.TarInfo):
  """A member whose name is not read from gigabytes of headers, which tarfile holds in memory."""

  @classmethod
  def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
    member = super().frombuf(buf, encoding, errors)
    if member.type in _HEADERS and member.size > limits.MAX_ARCHIVE_HEADER:
      raise tarfile.ReadError(f"a header of {member.size:,} bytes")
    return member


def _check_count(count: int, *, name: str) -> None:
  """Refuses what would fill the disk's table of files."""
  if count > limits.MAX_ARCHIVE_MEMBERS:
    raise InputError(
      f"{name} holds more than {limits.MAX_ARCHIVE_MEMBERS:,} members; it is not unpacked."
    )


def _check_size(total: int, into: Path, *, name: str, limit: int, more: int | None = None) -> None:
  """Refuses what is a bomb or does not fit on the disk.

  Args:
    total: bytes of all members so far.
    into: where they go.
    name: name of the archive.
    limit: largest total, bytes.
    more: bytes that are still to be written, by default the total.
  """
  if total > limit:
    raise InputError(
      f"{name} would unpack to more than {limit / 1e9:.1f} GB, "
      "far more than its size allows; it is not unpacked."
    )

  needed = total if more is None else more
  free = shutil.disk_usage(into).free
  if needed > free:
    raise InputError(
      f"{name} needs {needed / 1e9:.1f} GB to unpack but only {free / 1e9:.1f} GB are free in "
      f"{into}: make room."
    )


def _likely_cause(start: bytes, error: Exception) -> str:
  """Why an archive with these first bytes cannot be unpacked, and what to do about it."""
  if not start:
    return "the file is empty (an interrupted download?), download it again"
  if is_web_page(start):
    return "it is a web page (a login or error page?), download it again"
  if "password" in str(error) or "encrypted" in str(error):
    return "it is protected by a password, unpack it yourself"

  if start.startswith((b"PK", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or b"ustar" in start:
    reason = cut(str(error), length=limits.MAX_MESSAGE // 4) or type(error).__name__
    return f"it is truncated or damaged ({reason}), download it again"
  if start.startswith((b"Rar!", b"7z\xbc\xaf")):
    return "RAR and 7z archives are not read, unpack it yourself"
  return "it is neither a zip nor a tar archive, download it again"


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
      if start >= size:
        start -= size
        continue

      file.seek(start)
      data = file.read(min(len(buffer), size - start))
      buffer[: len(data)] = data
      self._position += len(data)
      return len(data)
    return 0
