"""YuNet's file: where it is kept, how it gets there, and that it is the one we know."""

import hashlib
import os
from pathlib import Path

from fal_jax.errors import InputError
from fal_jax.output import folders

NAME = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
SIZE = 232_589  # bytes

# The file of opencv/opencv_zoo at one commit: Git LFS content is served from the first address, and
# the second is the same organisation's copy at Hugging Face, for downloading by hand.
ADDRESS = (
  "https://media.githubusercontent.com/media/opencv/opencv_zoo/"
  f"f12e12798e8314f7c074a6656816c048dcc95b7a/models/face_detection_yunet/{NAME}"
)
MIRROR = (
  "https://huggingface.co/opencv/face_detection_yunet/resolve/"
  f"3cc26e7f1014a5ee5d74a42acee58bafc9d0a310/{NAME}"
)
TIMEOUT = 30.0  # s without an answer


def cached() -> Path:
  """Where the downloaded file is, or would be.

  Returns:
    A path below FAL_JAX_HOME, or `~/.cache/fal_jax`.
  """
  return folders.home() / "detector" / NAME


def fetch(*, address: str | None = None) -> Path:
  """Downloads YuNet's file, unless that has been done before; one printed line says so.

  Args:
    address: where from; by default the pinned one.

  Returns:
    Where the file is.

  Raises:
    InputError: it cannot be downloaded, is not the file we know, or cannot be written; the sentence
      says how to get it by hand.
  """
  import http.client  # only who downloads waits for these
  import urllib.error
  import urllib.request

  path = cached()
  if path.is_file() and _sha256(path.read_bytes()) == SHA256:
    return path

  address = address or ADDRESS
  print(f"Fetching the face detector YuNet (0.2 MB, MIT licence) once: {address}", flush=True)
  try:
    with urllib.request.urlopen(address, timeout=TIMEOUT) as response:
      content = response.read(SIZE + 1)
  except (OSError, http.client.HTTPException) as error:
    if isinstance(error, urllib.error.HTTPError):
      error.close()  # it holds the connection
    raise _not_fetched(address, f"{getattr(error, 'reason', None) or error}") from error

  if len(content) < SIZE:
    raise _not_fetched(address, f"it ended after {len(content):,} of {SIZE:,} bytes")
  if _sha256(content) != SHA256:
    raise _not_fetched(address, "what came is another file: its SHA-256 differs")
  _write(path, content)
  return path


def read(path: Path) -> bytes:
  """Reads YuNet's file.

  Args:
    path: the user's own copy, or the downloaded one.

  Returns:
    Its content.

  Raises:
    InputError: there is no such file, or it is not the one we know.
  """
  try:
    content = path.read_bytes()
  except OSError as error:
    raise InputError(f"YuNet's file {path} cannot be read: {error.strerror or error}.") from error
  if _sha256(content) != SHA256:
    raise InputError(
      f"{path} is not the file of YuNet that we know ({NAME}, {SIZE:,} bytes, SHA-256 "
      f"{SHA256[:12]}...; this has {len(content):,} bytes): delete it and get it from {MIRROR}."
    )
  return content


def _sha256(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
  """Writes a file that others find complete or not at all."""
  unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_bytes(content)
    unfinished.replace(path)
  except OSError as error:
    raise InputError(
      f"YuNet's file cannot be kept in {path.parent} ({error.strerror or error}): let FAL_JAX_HOME "
      "name a folder that you can write to."
    ) from error


def _not_fetched(address: str, reason: str) -> InputError:
  """The error for a download that failed."""
  return InputError(
    f"YuNet's file could not be fetched from {address} ({reason}): download it by hand, e.g. from "
    f"{MIRROR}, and name it with --detector=FILE or put it at {cached()}; or use mtcnn, which "
    "`pip install 'fal_jax[detect]'` brings."
  )
