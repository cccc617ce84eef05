"""Files that the user fetched: what may be wrong with one before it is parsed."""

import os
from pathlib import Path

from fal_jax.errors import InputError

_WEB_PAGE = (b"<!doctype html", b"<html", b"<?xml")


def is_web_page(start: bytes) -> bool:
  """Whether a file with these first bytes is the login or error page of a server."""
  return start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_WEB_PAGE)


def check_download(path: str | os.PathLike[str]) -> bytes:
  """Checks that a file is there, is not empty and is not a web page.

  Args:
    path: the file.

  Returns:
    Its first bytes.

  Raises:
    InputError: it is absent, empty or a web page.
  """
  try:
    with Path(path).open("rb") as file:
      start = file.read(512)
  except OSError as error:
    raise unreadable(path, error) from error

  if not start:
    raise empty_download(path)
  if is_web_page(start):
    raise InputError(f"{path} is a web page (a login or error page?): download it again.")
  return start


def unreadable(path: str | os.PathLike[str], error: OSError) -> InputError:
  """The error for a file that the system does not let us read."""
  return InputError(f"{path} cannot be read: {error.strerror or error}.")


def empty_download(path: str | os.PathLike[str]) -> InputError:
  """The error for a fetched file that holds nothing."""
  return InputError(f"{path} is empty (an interrupted download?): download it again.")
