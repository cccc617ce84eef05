"""One run at a time writes to a folder: a lock of the file system, or an object in a bucket."""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from absl import logging

from fal_jax.errors import InputError
from fal_jax.output import bucket

NAME = "owner.json"
BEAT = 10.0  # s from one sign of life to the next
PATIENCE = 30.0  # s without one after which an owner is dead


class Owner(Protocol):
  """The right to write to the folder of a run."""

  def check(self) -> None:
    """Raises InputError if another run has taken the right."""

  def release(self) -> None:
    """Gives the right back; calling it again does nothing."""


def take(workdir: Path) -> Owner:
  """Takes the right to write to the folder of a run, in which a second run would do damage.

  Args:
    workdir: the run's folder; in a bucket, or with `checkpoints/` in it.

  Returns:
    The right.

  Raises:
    InputError: another process has it.
  """
  if bucket.is_address(workdir):
    return Object(workdir, beat=BEAT, patience=PATIENCE)
  return Lock(workdir)


class Lock:
  """A lock of the file system, which ends with the process, even where that is killed."""

  def __init__(self, workdir: Path):
    """Locks `workdir/checkpoints`; see `take`."""
    directory = workdir / "checkpoints"
    self._handle: int | None = os.open(directory, os.O_RDONLY)
    try:
      fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      self.release()
      raise InputError(
        f"Another process is training in {workdir}: wait for it to finish or use another --workdir."
      ) from error
    except OSError as error:  # some network file systems have no locks
      logging.warning("%s cannot be locked against a second run: %s", directory, error)

  def check(self) -> None:
    """Does nothing: nobody can take a lock away."""

  def release(self) -> None:
    """See `Owner`."""
    if self._handle is not None:
      os.close(self._handle)
      self._handle = None


def forget_dead(workdir: Path) -> None:
  """Takes its right from an owner that is known to be dead, so that the next run need not wait.

  Args:
    workdir: the run's folder, in a bucket.
  """
  path = workdir / NAME
  content = _read(path)
  if content is not None and _is_dead(content):
    path.unlink(missing_ok=True)


class Object:
  """An object in a bucket that names its owner, who gives a sign of life in it every 10 s.

  A bucket has no locks that end with their process. Whoever finds such an object watches it: one
  that changes is of a run that is alive, one that does not for 30 s was left by a run that was
  killed, and is replaced. That protects from a run elsewhere which is alive and has not been heard
  of: one on a machine that was cut off or suspended, or whose end the scheduler only believes in.
  Clocks of two machines are never compared. A process of this machine that has ended is known to
  be dead, and nobody waits for it. A run that stops or ends, by a signal or an error too, removes
  its object, so the next one starts at once.

  A run that was only cut off for so long finds out before it next saves, and stops.
  """

  def __init__(
    self,
    workdir: Path,
    *,
    beat: float,
    patience: float,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
  ):
    """Takes the right; see `take`.

    Args:
      workdir: the run's folder.
      beat: s from one sign of life to the next.
      patience: s without one after which an owner is dead.
      say: called with a line where there is something to wait for.
    """
    self._workdir = workdir
    self._path = workdir / NAME
    self._beat = beat
    self._beats = 0
    self._run = uuid.uuid4().hex
    self._released = threading.Event()
    self._wait_for_former(patience, say)
    self._write()
    self._thread = threading.Thread(target=self._live, daemon=True, name="owner")
    self._thread.start()

  def check(self) -> None:
    """See `Owner`.

    Raises:
      InputError: another run has taken the folder.
    """
    now = _read(self._path)
    if now is not None and now["run"] != self._run:
      raise InputError(
        f"Another run has taken over {self._workdir}, while this one gave no sign of "
        f"life: {_who(now)}; this one stops without saving."
      )

  def release(self) -> None:
    """See `Owner`."""
    if self._released.is_set():
      return
    self._released.set()
    self._thread.join()
    now = _read(self._path)
    if now is not None and now["run"] == self._run:
      self._path.unlink(missing_ok=True)

  def _wait_for_former(self, patience: float, say: Callable[[str], None]) -> None:
    """Returns once the folder has no owner, or one that is dead."""
    former = _read(self._path)
    if former is None:
      return
    if _is_dead(former):
      say(f"{_who(former)} has ended without leaving {self._workdir}, which is taken over")
      return
    say(
      f"{self._workdir} belongs to {_who(former)}: seeing for {patience:.0f} s whether that run is "
      "alive"
    )
    until = time.monotonic() + patience
    while time.monotonic() < until:
      time.sleep(self._beat / 3)
      now = _read(self._path)
      if now is None:
        return
      if now != former:
        raise InputError(
          f"Another process is training in {self._workdir}, {_who(now)}: wait for it to finish, "
          "stop it there, or use another --workdir."
        )
    say(f"No sign of life: {self._workdir} is taken over")

  def _live(self) -> None:
    """Gives signs of life until the right is given back or lost."""
    while not self._released.wait(self._beat):
      try:
        now = _read(self._path)
        if now is not None and now["run"] != self._run:
          return  # `check` says so
        self._write()
      except Exception as error:  # noqa: BLE001 - whatever the client raises, the next may succeed
        logging.warning("%s could not be written: %s", self._path, bucket.reason(error))

  def _write(self) -> None:
    self._beats += 1
    content = {
      "run": self._run,
      "host": socket.gethostname(),
      "pid": os.getpid(),
      **_identity(os.getpid()),
      "beat": self._beats,
      "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    self._path.write_bytes(f"{json.dumps(content, indent=2)}\n".encode())


def _read(path: Path) -> dict[str, Any] | None:
  """Who owns a folder now; None if nobody does, or somebody wrote something else there."""
  try:
    content = json.loads(path.read_bytes())
  except FileNotFoundError:
    return None
  except ValueError:
    return None
  return content if isinstance(content, dict) and "run" in content else None


def _identity(pid: int) -> dict[str, str]:
  """What tells a process from all others that have had its number, here or elsewhere.

  Args:
    pid: its number.

  Returns:
    "numbered_by": the start of the machine, and the space of process numbers in it, of which a
    container has its own; "started": when the process did, in the machine's own unit. What the
    system does not tell is missing.
  """
  identity = {}
  with contextlib.suppress(OSError):
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    identity["numbered_by"] = f"{boot} {os.readlink('/proc/self/ns/pid')}"
  with contextlib.suppress(OSError):
    # The program's name, in brackets, may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    identity["started"] = fields[19]
  return identity


def _is_dead(owner: Mapping[str, Any]) -> bool:
  """Whether an owner was a process of this machine that has ended; False where nobody can tell."""
  pid = owner.get("pid")
  if not isinstance(pid, int) or pid <= 0 or not isinstance(owner.get("numbered_by"), str):
    return False
  now = _identity(pid)
  if owner["numbered_by"] != now.get("numbered_by"):
    return False
  try:
    os.kill(pid, 0)  # also sees the processes of other users, which /proc may hide
  except ProcessLookupError:
    return True
  except PermissionError:
    pass
  return "started" in owner and now.get("started", owner["started"]) != owner["started"]


def _who(owner: Mapping[str, Any]) -> str:
  """The process of an owner, for a message."""
  return (
    f"process {owner.get('pid')} on {owner.get('host')} (last sign of life {owner.get('time')})"
  )
