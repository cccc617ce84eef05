"""Lets whoever takes too much memory have a MemoryError instead of the machine's."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def limited(num_bytes: int) -> Iterator[None]:
  """Limits this process to so many bytes beyond what it holds, where Linux counts them."""
  soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
  statm = Path("/proc/self/statm")
  if statm.exists():
    used = int(statm.read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + num_bytes, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
