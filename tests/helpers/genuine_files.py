"""Genuine annotations and images, not in the repository: tests without them are skipped."""

import os
from pathlib import Path

import numpy as np
import pytest


def path(*parts: str) -> Path:
  """A file or folder below $FAL_JAX_TEST_DATA; skips the test where that is not set."""
  folder = os.environ.get("FAL_JAX_TEST_DATA")
  if not folder:
    pytest.skip("FAL_JAX_TEST_DATA is not set: no genuine data to read")
  return Path(folder, *parts)


def arrays(file: Path) -> dict[str, np.ndarray]:
  """All arrays of an .npz, which is closed again."""
  with np.load(file, allow_pickle=False) as opened:
    return dict(opened)
