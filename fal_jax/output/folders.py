"""Folders that a run writes to, and the one that outlives runs."""

import os
import stat
from pathlib import Path

from fal_jax.errors import InputError


def make_dir(
  workdir: str | Path,
  name: str = "",
  *,
  flag: str = "--workdir",
  remedy: str = "name another folder",
) -> Path:
  """Creates the workdir, or a folder in it.

  Args:
    workdir: the run's folder, as the user gave it; `~` is expanded.
    name: a folder below it; by default the workdir itself.
    flag: the one that names the folder.
    remedy: what to do if nothing can be written there.

  Returns:
    The folder.

  Raises:
    InputError: nothing can be written there.
  """
  directory = Path(workdir).expanduser() / name
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
    path: the file.
    content: all of it.
  """
  unfinished = path.with_name(f"{path.name}.unfinished")
  unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
  os.replace(unfinished, path)


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
