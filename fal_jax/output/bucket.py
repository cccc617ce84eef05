"""Folders in a bucket of Google Cloud Storage, gs://bucket/folder, instead of one of this machine.

A bucket holds objects, no folders: an object appears whole or not at all, and is neither appended
to nor renamed nor locked. So whoever writes a file writes all of it at once
(`folders.write_atomic`), what grows is kept on this machine and copied (`Mirror`), and the lock is
an object with signs of life (`owner`). etils' paths over fsspec and gcsfs do the rest, no
TensorFlow; orbax writes arrays by itself.

Other addresses that etils knows (s3://, az://, hf://) cannot hold a run: orbax 0.12.8 saves to
folders and to gs:// alone.
"""

import contextlib
import importlib.util
import os
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, cast

from fal_jax.errors import InputError, Unreachable, with_causes

# Packages that reach gs:// and raise exceptions of their own.
_CLIENTS = ("gcsfs", "fsspec", "aiohttp", "google.api_core", "google.auth", "requests")
# What tensorstore, by which orbax writes arrays, puts behind its sentence.
_BY_CURL = re.compile(r"\[(?:curl_code|http_response_code)='(\d+)'")

# orbax asks by the second of these what kind of bucket it is.
_PACKAGES = ("gcsfs", "google.cloud.storage")


def is_address(folder: str | os.PathLike[str]) -> bool:
  """Whether a text or path is an address, such as gs://bucket/folder, and no folder or file."""
  return "://" in str(folder)


def path(address: str | os.PathLike[str], *, flag: str) -> Path:
  """The path of what is, or is to be, in a bucket.

  Args:
    address: gs://bucket/folder.
    flag: the one that names it.

  Returns:
    A path of etils' kind.

  Raises:
    InputError: it is another kind of address or names no bucket, or a package is missing.
  """
  scheme, _, rest = str(address).partition("://")
  if scheme != "gs" or not rest.strip("/"):
    raise InputError(
      f"{flag}={address} is no address that fal_jax can use: name a folder of this machine, one "
      "that is mounted here, or gs://BUCKET/FOLDER."
    )
  if missing := [name for name in _PACKAGES if not _is_installed(name)]:
    raise InputError(
      f"{flag}={address} needs packages that are not installed ({', '.join(missing)}): "
      "pip install 'fal_jax[gcs]'."
    )
  import fsspec
  from etils import epath

  # Listings are kept for ever by default, and show nothing of what other processes, or orbax in
  # this one, have written since.
  fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)
  return cast(Path, epath.Path(str(address)))


def _is_installed(package: str) -> bool:
  try:
    return importlib.util.find_spec(package) is not None
  except ModuleNotFoundError:  # not even what it is a part of
    return False


def why_unwritable(folder: Path) -> str | None:
  """Writes an object to a folder and removes it again, and says what was in the way.

  Nothing is created besides, least of all a bucket.

  Args:
    folder: in a bucket.

  Returns:
    The reason; None if there is none.
  """
  probe = folder / f".writable-{uuid.uuid4().hex}"
  try:
    probe.write_bytes(b"")
    probe.unlink()
  # A client raises what it likes: no such bucket, no credentials, not allowed, no network.
  except Exception as error:  # noqa: BLE001
    return reason(error)
  return None


@contextlib.contextmanager
def failures_said() -> Iterator[None]:
  """Turns what a client of a bucket raises, once it has given up, into a sentence.

  Yields:
    To whatever reads from a bucket or writes to it.

  Raises:
    InputError: see `failure`.
  """
  try:
    yield
  except InputError:
    raise
  except Exception as error:
    sentence = failure(error)
    if sentence is None:
      raise
    raise sentence from error


