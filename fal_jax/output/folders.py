"""Folders that a run writes to, on this machine or in a bucket, and the one that outlives runs."""

import os
import shutil
import stat
from pathlib import Path

from fal_jax.errors import InputError
from fal_jax.output import bucket


def locate(folder: str | os.PathLike[str], *, flag: str = "--workdir") -> Path:
  """What a flag names: a folder or file of this machine, or one in a bucket, gs://bucket/folder.

  Args:
    folder: as the user gave it, which pathlib must not have seen: it makes gs:// a folder `gs:`.
    flag: the one that names it.

  Returns:
    A path with `~` expanded; one in a bucket is of etils' kind, which reads, writes and lists as
    Python's does, but appends to nothing and renames no folder.

  Raises:
    InputError: it is another kind of address, or the packages that reach a bucket are missing.
  """
  if str(folder).startswith("gs:/") and not bucket.is_address(folder):
    raise InputError(
      f"{flag}={folder} was an address until pathlib took a slash of it: give gs://BUCKET/FOLDER "
      "as text."
    )
  return bucket.path(folder, flag=flag) if bucket.is_address(folder) else Path(folder).expanduser()


def resolve(folder: str | os.PathLike[str], *, flag: str = "--workdir") -> Path:
  """`locate`, as an absolute path without links."""
  path = locate(folder, flag=flag)
  return path if bucket.is_address(path) else path.resolve()


def exists(path: Path) -> bool:
  """Whether a folder or file is there.

  Raises:
    InputError: the bucket that it would be in cannot be read.
  """
  try:
    return path.exists()
  except Exception as error:  # whatever a client raises
    if not bucket.is_address(path):
      raise
    raise InputError(
      f"{path} cannot be read ({bucket.reason(error)}): see that the bucket is there and you may "
      "read it (gcloud auth application-default login)."
    ) from error


def local(folder: str | os.PathLike[str], *, flag: str = "--workdir") -> Path:
  """`locate`, of what stays on this machine.

  Raises:
    InputError: it is an address.
  """
  if bucket.is_address(folder):
    raise InputError(
      f"{flag}={folder} is an address, and this is written to folders of this machine alone: name "
      f"one, and copy it afterwards (gcloud storage cp --recursive FOLDER {folder})."
    )
  return Path(folder).expanduser()


def make_dir(
  workdir: str | Path,
  name: str = "",
  *,
  flag: str = "--workdir",
  remedy: str = "name another folder",
) -> Path:
  """Creates the workdir, or a folder in it.

  Args:
    workdir: the run's folder, as the user gave it, see `locate`. In a bucket there is nothing to
      create, but the first object tells whether one may be written.
    name: a folder below it; by default the workdir itself.
    flag: the one that names the folder.
    remedy: what to do if nothing can be written there.

  Returns:
    The folder.

  Raises:
    InputError: nothing can be written there.
  """
  directory = locate(workdir, flag=flag) / name
  if bucket.is_address(directory):
    reason = bucket.why_unwritable(directory)
    if reason is not None:
      raise unwritable(workdir, reason, flag=flag, remedy=remedy)
    return directory

  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    reason = error.strerror or str(error)
    raise unwritable(workdir, reason, flag=flag, remedy=remedy) from error
  if not os.access(directory, os.W_OK):
    raise unwritable(workdir, "you have no write permission", flag=flag, remedy=remedy)
  return directory


def unwritable(
  workdir: str | Path,
  reason: str,
  *,
  flag: str = "--workdir",
  remedy: str = "name another folder",
) -> InputError:
  """The error for a folder that cannot be written to; see `make_dir`."""
  return InputError(f"Nothing can be written to {flag}={workdir} ({reason}): {remedy}.")


def write_atomic(path: Path, content: str | bytes) -> None:
  """Writes a small file atomically: readers see the old or the new one, never a partial one.

  Args:
    path: the file; its folder is created if missing.
    content: all of it.
  """
  content = content.encode() if isinstance(content, str) else content
  if bucket.is_address(path):
    path.write_bytes(content)  # one object, which is there when all of it is
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_name(f"{path.name}.unfinished")
  unfinished.write_bytes(content)
  os.replace(unfinished, path)


def remove(folder: Path) -> None:
  """Removes a folder and what is in it, if it is there."""
  if bucket.is_address(folder):
    folder.rmtree(missing_ok=True)  # type: ignore[attr-defined]  # etils' paths have it
  else:
    shutil.rmtree(folder, ignore_errors=True)


def make_private_dir(directory: Path) -> None:
  """Creates a folder that nobody else can write to, for what will be run.

  Args:
    directory: the folder; one that exists stays as it is.

  Raises:
    InputError: it cannot be created, or somebody else owns it or may write to it.
  """
  try:
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    link, target = directory.lstat(), directory.stat()
  except OSError as error:
    raise InputError(
      f"the folder {directory} cannot be created ({error.strerror or error})."
    ) from error

  if {link.st_uid, target.st_uid} != {os.geteuid()}:
    raise InputError(f"the folder {directory} belongs to another user.")
  if target.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
    raise InputError(
      f"other users may write to the folder {directory}: delete it, or `chmod 700` it if you trust "
      "what is in it."
    )


def home() -> Path:
  """Where fal_jax keeps what it downloads or compiles for any run: not created here.

  Returns:
    FAL_JAX_HOME, or `~/.cache/fal_jax`.
  """
  return Path(os.environ.get("FAL_JAX_HOME") or "~/.cache/fal_jax").expanduser()
