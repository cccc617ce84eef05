"""What OpenCV prints by itself, kept off the screen where we say it in a sentence of ours."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import cv2


@contextlib.contextmanager
def quiet(level: Literal["ERROR", "SILENT"]) -> Iterator[None]:
  """Lets OpenCV print only what is as bad as a level, which for SILENT is nothing."""
  logging: Any = getattr(getattr(cv2, "utils", None), "logging", None)
  if not hasattr(logging, "setLogLevel"):  # before OpenCV 5
    yield
    return

  former = logging.getLogLevel()
  logging.setLogLevel(getattr(logging, f"LOG_LEVEL_{level}"))
  try:
    yield
  finally:
    logging.setLogLevel(former)