def failure(error: BaseException | None) -> InputError | None:
  """The sentence about what a client of a bucket has given up on.

  They try again by themselves, for a minute or longer, what a network or a service may still do.

  Args:
    error: what was raised; its causes are looked at too.

  Returns:
    Unreachable where that did not help; an InputError where the bucket refused; None for an error
    that is no client's.
  """
  for each in with_causes(error):
    code = _code(each)
    if code is None:
      continue
    if 400 <= code < 500 and code not in (408, 429):
      return InputError(
        f"The bucket has refused ({reason(each)}): see that it is still there and that you may "
        "read it and write to it (gcloud auth application-default login), and run the same "
        "command, which resumes from the last checkpoint."
      )
    return Unreachable(
      f"The bucket cannot be reached any more ({reason(each)}): nothing is lost but what came "
      "after the last checkpoint; run the same command to resume from there."
    )
  return None


# What array_record asks a bucket for, it asks for ever, and finds no end when it answers again.
ANSWER_WITHIN = 120.0  # s


def answer(read: Callable[[], Any], *, address: str | os.PathLike[str]) -> Any:
  """What a function reads from a bucket that may not answer any more.

  Args:
    read: called in a thread of its own, which is left behind when it is given up.
    address: gs://bucket/folder, for the message.

  Returns:
    What it returns.

  Raises:
    Unreachable: it takes longer than `ANSWER_WITHIN`.
    Exception: what it raises.
  """
  result: futures.Future[Any] = futures.Future()

  def run() -> None:
    try:
      result.set_result(read())
    except BaseException as error:  # noqa: BLE001  # raised again by whoever waits for it
      result.set_exception(error)

  threading.Thread(target=run, daemon=True).start()
  if futures.wait([result], ANSWER_WITHIN).done:
    return result.result()
  raise Unreachable(
    f"{address} has not answered for {ANSWER_WITHIN:.0f} s: nothing is lost but what came after "
    "the last checkpoint; run the same command to resume from there."
  )


def _code(error: BaseException) -> int | None:
  """HTTP's code for what a client raised, 0 if there was no answer; None if it is no client's."""
  if found := _BY_CURL.search(str(error)):
    return int(found[1])
  module = type(error).__module__
  if any(module == name or module.startswith(f"{name}.") for name in _CLIENTS):
    codes = (getattr(error, name, None) for name in ("code", "status"))
    return next((int(code) for code in map(str, codes) if code.isdigit()), 0)
  return 403 if isinstance(error, OSError) and str(error).startswith("Forbidden: ") else None


def reason(error: BaseException) -> str:
  """The kind and the first line of an error of a client, for a message."""
  lines = str(error).strip().splitlines() or [""]
  return f"{type(error).__name__}: {lines[0][:200]}"


class Mirror:
  """A folder whose files grow, and which is copied where the run's folder is in a bucket.

  Attributes:
    folder: where to write: the run's own, or a temporary one of this machine.
  """

  def __init__(
    self,
    workdir: Path,
    *,
    names: Iterable[str],
    clock: Callable[[], float] = time.monotonic,
  ):
    """Opens the folder.

    Args:
      workdir: the run's folder.
      names: files in it that are to be continued.
      clock: monotonic, s.
    """
    self.folder = workdir
    self._workdir = workdir
    self._clock = clock
    self._copied = clock()
    self._temporary: Any = None
    if is_address(workdir):
      self._temporary = tempfile.TemporaryDirectory(prefix="fal_jax_")
      self.folder = Path(self._temporary.name)
      for name in names:
        if (workdir / name).exists():
          (self.folder / name).write_bytes((workdir / name).read_bytes())

  def copy(self, *, not_within: float = 0.0) -> None:
    """Copies all files, each as one object.

    Args:
      not_within: s since the last copy in which there is no other.
    """
    now = self._clock()
    if self._temporary is None or now - self._copied < not_within:
      return
    self._copied = now
    for file in sorted(self.folder.rglob("*")):
      if file.is_file():
        (self._workdir / file.relative_to(self.folder)).write_bytes(file.read_bytes())

  def close(self) -> None:
    """Copies once more, and removes what was temporary; calling it again does nothing."""
    if self._temporary is None:
      return
    try:
      self.copy()
    finally:
      self._temporary.cleanup()
      self._temporary = None
