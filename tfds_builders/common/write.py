"""Writes a dataset so that after any interruption the folder holds a complete one or none."""

import contextlib
import errno
import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from tfds_builders.common.schema import FaceDatasetBuilder

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG)


def write(builder: FaceDatasetBuilder, manual_dir: Path | None) -> None:
  """Writes the dataset: TFDS writes into `incomplete.*` beside it and renames when all is done.

  Args:
    builder: builds the dataset; one that is there already is replaced.
    manual_dir: the user's folder; None for generated datasets.

  Raises:
    InputError: the folder cannot be written, or the builder refuses the user's files.
  """
  path = Path(builder.data_path)
  if path.exists():  # the previous dataset stays until the new one is there
    path.rename(_former(path))

  try:
    # TFDS prints that it does not know the size of a download.
    silence = contextlib.redirect_stdout(io.StringIO())
    with tempfile.TemporaryDirectory() as downloads, silence:
      builder.download_and_prepare(
        download_dir=downloads,
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
      )
  except OSError as error:
    if error.errno in _UNWRITABLE:
      raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    raise
  except RuntimeError as error:
    if "write() failed" in str(error):  # how array_record says that the disk is full
      raise InputError(f"{path} cannot be written: {error}.") from error
    raise
  finally:
    clear_leftovers(path)


def clear_leftovers(path: Path) -> None:
  """Undoes interrupted builds of a dataset.

  It puts the previous dataset back if the build that was to replace it did not finish, and removes
  what such builds left.
  """
  if _former(path).exists() and not path.exists():
    _former(path).rename(path)
  for leftover in path.parent.glob(f"incomplete.*_{path.name}"):
    shutil.rmtree(leftover)


def _former(path: Path) -> Path:
  return path.with_name(f"incomplete.former_{path.name}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
  """Keeps a second build out of the same folder; the lock ends with the process, however it ends.

  Raises:
    InputError: the folder cannot be made or read, or another process builds in it.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
  except OSError as error:
    raise InputError(
      f"{folder} cannot be used: {error.strerror}; give another --data_dir."
    ) from error

  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
  except BlockingIOError as error:
    raise InputError(f"Another process is building in {folder}: wait until it is done.") from error
  finally:
    os.close(handle)
    with contextlib.suppress(OSError):
      folder.rmdir()  # only succeeds if nothing was written
