"""A disk that is full, or a quota that is used up: how an error says so, whoever raised it."""

import errno
import logging
import os
import sys
from typing import Any

from fal_jax.errors import with_causes
from fal_jax.output import bucket

_REASONS = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_former_hook = sys.unraisablehook


def reason(error: BaseException | None) -> str | None:
  """Why a file could not be written, if there was no room for it.

  Libraries pass the system's words on in errors of their own, with and without its number: orbax
  raises "ValueError: RESOURCE_EXHAUSTED: ...: No space left on device". RESOURCE_EXHAUSTED alone
  would not do: XLA says so when the memory of a device is full.

  Args:
    error: what was raised; its causes are looked at too.

  Returns:
    "No space left on device" or the like; None if the error is another.
  """
  for each in with_causes(error):
    for text in _REASONS:
      if text in str(each):
        return text
  return None


def silence_orbax() -> None:
  """Lets orbax raise such an error, or a bucket's, without the hundreds of lines on the way.

  Each thread that the error passes logs a traceback, and so does asyncio for each array that was
  to be written beside the first that failed, as late as the end of the program: what is set up
  here stays. All else is logged as before.
  """
  global _former_hook  # noqa: PLW0603 - Python has one hook for the process
  for name in ("absl", "asyncio", "gcsfs"):
    logging.getLogger(name).addFilter(_is_news)
  if sys.unraisablehook is not _unless_late:
    _former_hook = sys.unraisablehook
    sys.unraisablehook = _unless_late


def _is_news(record: logging.LogRecord) -> bool:
  """False for a record about a full disk or a bucket that orbax, or a task of orbax, logs."""
  is_orbax = any(name in f"{record.pathname} {record.getMessage()}" for name in ("orbax", "gcsfs"))
  error = record.exc_info[1] if record.exc_info else None
  return not (is_orbax and (reason(error) or bucket.failure(error)))


def _unless_late(unraisable: Any) -> None:
  """Reports what a thread could not raise, but not that nobody waits for an array any more.

  orbax closes its event loop at the first array that fails; tensorstore, which is still writing
  the others, then calls into it from outside Python, without a frame of anybody's above asyncio's.
  """
  trace = unraisable.exc_traceback
  is_late = (
    str(unraisable.exc_value) == "Event loop is closed"
    and trace is not None
    and trace.tb_frame.f_globals.get("__name__") == "asyncio.base_events"
  )
  if not is_late:
    _former_hook(unraisable)
