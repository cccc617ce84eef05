"""The process in which `isolated` has files read: answers requests until nobody asks any more.

  python -m fal_jax.parsing.worker

reads requests from stdin and writes answers to stdout; by hand it only shows that it starts.
"""

import contextlib
import importlib
import json
import math
import os
import resource
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fal_jax.errors import InputError, cut
from fal_jax.parsing import answers, limits
from fal_jax.parsing.isolated import ANSWER, READY, REQUEST

_STATM = Path("/proc/self/statm")  # Linux; elsewhere memory is not limited
_DATA = 5  # of its numbers


def main() -> None:
  """Answers until stdin ends."""
  requests = os.fdopen(os.dup(0), "rb")
  sending = os.fdopen(os.dup(1), "wb")
  # What libraries print must not get among the answers.
  nothing = os.open(os.devnull, os.O_RDWR)
  os.dup2(nothing, 0)
  os.dup2(nothing, 1)
  warnings.simplefilter("ignore")
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks, and ends stdin
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no file

  sending.write(READY)
  sending.flush()
  while sizes := requests.read(REQUEST.size):
    if len(sizes) < REQUEST.size:
      return
    num_text, num_bytes = REQUEST.unpack(sizes)
    function, args, options, allowed = json.loads(requests.read(num_text))
    content = requests.read(num_bytes)
    _send(sending, *_answer(function, [content, *args] if content else args, options, allowed))
    del content


def _answer(
  name: str, args: list, options: dict, allowed: dict[str, int]
) -> tuple[bytes, list[memoryview]]:
  """What a function returns, or how it fails, as `answers.pack` writes it."""
  module, _, function = name.partition(":")
  try:
    call = getattr(importlib.import_module(module), function)  # not at the file's expense
    with _limited(**allowed):
      return answers.pack(["done", call(*args, **options)])
  except InputError as error:
    return answers.pack(["refused", str(error)])
  except MemoryError:
    used = f"{allowed['num_bytes'] / 1e9:.1f} GB"
    return answers.pack(["failed", f"reading it takes more than {used} of memory"])
  except Exception as error:  # noqa: BLE001  # whatever a library raises on what it does not expect
    reason = " ".join(str(error).split()).rstrip(".")
    text = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return answers.pack(["failed", cut(text, length=limits.MAX_MESSAGE // 2)])


@contextlib.contextmanager
def _limited(*, num_bytes: int, seconds: int) -> Iterator[None]:
  """Limits what one file may take: memory beyond what is there, and seconds of computing."""
  usage = resource.getrusage(resource.RUSAGE_SELF)
  _set_soft(resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime) + seconds)
  if _STATM.exists():
    pages = int(_STATM.read_text().split()[_DATA])
    _set_soft(resource.RLIMIT_DATA, pages * resource.getpagesize() + num_bytes)
  try:
    yield
  finally:
    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_DATA):
      _set_soft(kind, resource.getrlimit(kind)[1])


def _set_soft(kind: int, limit: int) -> None:
  resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def _send(to: BinaryIO, text: bytes, buffers: list[memoryview]) -> None:
  """Writes one answer."""
  to.write(ANSWER.pack(len(text), sum(map(len, buffers))))
  to.write(text)
  for buffer in buffers:
    to.write(buffer)
  to.flush()


if __name__ == "__main__":
  main()
