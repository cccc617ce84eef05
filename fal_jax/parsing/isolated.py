"""Reads files in another process, where a crash or a memory bomb hurts nobody.

SciPy, HDF5, PyTorch and the decoders of rare image formats are C, and believe what a file says. One
damaged byte in a .mat file ends the process that reads it. So that it is not ours, `call` has it
read by `fal_jax.parsing.worker`: one process, started when the first such file comes and fed with
all that follow. It may use so much memory and time for each (`limits`), writes no file, and when
it dies, that is an error about this one file, and the next file has a new process.

Nothing that comes back is unpickled: it is JSON and arrays (`answers`), since a file may have taken
that process over.
"""

import atexit
import contextlib
import dataclasses
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from typing import Any

from fal_jax.errors import InputError, cut
from fal_jax.parsing import answers, limits

REQUEST = struct.Struct(">QQ")  # bytes of JSON and of the file
ANSWER = struct.Struct(">QQ")  # bytes of JSON and of the arrays
READY = b"ready"

_START_SECONDS = 120  # on a machine whose cores are all taken


class Failed(Exception):
  """A file that could not be read: the other process crashed, or what it ran raised an exception.

  The text is the reason, without the file's name and without a full stop.
  """


class _Ended(Exception):
  """The other process has ended, or must be."""


def call(function: str, *args: Any, content: bytes = b"", **options: Any) -> Any:
  """Calls a function in the other process; one at a time, whatever the number of threads.

  Args:
    function: "package.module:function". It is given `content`, unless that is empty, then `args`
      and `options`.
    *args: plain values: None, truths, numbers, texts, lists.
    content: bytes of a file.
    **options: plain values.

  Returns:
    What it returns: values as in `answers.pack`.

  Raises:
    InputError: the function raised it.
    Failed: it raised anything else, took too much memory or time, or crashed.
  """
  allowed = {"num_bytes": limits.ISOLATED_BYTES, "seconds": limits.ISOLATED_SECONDS}
  request = json.dumps([function, args, options, allowed]).encode()
  with _the.lock:
    return _process().ask(request, content)


def stop() -> None:
  """Ends the other process, if there is one; the next call starts a new one."""
  with _the.lock:
    if _the.process is not None:
      _the.process.end()
      _the.process = None


class _Process:
  """The other process and the pipes to it."""

  def __init__(self) -> None:
    # The same modules as here, wherever they are imported from.
    path = os.pathsep.join([entry or os.getcwd() for entry in sys.path])
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    self._popen = subprocess.Popen(
      [sys.executable, "-B", "-m", "fal_jax.parsing.worker"],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,  # libtiff and others write what Python's exceptions say, too
      bufsize=0,
      env={**os.environ, **one_thread, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "1"},
    )
    assert self._popen.stdin is not None and self._popen.stdout is not None
    self._requests, self._answers = self._popen.stdin, self._popen.stdout
    try:
      started = self._read(len(READY), time.monotonic() + _START_SECONDS)
    except _Ended as error:
      self.end()
      raise RuntimeError(
        "The process that reads files does not start: `python -m fal_jax.parsing.worker` says why."
      ) from error
    assert started == READY

  @property
  def is_there(self) -> bool:
    return self._popen.poll() is None

  def ask(self, request: bytes, content: bytes) -> Any:
    """The answer to one request; see `call`."""
    deadline = time.monotonic() + limits.ISOLATED_WAIT_SECONDS
    try:
      # In one piece, so that the other process wakes up once.
      self._write(REQUEST.pack(len(request), len(content)) + request)
      self._write(content)
      kind, value = self._answer(deadline)
    except (_Ended, BrokenPipeError) as error:
      reason = self._cause_of_death(is_late=time.monotonic() >= deadline)
      raise Failed(reason) from error
    except BaseException:  # Ctrl-C: the next request must not get the answer to this one
      self.end()
      raise

    match kind, value:
      case "done", _:
        return value
      case "refused", str():
        raise InputError(cut(value, length=limits.MAX_MESSAGE))
      case "failed", str():
        raise Failed(cut(value, length=limits.MAX_MESSAGE))
    self.end()
    raise Failed("it makes the process that reads it answer nonsense")

  def _answer(self, deadline: float) -> tuple[Any, Any]:
    """The kind of an answer, and the answer."""
    num_text, num_bytes = ANSWER.unpack(self._read(ANSWER.size, deadline))
    if num_text > limits.MAX_ANSWER_TEXT or num_bytes > limits.MAX_ANSWER_BYTES:
      raise Failed("it holds more than is read of one file")
    text = self._read(num_text, deadline)
    content = self._read(num_bytes, deadline)
    try:
      kind, value = answers.unpack(bytes(text), content)
    except (ValueError, TypeError):
      return None, None
    return kind, value

  def _write(self, data: bytes) -> None:
    view = memoryview(data)
    while view:
      view = view[os.write(self._requests.fileno(), view) :]

  def _read(self, count: int, deadline: float) -> bytearray:
    """The next bytes, all of them."""
    data = bytearray(count)
    view = memoryview(data)
    poll = select.poll()
    poll.register(self._answers.fileno(), select.POLLIN)
    while view:
      if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
        raise _Ended
      got = os.readv(self._answers.fileno(), [view])
      if not got:
        raise _Ended
      view = view[got:]
    return data

  def _cause_of_death(self, *, is_late: bool) -> str:
    """Ends the process, and says why it is at its end."""
    if is_late:
      self.end()
      return f"reading it takes more than {limits.ISOLATED_WAIT_SECONDS} s"
    with contextlib.suppress(subprocess.TimeoutExpired):
      self._popen.wait(timeout=10)  # it has closed its pipe, and is about to be gone
    self.end()
    code = self._popen.returncode
    if code == -signal.SIGXCPU:
      return f"reading it takes more than {limits.ISOLATED_SECONDS} s of computing"
    if code == -signal.SIGKILL:
      return "the process that reads it was killed, probably for want of memory"
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"it crashes the library that reads it ({name})"

  def end(self) -> None:
    """Ends the process; it has nothing to finish."""
    self._popen.kill()
    self._popen.wait()
    self._requests.close()
    self._answers.close()


@dataclasses.dataclass
class _State:
  """The one process of this process, and whose turn it is."""

  process: _Process | None = None
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
  # Of the process that this one is a fork of: their destructors must not run here.
  abandoned: list[_Process | None] = dataclasses.field(default_factory=list)


_the = _State()


def _process() -> _Process:
  """The process that runs, or a new one."""
  if _the.process is not None and not _the.process.is_there:
    _the.process.end()
    _the.process = None
  if _the.process is None:
    _the.process = _Process()
  return _the.process


def _forget() -> None:
  """In a fork: the process is the parent's, and so may be the lock."""
  _the.abandoned.append(_the.process)
  _the.process, _the.lock = None, threading.Lock()


atexit.register(stop)
os.register_at_fork(after_in_child=_forget)
