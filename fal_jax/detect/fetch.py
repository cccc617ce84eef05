"""YuNet's file: where it is kept, how it gets there, and that it is the one we know."""

import hashlib
from pathlib import Path

from fal_jax.errors import InputError
from fal_jax.output import folders

NAME = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
SIZE = 232_589  # bytes


def cached() -> Path:
  """Where the downloaded file is, or would be."""
  return folders.home() / "detector" / NAME


def fetch() -> Path:
  """The downloaded file."""
  if cached().is_file():
    return cached()
  raise InputError("not yet")


def read(path: Path) -> bytes:
  """The content of YuNet's file."""
  content = path.read_bytes()
  if hashlib.sha256(content).hexdigest() != SHA256:
    raise InputError(f"{path} is not YuNet's file.")
  return content
